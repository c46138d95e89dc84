"""Vectors of pictures, in the shape of OpenAI's API, so that clients of that API can be used."""

import base64
import re
from collections.abc import Sequence

from fastapi import APIRouter

from pipeline.api.backend import Asks, Ports
from pipeline.api.embedding_bodies import Embedding, EmbeddingRequest, Embeddings
from pipeline.errors import ArgumentError
from pipeline.names import shown
from pipeline.service.embeddings import find_target
from pipeline.types import Vector

router = APIRouter(prefix="/v1/embeddings", tags=["embeddings"])

_DATA_URL = re.compile(r"data:image/[\w.+-]{1,64};base64,", re.IGNORECASE)


@router.post("")
def embed(body: EmbeddingRequest, ports: Ports, caller: Asks) -> Embeddings:
    """A vector for each picture, by the model of a collection. Pictures are not kept.

    A text is refused: a word such as "cats" is base64, too. Search with `text` in its place. One picture that
    cannot be read refuses them all.
    """
    inputs = [body.input] if isinstance(body.input, str) else body.input
    pictures = [read_picture(text, at=f"input[{number}]") for number, text in enumerate(inputs)]
    target = find_target(body.model, ports.settings.collection, ports.index, caller)
    vectors = ports.embed(pictures, target, caller)
    _check_length(body.dimensions, vectors)
    return Embeddings(
        model=body.model,
        data=[
            Embedding(index=number, embedding=_shown(vector, body.encoding_format))
            for number, vector in enumerate(vectors)
        ],
    )


def read_picture(text: str, *, at: str) -> bytes:
    """The bytes of a data URL or of base64.

    Raises:
        ArgumentError: it is neither. Most likely somebody wants a text to be embedded.
    """
    head = _DATA_URL.match(text)
    try:
        return base64.b64decode(text[head.end() :] if head else text, validate=True)
    except ValueError:
        raise ArgumentError(
            f"{at} {shown(text)}: a picture is expected, as data:image/jpeg;base64,… or as base64; "
            "texts are not embedded here, and a search takes them as `text`"
        ) from None


def _check_length(wanted: int | None, vectors: Sequence[Vector]) -> None:
    if wanted is not None and any(len(vector) != wanted for vector in vectors):
        raise ArgumentError(f"dimensions: vectors of this model have {len(vectors[0])}, found {wanted}")


def _shown(vector: Vector, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(number) for number in vector]

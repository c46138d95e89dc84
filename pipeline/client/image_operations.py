"""Operations on single images: index, show, remove and embed them."""

import base64
from collections.abc import Sequence
from pathlib import Path

from pipeline.client.calls import JSON_HEADERS, Call, json_body, new_key, nothing, quoted, read_json
from pipeline.client.queries import picture_of
from pipeline.client.requests import DEFAULT_COLLECTION, collection_path
from pipeline.client.results import AcceptedImage, Embedding, Image, read_all, reader_of


def index_object(
    bucket: str, key: str, *, collection: str = DEFAULT_COLLECTION, idempotency_key: str = ""
) -> Call[AcceptedImage]:
    """Index one object of the store in its present version. Its job runs after the answer.

    Raises:
        NotFoundError: no such object or collection.
    """
    return Call(
        method="POST",
        path=f"{collection_path(collection)}/images",
        headers=JSON_HEADERS | {"idempotency-key": idempotency_key or new_key()},
        body=json_body({"object": {"bucket": bucket, "key": key}}),
        read=reader_of(AcceptedImage),
    )


def index_picture(
    picture: Path | bytes, *, collection: str = DEFAULT_COLLECTION, idempotency_key: str = ""
) -> Call[AcceptedImage]:
    """Send a picture, have the service keep it, and index it. The same picture twice is one image.

    Raises:
        ConflictError: the service keeps no pictures.
        ImageError: it cannot be read.
    """
    headers = {"content-type": "application/octet-stream", "idempotency-key": idempotency_key or new_key()}
    return Call(
        method="POST",
        path=f"{collection_path(collection)}/images/upload",
        headers=headers,
        body=picture_of(picture),
        read=reader_of(AcceptedImage),
    )


def show_image(image_id: str, *, collection: str = DEFAULT_COLLECTION) -> Call[Image]:
    """The row of one stored image. Raises NotFoundError."""
    return Call(method="GET", path=_image_path(collection, image_id), read=reader_of(Image))


def thumbnail(
    image_id: str, *, collection: str = DEFAULT_COLLECTION, side_px: int = 220, only_face: bool = False
) -> Call[bytes]:
    """A JPEG of the version that is indexed, upright.

    Args:
        side_px: of its longer side, 16..1024.
        only_face: where the row is a face, that face alone.
    """
    return Call(
        method="GET",
        path=f"{_image_path(collection, image_id)}/thumbnail",
        params={"side_px": str(side_px), "only_face": str(only_face).lower()},
        read=bytes,
    )


def remove_image(image_id: str, *, collection: str = DEFAULT_COLLECTION) -> Call[None]:
    """Take one image out of the index. While its object is in its source, the next job brings it back."""
    return Call(method="DELETE", path=_image_path(collection, image_id), read=nothing, is_repeatable=False)


def embed(pictures: Sequence[Path | bytes], *, model: str) -> Call[list[Sequence[float]]]:
    """The vector of each of 1 to 100 pictures, of unit length, in their order. Pictures are not kept.

    Args:
        model: the name of a collection's model, as `Collection.model` has it.

    Raises:
        ImageError: one of them cannot be read.
    """
    images = [base64.b64encode(picture_of(picture)).decode() for picture in pictures]
    return Call(
        method="POST",
        path="/v1/embeddings",
        headers=JSON_HEADERS,
        body=json_body({"model": model, "input": images}),
        read=_read_vectors,
    )


def _image_path(collection: str, image_id: str) -> str:
    return f"{collection_path(collection)}/images/{quoted(image_id)}"


def _read_vectors(body: bytes) -> list[Sequence[float]]:
    return [one.embedding for one in read_all(Embedding, read_json(body).get("data"))]

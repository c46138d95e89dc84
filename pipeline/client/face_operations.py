"""Operations on the faces of pictures. Pictures are not kept."""

import base64
from pathlib import Path

from pipeline.client.calls import JSON_HEADERS, Call, Fields, json_body
from pipeline.client.queries import picture_of
from pipeline.client.requests import stated_headers
from pipeline.client.results import Comparison, FoundFaces, reader_of


def detect_faces(picture: Path | bytes, *, collection: str) -> Call[FoundFaces]:
    """The faces of a picture, the largest first. Nobody is looked for.

    Args:
        collection: whose model finds them. The key must be allowed to search it.

    Raises:
        ArgumentError: the collection is not one of faces.
        ImageError: the picture cannot be read.
    """
    return Call(
        method="POST",
        path="/v1/faces/detect",
        params={"collection": collection},
        headers={"content-type": "application/octet-stream"},
        body=picture_of(picture),
        read=reader_of(FoundFaces),
    )


def compare_faces(
    first: Path | bytes,
    second: Path | bytes,
    *,
    collection: str,
    box: Fields | None = None,
    min_score: float | None = None,
    purpose: str = "",
    case: str = "",
    offence: str = "",
    authorisation: str = "",
    authority: str = "",
    on_behalf_of: str = "",
) -> Call[Comparison]:
    """The largest face of one picture with all faces of another. It is recorded like a search.

    Args:
        collection: whose model compares, and whose policy decides.
        box: chooses another face of the first picture: left, top, width and height, px.
        min_score: cosine, -1..1. Scores below it, or below that of the policy, are not told.
        purpose, case, offence, authorisation, authority: what the policy of the collection asks for.
        on_behalf_of: the person on whose behalf you compare.

    Raises:
        ArgumentError: the collection is not one of faces, or a picture shows none.
        ImageError: a picture cannot be read.
        DeniedError: the policy does not allow it. The refusal is recorded.
    """
    body = {
        "collection": collection,
        "first": base64.b64encode(picture_of(first)).decode(),
        "second": base64.b64encode(picture_of(second)).decode(),
        "box": box,
        "min_score": min_score,
    }
    return Call(
        method="POST",
        path="/v1/faces/compare",
        headers=JSON_HEADERS | stated_headers(purpose, case, offence, authorisation, authority, on_behalf_of),
        body=json_body({name: value for name, value in body.items() if value is not None}),
        read=reader_of(Comparison),
    )

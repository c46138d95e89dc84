"""The faces of a picture, and whether two pictures show one person."""

import base64
from typing import Annotated

from fastapi import APIRouter, Body, Response
from fastapi import Query as Parameter

from pipeline.api.backend import Asks, Ports
from pipeline.api.bodies import MAX_TEXT_CHARS
from pipeline.api.face_bodies import CompareBody, ComparisonBody, FacesBody
from pipeline.api.routes.search import RECEIPT_HEADER, read_box
from pipeline.api.stated import StatedInHeaders, justification_of
from pipeline.errors import ArgumentError
from pipeline.search.query import Bytes
from pipeline.service.answers import comparison_json, faces_json
from pipeline.service.arguments import read_search

router = APIRouter(prefix="/v1/faces", tags=["faces"])


@router.post("/detect")
def detect_faces(
    picture: Annotated[bytes, Body(media_type="application/octet-stream", description="Of any known format")],
    ports: Ports,
    caller: Asks,
    collection: Annotated[
        str, Parameter(max_length=MAX_TEXT_CHARS, description="Whose model finds the faces")
    ],
) -> FacesBody:
    """The faces of a picture, the largest first. Nobody is looked for, and the picture is not kept."""
    found = ports.detect_faces(Bytes(text="picture", body=picture), collection, caller)
    return FacesBody.model_validate(faces_json(found))


@router.post("/compare", response_model_exclude_none=True)
def compare_faces(
    body: CompareBody, ports: Ports, caller: Asks, stated: StatedInHeaders, response: Response
) -> ComparisonBody:
    """The largest face of one picture with each face of another, as the policy of the collection allows it.

    It is recorded like a search of that collection, and neither picture is kept.
    """
    request = read_search(
        collection=body.collection,
        min_score=body.min_score,
        justification=justification_of(stated, body.justification),
    )
    first = Bytes(text="first picture", body=_read(body.first, "first"), box=read_box(body.box))
    second = Bytes(text="second picture", body=_read(body.second, "second"))
    found = ports.compare_faces(first, second, request, caller)
    response.headers[RECEIPT_HEADER] = found.receipt.record_id if found.receipt else "recording off"
    return ComparisonBody.model_validate(comparison_json(found))


def _read(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as err:
        raise ArgumentError(f"{name}: base64 is expected") from err

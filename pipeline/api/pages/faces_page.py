"""The faces of a picture on the search page, of which somebody chooses the one to search for."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import HTMLResponse

from pipeline.api.backend import Asks, Ports
from pipeline.api.pages.rendering import render
from pipeline.errors import PictorError
from pipeline.search.query import Bytes
from pipeline.service.answers import http_status_of
from pipeline.types import Box, Face

router = APIRouter()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownFace:
    """A face of the picture. `box` is in px, as the script sends it back."""

    number: int
    place: Box
    face: Face

    @property
    def box(self) -> str:
        return f"{self.place.left},{self.place.top},{self.place.width},{self.place.height}"


@router.post("/faces")
def find_faces(
    request: Request,
    picture: Annotated[bytes, Body(media_type="application/octet-stream")],
    ports: Ports,
    caller: Asks,
    collection: Annotated[str, Query(max_length=100)] = "",
) -> HTMLResponse:
    """The faces of a picture, by the finder of the collection. Nobody is looked for."""
    try:
        found = ports.detect_faces(Bytes(text="your picture", body=picture), collection, caller)
    except PictorError as err:
        return render(request, "faces.html", status=http_status_of(err.code), found=None, error=str(err))
    faces = [ShownFace(number=n, place=box, face=face) for n, (box, face) in enumerate(found.faces, 1)]
    return render(request, "faces.html", found=found, faces=faces, error="")

"""The search page: drop a picture or follow a link, and see its nearest images."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import HTMLResponse

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.metrics import PAGE
from pipeline.api.pages.rendering import render
from pipeline.errors import PictorError
from pipeline.search.query import Bytes, Stored
from pipeline.search.query import Query as SearchQuery
from pipeline.service import show
from pipeline.service.access import Caller
from pipeline.service.answers import http_status_of
from pipeline.service.arguments import read_search
from pipeline.service.images import show_image
from pipeline.service.search import SearchAnswer
from pipeline.types import CollectionInfo, IndexRow

router = APIRouter()

HITS_SHOWN = 60

Name = Annotated[str, Query(max_length=100)]
Text = Annotated[str, Query(max_length=2048)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The fields of a permalink."""

    collection: str = ""
    id: str = ""
    prefix: str = ""


@router.get("/")
def search_page(
    request: Request,
    ports: Ports,
    caller: Asks,
    collection: Name = "",
    id: Annotated[str, Query(max_length=64)] = "",  # noqa: A002 - the permalink's word
    prefix: Text = "",
) -> HTMLResponse:
    """The page, and the neighbours of a stored image where the link names one."""
    collections = show.list_collections(ports.index, caller)
    asked = Asked(
        collection=collection or _first(collections, ports.settings.collection), id=id.strip(), prefix=prefix
    )
    found, example, error, status = None, None, "", 200
    if asked.id:
        try:
            example = show_image(asked.id, asked.collection, ports.index, caller)
            found = _find(Stored(text=asked.id, id=asked.id), asked, ports, caller)
        except PictorError as err:
            error, status = str(err), http_status_of(err.code)
    return render(
        request,
        "search.html",
        status=status,
        collections=collections,
        asked=asked,
        answer=found,
        example=example,
        error=error,
    )


@router.post("/results")
def results(
    request: Request,
    picture: Annotated[bytes, Body(media_type="application/octet-stream")],
    ports: Ports,
    caller: Asks,
    collection: Name,
    prefix: Text = "",
) -> HTMLResponse:
    """The part of the page that shows the neighbours of a picture, for the page's script."""
    asked = Asked(collection=collection, prefix=prefix)
    example: IndexRow | None = None
    try:
        found = _find(Bytes(text="your picture", body=picture), asked, ports, caller)
    except PictorError as err:
        status = http_status_of(err.code)
        return render(
            request, "results.html", status=status, asked=asked, answer=None, example=example, error=str(err)
        )
    return render(request, "results.html", asked=asked, answer=found, example=example, error=found.error)


def _find(query: SearchQuery, asked: Asked, ports: Backend, caller: Caller) -> SearchAnswer:
    wanted = read_search(collection=asked.collection, k=HITS_SHOWN, prefix=asked.prefix)
    (answer,) = ports.search([query], wanted, caller, door=PAGE)
    return answer


def _first(collections: list[CollectionInfo], usual: str) -> str:
    names = [info.name for info in collections]
    return usual if usual in names or not names else names[0]

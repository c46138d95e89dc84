"""The search page: drop a picture or follow a link, and see its nearest images."""

from dataclasses import asdict, dataclass, field
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import HTMLResponse

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.bodies import MAX_WHERE_CHARS
from pipeline.api.metrics import PAGE
from pipeline.api.pages.rendering import render
from pipeline.errors import PictorError
from pipeline.search.query import Bytes, Stored
from pipeline.search.query import Query as SearchQuery
from pipeline.service import show
from pipeline.service.access import Caller
from pipeline.service.answers import http_status_of
from pipeline.service.arguments import (
    MAX_JUSTIFICATION_CHARS,
    read_justification,
    read_pairs,
    read_search,
)
from pipeline.service.conditions import read_condition, read_condition_text
from pipeline.service.images import show_image
from pipeline.service.search import SearchAnswer
from pipeline.types import AllOf, CollectionInfo, CollectionPolicy, Condition, IndexRow

router = APIRouter()

HITS_SHOWN = 60

Name = Annotated[str, Query(max_length=100)]
Text = Annotated[str, Query(max_length=2048)]
Word = Annotated[str, Query(max_length=MAX_JUSTIFICATION_CHARS)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """What the fields of the page say, as they are."""

    prefix: Text = ""
    metadata: Text = ""  # NAME=VALUE, NAME=VALUE
    width: Annotated[str, Query(max_length=10)] = ""
    since: Annotated[str, Query(max_length=40)] = ""
    where: Annotated[str, Query(max_length=MAX_WHERE_CHARS)] = ""  # a condition, as JSON
    purpose: Word = ""  # this and the next are what the policy asks for
    case: Word = ""

    @property
    def given(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The fields of a permalink."""

    collection: str = ""
    id: str = ""
    filters: Filters = field(default_factory=Filters)

    def link_to(self, image_id: str) -> str:
        """The address of the images like this one, under the same filters."""
        return f"/?{urlencode({'collection': self.collection, 'id': image_id} | self.filters.given)}"


@router.get("/")
def search_page(
    request: Request,
    ports: Ports,
    caller: Asks,
    filters: Annotated[Filters, Depends()],
    collection: Name = "",
    id: Annotated[str, Query(max_length=64)] = "",  # noqa: A002 - the permalink's word
) -> HTMLResponse:
    """The page, and the neighbours of a stored image where the link names one."""
    collections = show.list_collections(ports.index, caller)
    chosen = collection or _first(collections, ports.settings.collection)
    asked = Asked(collection=chosen, id=id.strip(), filters=filters)
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
        policy=_policy_of(asked.collection, ports) if collections else None,
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
    filters: Annotated[Filters, Depends()],
) -> HTMLResponse:
    """The part of the page that shows the neighbours of a picture, for the page's script."""
    asked = Asked(collection=collection, filters=filters)
    example: IndexRow | None = None
    try:
        found = _find(Bytes(text="your picture", body=picture), asked, ports, caller)
    except PictorError as err:
        status = http_status_of(err.code)
        return render(
            request, "results.html", status=status, asked=asked, answer=None, example=example, error=str(err)
        )
    return render(request, "results.html", asked=asked, answer=found, example=example, error=found.error)


def _policy_of(collection: str, ports: Backend) -> CollectionPolicy | None:
    version = ports.answers_to.policy_of(collection) if collection else None
    return version.policy if version else None


def _find(query: SearchQuery, asked: Asked, ports: Backend, caller: Caller) -> SearchAnswer:
    filters, policy = asked.filters, _policy_of(asked.collection, ports)
    pairs = [pair.strip() for pair in filters.metadata.split(",") if pair.strip()]
    wanted = read_search(
        collection=asked.collection,
        k=min(HITS_SHOWN, policy.max_k or HITS_SHOWN) if policy else HITS_SHOWN,
        prefix=filters.prefix,
        metadata=read_pairs(pairs, of="Metadata"),
        condition=_condition_of(filters),
        justification=read_justification(purpose=filters.purpose, case=filters.case),
    )
    (answer,) = ports.search([query], wanted, caller, door=PAGE)
    return answer


def _condition_of(filters: Filters) -> Condition | None:
    """Raises ArgumentError, naming the field of the page."""
    parts = [read_condition_text(filters.where, of="Condition")]
    if filters.width:
        least = int(filters.width) if filters.width.isdecimal() else filters.width
        parts.append(read_condition({"field": "width", "gte": least}, of="Least width"))
    if filters.since:
        parts.append(read_condition({"field": "indexed_at", "gte": filters.since}, of="Indexed since"))
    given = tuple(part for part in parts if part is not None)
    return AllOf(parts=given) if given else None


def _first(collections: list[CollectionInfo], usual: str) -> str:
    names = [info.name for info in collections]
    return usual if usual in names or not names else names[0]

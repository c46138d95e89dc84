"""The search page: drop a picture, follow a link or write words, and see the nearest images.

Why somebody searches never stands in an address, since those land in logs and in histories of browsers. So
the page of a collection with a policy sends its fields as a form, and a link to a search asks again. Words
and persons go the same way, since they may be names.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import HTMLResponse

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.bodies import Stated
from pipeline.api.metrics import PAGE
from pipeline.api.pages.forms import FormBody, read_form
from pipeline.api.pages.looks import answers_of, looks_of
from pipeline.api.pages.persons_part import PersonFields, list_shown_persons
from pipeline.api.pages.rendering import render
from pipeline.api.pages.search_fields import BOX, Asked, SearchForm, Words, read_box, words_in
from pipeline.api.stated import StatedInHeaders, justification_of
from pipeline.errors import ArgumentError, PictorError
from pipeline.names import MAIN_EMBEDDING
from pipeline.search.query import Bytes, Person, Stored
from pipeline.search.query import Query as SearchQuery
from pipeline.service import show
from pipeline.service.access import Caller
from pipeline.service.answers import http_status_of
from pipeline.service.arguments import read_pairs, read_search
from pipeline.service.images import show_image
from pipeline.service.persons import ShownPerson, show_person
from pipeline.service.search import SearchAnswer
from pipeline.types import CollectionInfo, CollectionPolicy, IndexRow

router = APIRouter()

HITS_SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What was found and what it was searched with, where that is stored. `failure` is why it was not."""

    found: SearchAnswer | None = None
    example: IndexRow | None = None
    person: ShownPerson | None = None
    failure: PictorError | None = None

    @property
    def error(self) -> str:
        if self.failure is not None:
            return str(self.failure)
        return self.found.error if self.found else ""

    @property
    def status(self) -> int:
        return 200 if self.failure is None else http_status_of(self.failure.code)


@router.get("/")
def search_page(
    request: Request, ports: Ports, caller: Asks, asked: Annotated[Asked, Query()]
) -> HTMLResponse:
    """The page, and the neighbours of a stored image where the link names one and no policy asks why."""
    return _page(request, asked, Words(), PersonFields(), None, ports, caller)


@router.post("/")
def search_with_reasons(request: Request, form: FormBody, ports: Ports, caller: Asks) -> HTMLResponse:
    """The page with the neighbours of a stored image or person, for a form that says why."""
    fields = read_form(form, SearchForm)
    stated = Stated(purpose=fields.purpose, case=fields.case)
    return _page(request, fields.of_link, fields, fields, stated, ports, caller)


@router.post("/results")
def results(
    request: Request,
    picture: Annotated[bytes, Body(media_type="application/octet-stream")],
    ports: Ports,
    caller: Asks,
    asked: Annotated[Asked, Query()],
    stated: StatedInHeaders,
    words: Annotated[Words, Depends(words_in)],
    box: Annotated[str, Query(max_length=60, pattern=BOX)] = "",
) -> HTMLResponse:
    """The part of the page that shows the neighbours of a picture, for the page's script.

    Args:
        box: of the face that is looked for, px.
    """
    try:
        query = words.beside(Bytes(text="your picture", body=picture, box=read_box(box)))
        outcome = Outcome(found=_find(query, asked, stated, ports, caller))
    except PictorError as err:
        outcome = Outcome(failure=err)
    return _rendered(
        request,
        "results.html",
        outcome,
        ports,
        asked=asked,
        words=words,
        stated=stated,
        policy=None if outcome.error else _policy_of(asked.collection, ports),
        mine=True,
    )


def _page(
    request: Request,
    asked: Asked,
    words: Words,
    of: PersonFields,
    stated: Stated | None,
    ports: Backend,
    caller: Caller,
) -> HTMLResponse:
    """Args: `stated` is None where nobody was asked for it."""
    collections = show.list_collections(ports.index, caller)
    asked = _completed(asked, of, collections, ports)
    info = next((info for info in collections if info.name == asked.collection), None)
    policy = _policy_of(asked.collection, ports) if collections else None
    must_say_why = policy is not None and stated is None
    is_asked = bool(asked.id or of.wanted or words.has_words) and not of.persons_after
    outcome = Outcome()
    if is_asked and not must_say_why:
        outcome = _search(asked, words, of, stated or Stated(), ports, caller)
    is_of_faces = info is not None and info.has_views
    lists_persons = is_of_faces and (outcome.error or not outcome.found)
    return _rendered(
        request,
        "search.html",
        outcome,
        ports,
        collections=collections,
        asked=asked,
        words=words,
        of=of,
        embeddings=embeddings_of(info) if info else {},
        reads_text=info is not None and any(of_it.reads_text for of_it in embeddings_of(info).values()),
        stated=stated or Stated(),
        must_say_why=must_say_why and bool(asked.id),
        policy=policy,
        mine=False,
        is_of_faces=is_of_faces,
        persons=list_shown_persons(asked.collection, of.persons_after, ports, caller)
        if lists_persons
        else None,
    )


def _completed(asked: Asked, of: PersonFields, collections: list[CollectionInfo], ports: Backend) -> Asked:
    """With the usual collection where none is named. A person whose button was pressed comes before an id."""
    collection = asked.collection or _first(collections, ports.settings.collection)
    image_id = "" if of.chosen_person else asked.id.strip()
    return asked.model_copy(update={"collection": collection, "id": image_id})


def _search(
    asked: Asked, words: Words, of: PersonFields, stated: Stated, ports: Backend, caller: Caller
) -> Outcome:
    """By what is stored, by words, or by both. What it was asked with is shown even if the search fails."""
    example: IndexRow | None = None
    person: ShownPerson | None = None
    try:
        if asked.id:
            example = show_image(asked.id, asked.collection, ports.index, caller)
        if of.wanted:
            person, _ = show_person(asked.collection, of.wanted.id, ports.search_ports(), caller)
        found = _find(words.beside(_one_of(asked, of)), asked, stated, ports, caller)
    except PictorError as err:
        return Outcome(example=example, person=person, failure=err)
    return Outcome(found=found, example=example, person=person)


def _rendered(
    request: Request, template: str, outcome: Outcome, ports: Backend, **values: object
) -> HTMLResponse:
    return render(
        request,
        template,
        status=outcome.status,
        answers=answers_of(outcome.found),
        example=outcome.example,
        person=outcome.person,
        error=outcome.error,
        looks=looks_of(outcome.found, ports),
        **values,
    )


def _one_of(asked: Asked, of: PersonFields) -> Stored | Person | None:
    """Raises ArgumentError: both an image and a person are typed."""
    if asked.id and of.wanted:
        raise ArgumentError("a stored id and a person are given; one of the two is expected")
    return Stored(text=asked.id, id=asked.id) if asked.id else of.wanted


def _policy_of(collection: str, ports: Backend) -> CollectionPolicy | None:
    version = ports.answers_to.policy_of(collection) if collection else None
    return version.policy if version else None


def _find(query: SearchQuery, asked: Asked, stated: Stated, ports: Backend, caller: Caller) -> SearchAnswer:
    policy = _policy_of(asked.collection, ports)
    pairs = [pair.strip() for pair in asked.metadata.split(",") if pair.strip()]
    wanted = read_search(
        collection=asked.collection,
        k=min(HITS_SHOWN, policy.max_k or HITS_SHOWN) if policy else HITS_SHOWN,
        prefix=asked.prefix,
        metadata=read_pairs(pairs, of="Metadata"),
        condition=asked.condition(),
        embedding=asked.embedding,
        justification=justification_of(stated),
    )
    (answer,) = ports.search([query], wanted, caller, door=PAGE)
    return answer


def embeddings_of(info: CollectionInfo) -> dict[str, CollectionInfo]:
    """By the names that the page offers. The first one has the empty name in a link."""
    return {MAIN_EMBEDDING: info} | dict(sorted(info.beside.items()))


def _first(collections: list[CollectionInfo], usual: str) -> str:
    names = [info.name for info in collections]
    return usual if usual in names or not names else names[0]

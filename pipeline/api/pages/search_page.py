"""The search page: drop a picture, follow a link or write words, and see the nearest images.

Why somebody searches never stands in an address, since those land in logs and in histories of browsers. So
the page of a collection with a policy sends its fields as a form, and a link to a search asks again. Words
and persons go the same way, since they may be names.
"""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Depends, Header, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.bodies import MAX_STATED_CHARS, Stated
from pipeline.api.header_text import header_text
from pipeline.api.metrics import PAGE
from pipeline.api.pages.forms import FormBody, read_form
from pipeline.api.pages.looks import answers_of, looks_of
from pipeline.api.pages.persons_part import PersonFields, list_shown_persons
from pipeline.api.pages.rendering import render
from pipeline.api.search_bodies import MAX_WHERE_CHARS
from pipeline.api.stated import StatedInHeaders
from pipeline.errors import ArgumentError, PictorError
from pipeline.search.query import Bytes, Person, Shown, Stored
from pipeline.search.query import Query as SearchQuery
from pipeline.service import show
from pipeline.service.access import Caller
from pipeline.service.answers import http_status_of
from pipeline.service.arguments import (
    read_justification,
    read_pairs,
    read_search,
)
from pipeline.service.conditions import read_condition, read_condition_text
from pipeline.service.images import show_image
from pipeline.service.persons import ShownPerson, show_person
from pipeline.service.query_words import MAX_PROMPT_CHARS, read_words
from pipeline.service.search import SearchAnswer
from pipeline.types import (
    AllOf,
    Box,
    CollectionInfo,
    CollectionPolicy,
    Condition,
    IndexRow,
)

router = APIRouter()

HITS_SHOWN = 60
MAX_WORDS_CHARS = 2 * MAX_PROMPT_CHARS  # what is over the bound of a text is said in words
BOX = r"^(\d{1,9},\d{1,9},\d{1,9},\d{1,9})?$"


class Asked(BaseModel):
    """The fields of a link to a search, as they are."""

    model_config = ConfigDict(frozen=True)

    collection: Annotated[str, Field(max_length=100)] = ""
    id: Annotated[str, Field(max_length=64)] = ""
    prefix: Annotated[str, Field(max_length=2048)] = ""
    metadata: Annotated[str, Field(max_length=2048)] = ""  # NAME=VALUE, NAME=VALUE
    width: Annotated[str, Field(max_length=10)] = ""
    since: Annotated[str, Field(max_length=40)] = ""
    where: Annotated[str, Field(max_length=MAX_WHERE_CHARS)] = ""  # a condition, as JSON

    @property
    def has_filters(self) -> bool:
        return bool(self.metadata or self.width or self.since or self.where)

    def fields_for(self, image_id: str) -> dict[str, str]:
        """Of the search for images like this one, under the same filters."""
        given = {name: value for name, value in self.model_dump().items() if value}
        return given | {"id": image_id}

    def link_to(self, image_id: str) -> str:
        return f"/?{urlencode(self.fields_for(image_id))}"


class Words(BaseModel):
    """What the images are to show, and what not. They stand in no address."""

    model_config = ConfigDict(frozen=True)

    text: Annotated[str, Field(max_length=MAX_WORDS_CHARS)] = ""
    unwanted: Annotated[str, Field(max_length=MAX_WORDS_CHARS, alias="not")] = ""

    def beside(self, picture: Shown | None) -> SearchQuery:
        return read_words(
            picture, text=[self.text] if self.text else [], unwanted=[self.unwanted] if self.unwanted else []
        )


class SearchForm(Asked, Words, PersonFields):
    """The same with the reasons that the policy of the collection asks for."""

    purpose: Annotated[str, Field(max_length=MAX_STATED_CHARS)] = ""
    case: Annotated[str, Field(max_length=MAX_STATED_CHARS)] = ""


NO_WORDS = Words()
NOBODY = PersonFields()


@router.get("/")
def search_page(
    request: Request, ports: Ports, caller: Asks, asked: Annotated[Asked, Query()]
) -> HTMLResponse:
    """The page, and the neighbours of a stored image where the link names one and no policy asks why."""
    return _page(request, asked, None, ports, caller)


@router.post("/")
def search_with_reasons(request: Request, form: FormBody, ports: Ports, caller: Asks) -> HTMLResponse:
    """The page with the neighbours of a stored image or person, for a form that says why."""
    fields = read_form(form, SearchForm)
    asked = Asked.model_validate(fields.model_dump(include=set(Asked.model_fields)))
    words = Words.model_validate(fields.model_dump(include=set(Words.model_fields), by_alias=True))
    person = PersonFields.model_validate(fields.model_dump(include=set(PersonFields.model_fields)))
    stated = Stated(purpose=fields.purpose, case=fields.case)
    return _page(request, asked, stated, ports, caller, words, person)


def words_in(
    x_pictor_text: Annotated[str, Header(max_length=MAX_WORDS_CHARS)] = "",
    x_pictor_not: Annotated[str, Header(max_length=MAX_WORDS_CHARS)] = "",
) -> Words:
    """The words beside a picture, as headers have them."""
    return Words.model_validate({"text": header_text(x_pictor_text), "not": header_text(x_pictor_not)})


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
    found, error, status = None, "", 200
    try:
        query = words.beside(Bytes(text="your picture", body=picture, box=_read_box(box)))
        found = _find(query, asked, stated, ports, caller)
        error = found.error
    except PictorError as err:
        error, status = str(err), http_status_of(err.code)
    return render(
        request,
        "results.html",
        status=status,
        asked=asked,
        words=words,
        stated=stated,
        policy=None if error else _policy_of(asked.collection, ports),
        answers=answers_of(found),
        example=None,
        person=None,
        mine=True,
        error=error,
        looks=looks_of(found, ports),
    )


def _page(
    request: Request,
    asked: Asked,
    stated: Stated | None,
    ports: Backend,
    caller: Caller,
    words: Words = NO_WORDS,
    of: PersonFields = NOBODY,
) -> HTMLResponse:
    """Args: `stated` is None where nobody was asked for it."""
    collections = show.list_collections(ports.index, caller)
    chosen = asked.collection or _first(collections, ports.settings.collection)
    info = next((info for info in collections if info.name == chosen), None)
    asked = asked.model_copy(
        update={"collection": chosen, "id": "" if of.chosen_person else asked.id.strip()}
    )
    policy = _policy_of(chosen, ports) if collections else None
    found: SearchAnswer | None = None
    example: IndexRow | None = None
    person: ShownPerson | None = None
    error, status = "", 200
    must_say_why = policy is not None and stated is None
    is_asked = bool(asked.id or of.wanted or words != NO_WORDS) and not of.persons_after
    if is_asked and not must_say_why:
        try:
            if asked.id:
                example = show_image(asked.id, chosen, ports.index, caller)
            if of.wanted:
                person, _ = show_person(chosen, of.wanted.id, ports.search_ports(), caller)
            query = words.beside(_one_of(asked, of))
            found = _find(query, asked, stated or Stated(), ports, caller)
            error = found.error
        except PictorError as err:
            error, status = str(err), http_status_of(err.code)
    is_of_faces = info is not None and info.has_views
    return render(
        request,
        "search.html",
        status=status,
        collections=collections,
        asked=asked,
        words=words,
        of=of,
        reads_text=info is not None and info.reads_text,
        stated=stated or Stated(),
        must_say_why=must_say_why and bool(asked.id),
        policy=policy,
        answers=answers_of(found),
        example=example,
        person=person,
        mine=False,
        error=error,
        looks=looks_of(found, ports),
        is_of_faces=is_of_faces,
        persons=list_shown_persons(chosen, of.persons_after, ports, caller)
        if is_of_faces and (error or not found)
        else None,
    )


def _one_of(asked: Asked, of: PersonFields) -> Stored | Person | None:
    """Raises ArgumentError: both an image and a person are typed."""
    if asked.id and of.wanted:
        raise ArgumentError("a stored id and a person are given; one of the two is expected")
    return Stored(text=asked.id, id=asked.id) if asked.id else of.wanted


def _read_box(text: str) -> Box | None:
    if not text:
        return None
    left, top, width, height = map(int, text.split(","))
    return Box(left=left, top=top, width=width, height=height)


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
        condition=_condition_of(asked),
        justification=read_justification(**stated.model_dump()),
    )
    (answer,) = ports.search([query], wanted, caller, door=PAGE)
    return answer


def _condition_of(asked: Asked) -> Condition | None:
    """Raises ArgumentError, naming the field of the page."""
    parts = [read_condition_text(asked.where, of="Condition")]
    if asked.width:
        least = int(asked.width) if asked.width.isdecimal() else asked.width
        parts.append(read_condition({"field": "width", "gte": least}, of="Least width"))
    if asked.since:
        parts.append(read_condition({"field": "indexed_at", "gte": asked.since}, of="Indexed since"))
    given = tuple(part for part in parts if part is not None)
    return AllOf(parts=given) if given else None


def _first(collections: list[CollectionInfo], usual: str) -> str:
    names = [info.name for info in collections]
    return usual if usual in names or not names else names[0]

"""What the search page is asked with: fields of a link, of its form, and words in headers."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Header
from pydantic import BaseModel, ConfigDict, Field

from pipeline.api.bodies import MAX_STATED_CHARS
from pipeline.api.header_text import header_text
from pipeline.api.pages.persons_part import PersonFields
from pipeline.api.search_bodies import MAX_EMBEDDING_CHARS, MAX_WHERE_CHARS
from pipeline.search.query import Query, Shown
from pipeline.service.conditions import read_condition, read_condition_text
from pipeline.service.query_words import MAX_PROMPT_CHARS, read_words
from pipeline.types import AllOf, Box, Condition

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
    embedding: Annotated[str, Field(max_length=MAX_EMBEDDING_CHARS)] = ""  # of each image, by its name

    @property
    def has_filters(self) -> bool:
        return bool(self.metadata or self.width or self.since or self.where)

    def fields_for(self, image_id: str) -> dict[str, str]:
        """Of the search for images like this one, under the same filters."""
        given = {name: value for name, value in self.model_dump().items() if value}
        return given | {"id": image_id}

    def link_to(self, image_id: str) -> str:
        return f"/?{urlencode(self.fields_for(image_id))}"

    def condition(self) -> Condition | None:
        """Raises ArgumentError, naming the field of the page."""
        parts = [read_condition_text(self.where, of="Condition")]
        if self.width:
            least = int(self.width) if self.width.isdecimal() else self.width
            parts.append(read_condition({"field": "width", "gte": least}, of="Least width"))
        if self.since:
            parts.append(read_condition({"field": "indexed_at", "gte": self.since}, of="Indexed since"))
        given = tuple(part for part in parts if part is not None)
        return AllOf(parts=given) if given else None


class Words(BaseModel):
    """What the images are to show, and what not. They stand in no address."""

    model_config = ConfigDict(frozen=True)

    text: Annotated[str, Field(max_length=MAX_WORDS_CHARS)] = ""
    unwanted: Annotated[str, Field(max_length=MAX_WORDS_CHARS, alias="not")] = ""

    @property
    def has_words(self) -> bool:
        return bool(self.text or self.unwanted)

    def beside(self, picture: Shown | None) -> Query:
        return read_words(
            picture, text=[self.text] if self.text else [], unwanted=[self.unwanted] if self.unwanted else []
        )


class SearchForm(Asked, Words, PersonFields):
    """The same with the reasons that the policy of the collection asks for."""

    purpose: Annotated[str, Field(max_length=MAX_STATED_CHARS)] = ""
    case: Annotated[str, Field(max_length=MAX_STATED_CHARS)] = ""

    @property
    def of_link(self) -> Asked:
        """Without what stands in no address."""
        return Asked.model_validate(self.model_dump(include=set(Asked.model_fields)))


def words_in(
    x_pictor_text: Annotated[str, Header(max_length=MAX_WORDS_CHARS)] = "",
    x_pictor_not: Annotated[str, Header(max_length=MAX_WORDS_CHARS)] = "",
) -> Words:
    """The words beside a picture, as headers have them."""
    return Words.model_validate({"text": header_text(x_pictor_text), "not": header_text(x_pictor_not)})


def read_box(text: str) -> Box | None:
    """Args: `text` is as `BOX` has it."""
    if not text:
        return None
    left, top, width, height = map(int, text.split(","))
    return Box(left=left, top=top, width=width, height=height)

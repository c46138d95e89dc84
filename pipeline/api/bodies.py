"""Bodies on the wire: what several resources have in theirs, and what is of no resource.

Each resource has a module of its own beside this one.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.service.arguments import MAX_JUSTIFICATION_CHARS

MAX_QUERIES = 100  # of one call
MAX_TEXT_CHARS = 2048  # a key of 1,024 bytes in a URL, and room
MAX_STATED_CHARS = MAX_JUSTIFICATION_CHARS
EXAMPLE_ID = "1c5a3b0f9d2e4c6a8b7d6e5f4a3b2c1d"


class Strict(BaseModel):
    """A field that nobody knows is a mistake, and is said."""

    model_config = ConfigDict(extra="forbid")


class ObjectPlace(Strict):
    """An object of the store."""

    bucket: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS, examples=["shop"])]
    key: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS, examples=["products/1.jpg"])]


class BoxBody(Strict):
    """A part of an upright picture, px."""

    left: Annotated[int, Field(ge=0)]
    top: Annotated[int, Field(ge=0)]
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]


class Stated(Strict):
    """Why you search. Each field that is empty is taken from its header."""

    model_config = ConfigDict(frozen=True)  # so that a default is shared: pydantic copies what could change

    purpose: Annotated[str, Field(max_length=MAX_STATED_CHARS, description="A code of the policy")] = ""
    case: Annotated[str, Field(max_length=MAX_STATED_CHARS, description="Reference of the case")] = ""
    offence: Annotated[str, Field(max_length=MAX_STATED_CHARS)] = ""
    authorisation: Annotated[
        str, Field(max_length=MAX_STATED_CHARS, description="Reference of its document")
    ] = ""
    authority: Annotated[str, Field(max_length=MAX_STATED_CHARS, description="Whose document it is")] = ""


class Inclusion(BaseModel):
    """Where the record of an act stands in the log, and the proof of it, to be kept and checked offline."""

    index: Annotated[int, Field(ge=0)]
    commitment: Annotated[str, Field(description="SHA-256 over salt and record, in base64")]
    proof: Annotated[str, Field(description="A .tlog-proof with the salt and a signed checkpoint")]


class Live(BaseModel):
    status: Literal["live"] = "live"


class Ready(BaseModel):
    """A part is "ready" or "not_ready". Whoever runs the service reads its fault instead."""

    status: Literal["ready", "not_ready"]
    parts: dict[str, str]


class Problem(BaseModel):
    """RFC 9457."""

    type: Annotated[str, Field(examples=["/problems/not_found"])]
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(examples=["not_found"])]
    request_id: str
    model_config = ConfigDict(extra="allow")


ProblemAnswers = dict[int | str, dict[str, Any]]

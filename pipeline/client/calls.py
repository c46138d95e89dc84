"""A request, and how its answer is read. Nothing here sends: the sync and the async client share it."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import quote

from pipeline.errors import MessageError

T = TypeVar("T")
Fields = Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[T]):
    """One request.

    `is_repeatable` says that the same request twice does no more than once. Others are sent again only if it
    is certain that nothing was begun.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_repeatable: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """`next_token` asks for the page after it; it is empty on the last one."""

    items: tuple[T, ...]
    next_token: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pages(Generic[T]):
    """A list that comes in pages. `call` makes the request for the page with this token, "" for the first."""

    call: Callable[[str], Call[Page[T]]]


def json_body(fields: Fields) -> bytes:
    """Fields that are None are left out: the service's own default counts then."""
    given = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(given, allow_nan=False).encode()


def quoted(text: str) -> str:
    """A name or an id as a part of a path."""
    return quote(text, safe=":")  # a colon is in ids of views


def new_key() -> str:
    """An Idempotency-Key."""
    return f"pictor-{uuid.uuid4().hex}"


JSON_HEADERS = {"content-type": "application/json"}


def read_json(body: bytes) -> Fields:
    """Raises MessageError: no JSON object, as a proxy in between may answer."""
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise MessageError(f"the answer is no JSON object: {body[:80]!r}; is this address a Pictor service?")
    return fields


def nothing(_body: bytes) -> None:
    """The answer has no body."""

"""An example to search with, as it travels."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from pipeline.errors import ArgumentError


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """An object in a place that the service may read. A folder is a bucket named by its path."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class StoredPerson:
    """A person of a collection of faces, by the mean of the faces that are theirs."""

    id: str


@runtime_checkable
class Array(Protocol):
    """A vector of numpy or torch."""

    def tolist(self) -> object: ...


Example = str | StoredObject | StoredPerson | Path | bytes | Sequence[float] | Array
"""A stored id, s3://bucket/key, an object, a person, a file of this machine, a picture, or a vector."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the images are to show, in words, with a picture beside them or without.

    Args:
        text: one text, or several, which are averaged.
        unwanted: what the images are not to show.
        weights: of "text", "not" and "picture".
    """

    text: str | Sequence[str] = ()
    _: KW_ONLY
    unwanted: str | Sequence[str] = ()
    picture: Example | None = None
    weights: Mapping[str, float] = field(default_factory=dict)


Query = Example | Words


def query_json(query: Query) -> Mapping[str, object]:
    """Raises ArgumentError: a file that cannot be read, a URL without a key."""
    match query:
        case str() if query.startswith("s3://"):
            return {"object": _split(query)}
        case str():
            return {"id": query}
        case StoredObject(bucket=bucket, key=key):
            return {"object": {"bucket": bucket, "key": key}}
        case StoredPerson(id=person_id):
            return {"person": person_id}
        case Words():
            return _words_json(query)
        case Path() | bytes():
            return {"image": base64.b64encode(picture_of(query)).decode()}
        case Array():
            return {"vector": query.tolist()}
        case _:
            return {"vector": [float(value) for value in query]}


def _words_json(words: Words) -> Mapping[str, object]:
    shown = {} if words.picture is None else query_json(words.picture)
    given = {"text": _texts(words.text), "not": _texts(words.unwanted), "weights": dict(words.weights)}
    return {**shown, **{name: value for name, value in given.items() if value}}


def _texts(texts: str | Sequence[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def picture_of(query: Path | bytes) -> bytes:
    """Raises ArgumentError: the file cannot be read."""
    if isinstance(query, bytes):
        return query
    try:
        return query.read_bytes()
    except OSError as err:
        raise ArgumentError(f"{query} cannot be read: {err.strerror}") from err


def _split(url: str) -> Mapping[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise ArgumentError(f"query {url}: s3://bucket/key is expected")
    return {"bucket": bucket, "key": key}

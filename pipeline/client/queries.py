"""An example to search with, as it travels."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


Query = str | StoredObject | StoredPerson | Path | bytes | Sequence[float] | Array
"""A stored id, s3://bucket/key, an object, a person, a file of this machine, a picture, or a vector."""


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
        case Path() | bytes():
            return {"image": base64.b64encode(picture_of(query)).decode()}
        case Array():
            return {"vector": query.tolist()}
        case _:
            return {"vector": [float(value) for value in query]}


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

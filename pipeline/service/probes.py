"""What was searched with, for the record: a digest of it, and never the picture. Words stand beside it."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

import numpy as np

from pipeline.ports import ObjectReader
from pipeline.search.example import Example
from pipeline.search.query import Bytes, Object, Person, Query, Stored, Text, Vector
from pipeline.service.query_text import PERSON
from pipeline.types import FetchedObject, ObjectRef, Probe, image_id_of, roll_of
from pipeline.types.audit import UNKNOWN, Json


class DigestingReader:
    """Implements `ports.ObjectReader` for one search. Keeps a digest of each object that is read."""

    def __init__(self, store: ObjectReader) -> None:
        self._store = store
        self.digests: dict[tuple[str, str], str] = {}  # by bucket and key

    def stat(self, bucket: str, key: str) -> ObjectRef:
        return self._store.stat(bucket, key)

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        fetched = self._store.get(ref, max_bytes=max_bytes)
        self.digests[ref.bucket, ref.key] = _sha256(fetched.body)
        return fetched


def probe_of(
    query: Query, digests: Mapping[tuple[str, str], str] | None = None, example: Example | None = None
) -> Probe:
    """The probe of a record.

    Args:
        digests: of the objects that were read. Without one, a probe is named by its id, and its digest is
            `UNKNOWN`: neither the index nor the version book has a digest of the content.
        example: what was searched for, as far as it could be read.
    """
    probe = _picture_of(query, digests or {})
    if example is None:
        return probe
    share = example.face.share if example.face else None
    return replace(probe, face_box=share, etag=example.etag, quality=example.quality)


def turn_of(example: Example) -> dict[str, Json]:
    """For the details of a record: whoever verifies is shown the face upright."""
    return {"face_roll": roll_of(example.metadata)} if example.face else {}


def _picture_of(query: Query, digests: Mapping[tuple[str, str], str]) -> Probe:
    match query:
        case Stored():
            return Probe(sha256=UNKNOWN, source=query.id)
        case Object():
            digest = digests.get((query.bucket, query.key), UNKNOWN)
            return Probe(sha256=digest, source=image_id_of(query.bucket, query.key))
        case Bytes():
            return Probe(sha256=_sha256(query.body), source="upload")
        case Vector():
            numbers = np.asarray(query.values, dtype="<f4")
            return Probe(sha256=_sha256(numbers.tobytes()), source="vector")
        case Text():
            if query.picture is not None:
                return _picture_of(query.picture, digests)
            return Probe(sha256=_sha256("\n".join(query.prompts).encode()), source="text")
        case Person():
            return Probe(sha256=UNKNOWN, source=f"{PERSON}{query.id}")
        case _:
            assert_never(query)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()

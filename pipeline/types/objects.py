"""Objects of a store, and why one of them is not in the index."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.reasons import Reason as Reason

# In the place of a link's ETag: it leads out of its folder, or nowhere. It is listed to be counted.
NOT_FOLLOWED = "link"


# These speak of the present content: an older vector of the same key is then wrong and is removed.
CONTENT_REASONS = frozenset(
    {
        Reason.NOT_FOUND,
        Reason.TOO_LARGE,
        Reason.EMPTY,
        Reason.NOT_AN_IMAGE,
        Reason.UNSUPPORTED_FORMAT,
        Reason.TRUNCATED,
        Reason.TOO_MANY_PIXELS,
        Reason.TOO_SMALL,
        Reason.DECODE_ERROR,
        Reason.NOT_FINITE,
        Reason.WORKER_CRASH,
    }
)


# The same bytes fail in the same way: a version that failed so is not read again unless somebody asks for it.
# The others are about the moment (a timeout, a right that was missing), and the next job tries again.
LASTING_REASONS = CONTENT_REASONS - {Reason.NOT_FOUND}


class FailedAt(StrEnum):
    """Where an object was when it was rejected."""

    FETCH = "fetch"
    DECODE = "decode"
    EMBED = "embed"
    WORKER = "worker"


def image_id_of(bucket: str, key: str) -> str:
    """The identity of one object, the same for all its versions.

    Returns:
        The first 32 hex digits of SHA-256 over bucket, NUL, key in UTF-8: safe in any filter expression.
    """
    return hashlib.sha256(f"{bucket}\0{key}".encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectRef:
    """One version of one object, as listed. `bucket` is a bucket's name or the absolute path of a folder."""

    bucket: str
    key: str
    etag: str
    size_bytes: int
    # When it was last written, ms since 1970, where the listing tells. Not part of the version: an object
    # that is copied onto itself keeps its ETag, and only this says that its metadata may be new.
    modified_ms: int | None = field(default=None, compare=False)

    @property
    def image_id(self) -> str:
        return image_id_of(self.bucket, self.key)


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchedObject:
    body: bytes  # unpacked, where the store says that it holds the object in gzip
    metadata: Mapping[str, str] = field(default_factory=dict)  # the user's own metadata on the object
    encoding: str = ""  # Content-Encoding, as the store has it


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    ref: ObjectRef
    stage: FailedAt
    reason: Reason
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One rejected object as the ledger keeps it."""

    ref: ObjectRef
    batch_path: str
    stage: FailedAt
    reason: Reason
    detail: str

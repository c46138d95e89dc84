"""The values that cross modules. Frozen, keyword-only, without behaviour beyond what is derived."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

# In the place of a link's ETag: it leads out of its folder, or nowhere. It is listed to be counted.
NOT_FOLLOWED = "link"

Pixels = NDArray[np.uint8]
Vector = NDArray[np.float32]


class Reason(StrEnum):
    """Why an object is not in the index. Closed: a new code is a change of the public contract."""

    NOT_FOUND = "not_found"  # gone between the listing and the read
    CHANGED = "changed"  # overwritten between the listing and the read
    ACCESS_DENIED = "access_denied"
    TOO_LARGE = "too_large"  # more bytes than max_object_bytes
    EMPTY = "empty"  # zero bytes
    NOT_AN_IMAGE = "not_an_image"  # no known image signature
    UNSUPPORTED_FORMAT = "unsupported_format"  # an image, of a format or variant that is not on the list
    TRUNCATED = "truncated"  # ends before its pixels do
    TOO_MANY_PIXELS = "too_many_pixels"  # would need more memory than one image may have
    TOO_SMALL = "too_small"
    DECODE_ERROR = "decode_error"  # the decoder gave up on damaged data
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    NOT_FINITE = "not_finite"  # the model's answer was NaN, infinite or zero
    WORKER_CRASH = "worker_crash"  # the process died each time it touched this object


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


class Stage(StrEnum):
    """Where an object was when it was rejected."""

    FETCH = "fetch"
    DECODE = "decode"
    EMBED = "embed"
    WORKER = "worker"


class VersionState(StrEnum):
    """What became of one version of an object."""

    PLANNED = "planned"  # on its way: the index may hold any version of it, or none
    INDEXED = "indexed"
    NOTHING_FOUND = "nothing_found"  # read and understood, but it holds nothing that the model looks for
    FAILED = "failed"


class Verdict(StrEnum):
    """What a driver does with the message it gave to `handle_message`."""

    ACK = "ack"
    RETRY = "retry"
    DEAD_LETTER = "dead_letter"
    FAIL_JOB = "fail_job"  # what the job names cannot be used: say so in the job, then acknowledge
    REQUEUE_AND_STOP = "requeue_and_stop"


class BatchStatus(StrEnum):
    """Whether a message still has work in it."""

    OPEN = "open"
    CLOSED = "closed"  # reported, split, or of a job that was cancelled: acknowledge and do nothing
    UNKNOWN = "unknown"  # no such batch in this ledger


class JobState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    FAILED = "failed"  # planning could not go on; `Job.error` says why


def generation_of(collection: str, fingerprint: str) -> str:
    """The vectors of one model under the name of a collection. Milvus has them under this name."""
    return f"{collection}__{fingerprint[:8]}"


# Who drives a job: `Job.driver` is WORKERS, or EMBEDDED and the host whose process runs it.
WORKERS = "workers"
EMBEDDED = "embedded:"  # without a host: a job of a build that did not note it, for whoever takes it up first


def embedded_on(host: str) -> str:
    return f"{EMBEDDED}{host}"


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
class Preprocessing:
    """How an upright RGB image becomes a model's input. Part of the model's fingerprint.

    `fit="crop"`: the shorter side becomes `resize`, then the centre `crop` x `crop` is taken.
    `fit="stretch"`: the whole image becomes `crop` x `crop`; the aspect ratio is lost, no pixel is.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]  # in 0..1 units
    std: tuple[float, float, float]
    interpolation: str = "bilinear"  # or "bicubic"; always antialiased
    fit: str = "crop"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A model as the pipeline sees it.

    `source` is what makes the model again: "builtin", "torchvision/resnet50" or the path of a model file.
    `fingerprint` is 64 hex digits of SHA-256 over weights, architecture and preprocessing.
    """

    name: str
    source: str
    architecture: str
    fingerprint: str
    dim: int
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedBatch:
    """One message's worth of work.

    `path` names the batch within its job: "00000012", its second half "00000012.1". `block` is the key of its
    staged pixels in the staging bucket, or empty. `rewritten` are keys whose stored row has the right ETag
    but perhaps old metadata: they are embedded again.
    """

    job_id: str
    path: str
    collection: str
    fingerprint: str
    refs: tuple[ObjectRef, ...]
    block: str = ""
    rewritten: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    ref: ObjectRef
    pixels: Pixels  # [3, S, S]
    width: int  # of the upright original, px
    height: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    ref: ObjectRef
    vector: Vector  # [D], unit length
    width: int
    height: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    ref: ObjectRef
    stage: Stage
    reason: Reason
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionEntry:
    """What the version book knows of one object: the last version that was dealt with, and how it ended.

    `vectors` is how many rows the index holds of it. A version that failed for a reason of the moment leaves
    the rows of an earlier version in place. `stage`, `reason` and `detail` are set when it failed.
    """

    ref: ObjectRef
    state: VersionState
    vectors: int
    stage: Stage | None = None
    reason: Reason | None = None
    detail: str = ""
    attempts: int = 1  # how often this version was tried
    missing_in: str = ""  # the job whose listing did not show it, until it is removed or seen again


def indexed_version(ref: ObjectRef) -> VersionEntry:
    return VersionEntry(ref=ref, state=VersionState.INDEXED, vectors=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchReport:
    """What became of one batch: `items = indexed + unchanged + len(rejected)`, always.

    `versions` go into the version book in the transaction of the report.
    """

    job_id: str
    path: str
    indexed: int
    unchanged: int
    rejected: tuple[Rejected, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage, summed over threads
    versions: tuple[VersionEntry, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedBatch:
    """A batch as the ledger keeps it until it is reported. `body` is the encoded message."""

    path: str
    items: int
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What a planner learned by comparing a stretch of the listing with the version book.

    `known` failed before in this very version. `missing` are image ids that the book has and the listing has
    not. `planned` are in batches. `noted` are unchanged objects of which the book has to learn when they were
    written, or that they are there after all.
    """

    unchanged: int = 0
    known: tuple[Rejected, ...] = ()
    missing: tuple[str, ...] = ()
    planned: tuple[ObjectRef, ...] = ()
    noted: tuple[ObjectRef, ...] = ()
    held: int = 0  # objects of the job's source with rows in the index, as the book has it
    lost: int = 0  # of these, the ones that are missing


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """What a caller asks for. `source` is a URL: `file:///photos` or `s3://bucket/prefix`.

    `max_delete_share` is None for the default, which small numbers of objects may pass; a share that was
    given is kept to the letter.
    """

    source: str
    bucket: str
    prefix: str
    collection: str
    model_name: str
    fingerprint: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    batch_items: int = 256
    keep_missing: bool = False
    max_delete_share: float | None = None
    retry_failed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class JobCounts:
    """`scanned = indexed + unchanged + failed + pending`, in every state of a job.

    `removed` objects are in the index no more because they are in the source no more.
    """

    scanned: int
    indexed: int
    unchanged: int
    failed: int
    pending: int
    ignored: int
    removed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    job_id: str
    request: JobRequest
    driver: str  # WORKERS or `embedded_on(host)`
    state: JobState
    planned: bool  # the listing is at its end
    cursor: str | None  # the last key that was planned
    planned_batches: int
    counts: JobCounts
    error: str
    created_at: datetime  # UTC
    finished_at: datetime | None
    held: int = 0  # objects of the source that the book had in the index, so far as the listing has come
    lost: int = 0  # of these, what the listing does not show
    removals_due: bool = (
        False  # somebody has to decide on what is missing, and remove it, before the job ends
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One rejected object as the ledger keeps it."""

    ref: ObjectRef
    batch_path: str
    stage: Stage
    reason: Reason
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionInfo:
    """A collection and the one model whose vectors it holds."""

    name: str
    model_name: str
    model_source: str
    fingerprint: str
    dim: int
    vector_type: str  # "float32" or "float16"
    precision: str  # that its vectors are computed in: "auto", "float32" or "bfloat16"
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexRow:
    """One row of a collection. `id` is the image id, or image id, colon and two digits for a region."""

    id: str
    ref: ObjectRef
    vector: Vector
    width: int
    height: int
    indexed_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchFilter:
    """All given conditions must hold. Values are data: adapters escape them, they never become syntax."""

    key_prefix: str = ""
    bucket: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchHit:
    id: str
    bucket: str
    key: str
    etag: str
    score: float  # cosine, -1..1
    width: int
    height: int
    size_bytes: int
    indexed_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)

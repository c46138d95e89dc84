"""One message's worth of work, from pixels to its report, and the versions that a report writes down."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.types.index import CollectionRef
from pipeline.types.jobs import JobState
from pipeline.types.models import Vector
from pipeline.types.objects import FailedAt, ObjectRef, Reason, Rejected
from pipeline.types.views import View


class VersionState(StrEnum):
    """The outcome of one version of an object."""

    PLANNED = "planned"  # on its way: the index may hold any version of it, or none
    INDEXED = "indexed"
    NOTHING_FOUND = "nothing_found"  # read and understood, but it holds nothing that the model looks for
    FAILED = "failed"
    REMOVED = "removed"  # taken out; it is remembered as long as an older batch could bring it back


class Verdict(StrEnum):
    """How a driver settles the message that it gave to `handle_embed`."""

    ACK = "ack"
    RETRY = "retry"
    DEAD_LETTER = "dead_letter"
    FAIL_JOB = "fail_job"  # the job can never work, so say that in the job, then acknowledge
    REROUTE = "reroute"  # another model's batch: publish it where that model's workers are, then acknowledge
    REQUEUE_AND_STOP = "requeue_and_stop"


class BatchStatus(StrEnum):
    """Whether a message still has work in it."""

    OPEN = "open"
    CLOSED = "closed"  # reported, split, or of a job that was cancelled: acknowledge and do nothing
    UNKNOWN = "unknown"  # no such batch in this ledger


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedBatch:
    """One message's worth of work.

    `path` names the batch within its job: "00000012", its second half "00000012.1". `staged` says that a CPU
    worker has left its pixels in the staging bucket. `rewritten` are keys whose stored row has the right ETag
    but perhaps old metadata: they are embedded again.
    """

    job_id: str
    path: str
    collection: str
    fingerprint: str
    refs: tuple[ObjectRef, ...]
    staged: bool = False
    rewritten: frozenset[str] = frozenset()

    @property
    def target(self) -> CollectionRef:
        return CollectionRef(name=self.collection, fingerprint=self.fingerprint)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An image that is ready for the model. A model of whole images has one view, another 0 to MAX_VIEWS."""

    ref: ObjectRef
    views: tuple[View, ...]
    width: int  # of the upright original, px
    height: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    ref: ObjectRef
    vectors: tuple[Vector, ...]  # one of each view, in their order: [D], unit length
    width: int
    height: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    of_views: tuple[Mapping[str, str], ...] = ()  # metadata of each view alone; none where there is none
    beside: Mapping[str, Vector] = field(default_factory=dict)  # of a whole image, by each model beside


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedBatch:
    """The objects of a batch before the model sees them, wherever they were prepared.

    `outcomes` are of all that are not unchanged. An image that is embedded already needs no model. `stored`
    says how many rows the index has of an object, in whatever version, where it has any.
    """

    outcomes: Iterable[Prepared | Embedded | Rejected]
    stored: Mapping[str, int]
    reused: int = 0  # objects beside these that got the vectors of the same content, and are written
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage, in the process before this one


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionEntry:
    """An entry of the version book: the last version of one object that was dealt with, and its outcome.

    `vectors` is how many rows the index holds of it. A version that failed for a reason of the moment leaves
    the rows of an earlier version in place. `stage`, `reason` and `detail` are set when it failed.
    """

    ref: ObjectRef
    state: VersionState
    vectors: int
    stage: FailedAt | None = None
    reason: Reason | None = None
    detail: str = ""
    attempts: int = 1  # how often this version was tried
    missing_in: str = ""  # the job whose listing did not show it, until it is removed or seen again
    sequence: int = field(default=0, compare=False)  # of the plan or removal that decides over the object


def indexed_version(ref: ObjectRef, vectors: int = 1) -> VersionEntry:
    """The entry of a version that was embedded. Without a vector, nothing was found in it."""
    state = VersionState.INDEXED if vectors else VersionState.NOTHING_FOUND
    return VersionEntry(ref=ref, state=state, vectors=vectors)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchReport:
    """The outcome of one batch. `items = indexed + unchanged + len(rejected)`, always.

    `versions` go into the version book in the transaction of the report. `of_faces` says that their vectors
    are of faces.
    """

    job_id: str
    path: str
    indexed: int
    unchanged: int
    rejected: tuple[Rejected, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage, summed over threads
    versions: tuple[VersionEntry, ...] = ()
    of_faces: bool = False

    @property
    def faces(self) -> int:
        """Of the images that are indexed or unchanged. So a batch that is done twice counts them once."""
        return sum(version.vectors for version in self.versions if self._counts(version))

    @property
    def without_faces(self) -> int:
        return sum(not version.vectors for version in self.versions if self._counts(version))

    def _counts(self, version: VersionEntry) -> bool:
        return self.of_faces and version.state is not VersionState.FAILED


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedBatch:
    """A batch as the ledger keeps it until it is reported. `body` is the encoded message."""

    path: str
    items: int
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRecord:
    """The ledger's record of the batch that a message names.

    `body` is the message as it was planned, as long as the batch has no report. `driver` and `job_state` are
    the job's.
    """

    status: BatchStatus
    body: bytes = b""
    driver: str = ""
    job_state: JobState | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """A planner's findings from comparing a stretch of the listing with the version book.

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
    since: int | None = None  # the last number that was given before the listing began, where known

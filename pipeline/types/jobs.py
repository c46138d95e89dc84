"""One run over one location, and its counts."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from pipeline.types.index import CollectionRef


class JobState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    FAILED = "failed"  # planning could not go on; `Job.error` says why


_RUNNING, _PAUSED, _FAILED = JobState.RUNNING, JobState.PAUSED, JobState.FAILED
COMES_FROM: Mapping[JobState, frozenset[JobState]] = {
    JobState.RUNNING: frozenset({_RUNNING, _PAUSED, _FAILED}),
    JobState.PAUSED: frozenset({_RUNNING}),
    JobState.CANCELLED: frozenset({_RUNNING, _PAUSED, _FAILED}),
    JobState.COMPLETED: frozenset({_RUNNING}),
    JobState.FAILED: frozenset({_RUNNING, _PAUSED}),
}
"""From which states a job may come into each. A ledger lets nobody move a job otherwise, however late."""

RETRIED_FROM = frozenset({_RUNNING, _FAILED, JobState.COMPLETED})
"""In which states a job may be retried. What was paused or cancelled would go on with its failures."""


# Who drives a job: `Job.driver` is WORKERS, or EMBEDDED and the host whose process runs it.
WORKERS = "workers"
EMBEDDED = "embedded:"  # without a host: a job of a build that did not note it, for whoever takes it up first


def embedded_on(host: str) -> str:
    return f"{EMBEDDED}{host}"


def new_job_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """A caller's request. `location` is a URL: `file:///photos` or `s3://bucket/prefix`.

    `max_delete_share` is None for the default, which small numbers of objects may pass. A share that was
    given is kept to the letter.
    """

    location: str
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

    @property
    def target(self) -> CollectionRef:
        return CollectionRef(name=self.collection, fingerprint=self.fingerprint)

    @property
    def sync(self) -> dict[str, bool | float | None]:
        """The options that an unfinished job takes from another request of the same source, by name."""
        return {
            "keep_missing": self.keep_missing,
            "max_delete_share": self.max_delete_share,
            "retry_failed": self.retry_failed,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class JobCounts:
    """`scanned = indexed + unchanged + failed + pending`, in every state of a job.

    `removed` objects are in the index no more because they are in the source no more. `faces_found` are of
    the images that its batches have dealt with, and `without_faces` how many of these images show none. Both
    are 0 for a model of whole images.
    """

    scanned: int
    indexed: int
    unchanged: int
    failed: int
    pending: int
    ignored: int
    removed: int = 0
    faces_found: int = 0
    without_faces: int = 0


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
    lost: int = 0  # of these, objects that the listing does not show
    removals_due: bool = (
        False  # somebody has to decide on missing objects, and remove them, before the job ends
    )
    removing: tuple[str, ...] = ()  # image ids that a removal was at when it was last heard of
    pruned_at: datetime | None = None  # when its batches and failures were deleted. Its counts stay


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast a job went: the objects that it indexed, and the time from first plan to last report."""

    job_id: str
    objects: int  # 1 or more
    seconds: float  # above 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanClaim:
    """Which step plans a job. `renewed_at` is to be compared with an earlier look and not with a clock: two
    machines' clocks differ, and an operator may set one.
    """

    step: int  # below 0: none has begun
    nonce: str
    renewed_at: datetime | None


class PruneScope(StrEnum):
    """How much of an old job is not needed any more."""

    JOB = "job"  # all of it: a submission that was refused
    DETAILS = "details"  # its batches and failures
    SETTLED = "settled"  # its batches that are done without a failure: it can still be retried or resumed


@dataclass(frozen=True, kw_only=True, slots=True)
class Prunable:
    job_id: str
    scope: PruneScope


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """How much was deleted, or would be."""

    jobs: int = 0
    batches: int = 0
    failures: int = 0

    def __add__(self, other: Self) -> "Pruned":
        return Pruned(
            jobs=self.jobs + other.jobs,
            batches=self.batches + other.batches,
            failures=self.failures + other.failures,
        )

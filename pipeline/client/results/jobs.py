"""Jobs, what they would take, and what failed in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from pipeline.client.results.answer_object import AnswerObject, Nested

OVER = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Job(AnswerObject):
    """`scanned = indexed + unchanged + failed + pending`. Times are ISO 8601 in UTC.

    `faces_found` are in the images that were new or changed, and `without_faces` counts those without one.
    `stage_seconds` and `bottleneck` are there when the job was asked for alone. `resumed` is there when it
    was submitted: an unfinished job of the same source goes on.
    """

    job_id: str
    state: str
    driver: str
    source: str
    collection: str
    model: str
    scanned: int
    indexed: int
    unchanged: int
    failed: int
    pending: int
    ignored: int
    removed: int
    planned: bool
    error: str
    created_at: str
    finished_at: str | None = None
    pruned_at: str | None = None
    faces_found: int = 0
    without_faces: int = 0
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    bottleneck: str = ""
    resumed: bool = False

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def created(self) -> datetime:
        return datetime.fromisoformat(self.created_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate(AnswerObject):
    """What a submission would take. `complete` is false when the listing is longer than what was read of it.

    `seconds` and `objects_per_second` are None where no earlier job of the model was measured.
    """

    source: str
    collection: str
    model: str
    complete: bool
    listed: int
    ignored: int
    unchanged: int
    objects: int
    size_bytes: int
    vector_bytes: int | None
    objects_per_second: float | None
    measured_in: str | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptedImage(AnswerObject):
    """`id` is that of the image once its job is completed."""

    _NESTED: ClassVar[Nested] = {"job": Job}

    id: str
    bucket: str
    key: str
    job: Job


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure(AnswerObject):
    """`reason` is one of docs/reference/reasons.md."""

    key: str
    stage: str
    reason: str
    detail: str
    bucket: str
    etag: str
    size_bytes: int
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Retried(AnswerObject):
    """`retried` objects are tried again."""

    _NESTED: ClassVar[Nested] = {"job": Job}

    job: Job
    retried: int

"""What each search answers to: the policies of collections, and the log."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.errors import AuditError, PictorError
from pipeline.evaluation.calibration import Calibration
from pipeline.evaluation.scale import Scale, scale_for
from pipeline.ports import AuditLog, PolicyBook, VectorIndex
from pipeline.ports.model_binding import model_of_embedding
from pipeline.service.remembered import Remembered
from pipeline.types import AuditReceipt, AuditRecord, CollectionRef, PolicyVersion

POLICY_AGE_S = 0.5  # a policy that is changed counts everywhere a second later, with the time of a search
ROWS_AGE_S = 600.0  # counting costs up to a second; the record says of when its count is
MAX_REMEMBERED = 1000  # collections


@dataclass(frozen=True, kw_only=True, slots=True)
class RowCount:
    """Of a generation, as it was at that moment."""

    rows: int | None
    at: datetime


@dataclass(kw_only=True)
class Accountability:
    """Safe to share between threads.

    Args:
        index: whose rows are counted for records; None where nobody searches.
        log: None where `PICTOR_AUDIT` is `off`.
        calibration: says which cosine the similarity of a policy is.
        clock_s: seconds, never back.
        now: the time of day.
    """

    log: AuditLog | None
    policies: PolicyBook
    index: VectorIndex | None
    calibration: Calibration | None = None
    clock_s: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _policies: Remembered[str, PolicyVersion | None] = field(init=False)
    _counts: Remembered[CollectionRef, RowCount] = field(init=False)

    def __post_init__(self) -> None:
        self._policies = Remembered(age_s=POLICY_AGE_S, most=MAX_REMEMBERED, clock_s=self.clock_s)
        self._counts = Remembered(age_s=ROWS_AGE_S, most=MAX_REMEMBERED, clock_s=self.clock_s)

    @property
    def is_recording(self) -> bool:
        return self.log is not None

    def policy_of(self, collection: str) -> PolicyVersion | None:
        """The policy in force, as it was half a second ago at most."""
        return self._policies.find(collection, lambda: self.policies.in_force(collection))

    def scale_of(self, target: CollectionRef, embedding: str = "") -> Scale:
        return scale_for(self.calibration, self.fingerprint_of(target, embedding))

    def fingerprint_of(self, target: CollectionRef, embedding: str = "") -> str:
        """Of the model of an embedding. Raises ArgumentError: there is no such embedding."""
        if not embedding or self.index is None:
            return target.fingerprint
        return model_of_embedding(target, embedding, self.index).fingerprint

    def row_count(self, target: CollectionRef) -> RowCount:
        """Of the generation, as it was ten minutes ago at most."""
        return self._counts.find(target, lambda: self._count(target))

    def _count(self, target: CollectionRef) -> RowCount:
        info = self.index.get_generation(target) if self.index else None
        return RowCount(rows=info.rows if info else None, at=self.now())

    def record(self, records: Sequence[AuditRecord]) -> list[AuditReceipt | None]:
        """Write the records, or nothing where recording is off.

        Raises:
            AuditError: they could not be written. What they are about must not be told to anybody.
        """
        if self.log is None:
            return [None] * len(records)
        try:
            return [*self.log.append(records)]
        except PictorError as err:
            raise AuditError(f"it could not be recorded, and so no answer is given: {err}") from err

"""What each search answers to: the policies of collections, and the log."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from pipeline.errors import AuditError, PictorError
from pipeline.ports import AuditLog, PolicyBook, VectorIndex
from pipeline.types import AuditReceipt, AuditRecord, CollectionRef, PolicyVersion

K = TypeVar("K")
V = TypeVar("V")

POLICY_AGE_S = 0.5  # a policy that is changed counts everywhere a second later, with the time of a search
ROWS_AGE_S = 600.0  # counting costs up to a second; the record says of when its count is
MAX_REMEMBERED = 1000  # collections; then all are forgotten


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
        clock_s: seconds, never back.
        now: the time of day.
    """

    log: AuditLog | None
    policies: PolicyBook
    index: VectorIndex | None
    clock_s: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _policies: dict[str, tuple[float, PolicyVersion | None]] = field(default_factory=dict)
    _counts: dict[CollectionRef, tuple[float, RowCount]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_recording(self) -> bool:
        return self.log is not None

    def policy_of(self, collection: str) -> PolicyVersion | None:
        """The policy in force, as it was half a second ago at most."""
        until_s = self.clock_s() + POLICY_AGE_S  # from before the look: what it sees may be as old as that
        with self._lock:
            found = self._policies.get(collection)
        if found is None or self.clock_s() >= found[0]:
            found = (until_s, self.policies.in_force(collection))
            self._remember(self._policies, collection, found)
        return found[1]

    def row_count(self, target: CollectionRef) -> RowCount:
        """Of the generation, as it was ten minutes ago at most."""
        until_s = self.clock_s() + ROWS_AGE_S
        with self._lock:
            found = self._counts.get(target)
        if found is None or self.clock_s() >= found[0]:
            info = self.index.get_generation(target) if self.index else None
            found = (until_s, RowCount(rows=info.rows if info else None, at=self.now()))
            self._remember(self._counts, target, found)
        return found[1]

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

    def _remember(self, memory: dict[K, V], name: K, value: V) -> None:
        with self._lock:
            if len(memory) >= MAX_REMEMBERED:
                memory.clear()
            memory[name] = value

"""Where the time of one batch goes: seconds by stage, added up over all its threads; and bytes."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

Extent = tuple[float, float]


class PhaseClock:
    """One batch in one process. Stages in use:

        of the batch's own thread   lookup, wait (for pixels), device, write, report
        in the staged way, too      put (a block into the staging bucket), load (it from there)
        of the threads beside it    fetch, decode

    `report` is the wait for the ledger: whether the batch is still open, then its report. What the ledger
    keeps of a batch holds only the first of the two, since a row cannot hold the time of its own writing;
    nor does it hold `put`, since a block carries what was measured before it. Metrics hold both.
    """

    def __init__(self) -> None:
        self._fetched_bytes = 0
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._extents: dict[str, Extent] = {}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            ended = time.perf_counter()
            with self._lock:
                self._seconds[stage] += ended - started
                first, last = self._extents.get(stage, (started, ended))
                self._extents[stage] = min(first, started), max(last, ended)

    def count_fetched(self, size_bytes: int) -> None:
        with self._lock:
            self._fetched_bytes += size_bytes

    def fetched_bytes(self) -> int:
        """Of objects and staged blocks, as they came over the network."""
        with self._lock:
            return self._fetched_bytes

    def seconds(self) -> Mapping[str, float]:
        with self._lock:
            return {stage: round(value, 6) for stage, value in self._seconds.items()}

    def extents(self) -> Mapping[str, Extent]:
        """When each stage first began and last ended, in seconds since 1970."""
        offset_s = time.time() - time.perf_counter()
        with self._lock:
            return {
                stage: (first + offset_s, last + offset_s) for stage, (first, last) in self._extents.items()
            }

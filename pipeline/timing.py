"""Where the time of one batch goes: seconds by stage, added up over all threads that worked on it."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class StageClock:
    """Stages in use: lookup, fetch, decode, wait (the device thread waits for pixels), device, write."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            with self._lock:
                self._seconds[stage] += elapsed

    def seconds(self) -> Mapping[str, float]:
        with self._lock:
            return {stage: round(value, 6) for stage, value in self._seconds.items()}

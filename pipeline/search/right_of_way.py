"""Searches go before the work of jobs in the same process, which share cores and the interpreter with them.

A job asks before each step: a picture, a forward pass of eight, a write. While a search is in flight it
waits, but for no more than a share of the time. However many searches come, a job goes on (decision 0094).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MOST_WAIT_S = 0.25  # of one step. A search takes tens of milliseconds
WAIT_SHARE = 0.3  # seconds that jobs wait for each second of theirs: they keep 1 / 1.3 of their rate, or more
ALLOWANCE_S = 1.0  # that jobs wait at once, after a time without searches


class RightOfWay:
    """Safe to share between threads. What the threads of a job wait at the same time counts once."""

    def __init__(
        self,
        *,
        most_wait_s: float = MOST_WAIT_S,
        wait_share: float = WAIT_SHARE,
        allowance_s: float = ALLOWANCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_wait_s = most_wait_s
        self._wait_share = wait_share
        self._allowance_s = allowance_s
        self._clock = clock
        self._changed = threading.Condition()
        self._searches = 0
        self._waiting = 0  # threads of jobs
        self._left_s = allowance_s
        self._counted_at = clock()

    @contextmanager
    def search(self) -> Iterator[None]:
        """Have jobs wait while this search is in flight."""
        with self._changed:
            self._searches += 1
        try:
            yield
        finally:
            with self._changed:
                self._searches -= 1
                if not self._searches:
                    self._changed.notify_all()

    def give_way(self) -> None:
        """Return when no search is in flight, or jobs have waited their share."""
        with self._changed:
            if not self._searches:
                return
            self._count()
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._searches, min(self._most_wait_s, self._left_s))
            finally:
                self._count()
                self._waiting -= 1

    @property
    def waiting(self) -> int:
        """Threads of jobs that wait now."""
        with self._changed:
            return self._waiting

    def _count(self) -> None:
        now = self._clock()
        passed_s, self._counted_at = now - self._counted_at, now
        earned_s = -passed_s if self._waiting else passed_s * self._wait_share
        self._left_s = min(self._allowance_s, max(0.0, self._left_s + earned_s))

"""Answers that are remembered for a while, by name: what is asked for each request must cost no look."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Safe to share between threads. Two that ask at once look twice at worst.

    Args:
        age_s: how old an answer may be.
        most: answers. Then all are forgotten, so that memory is bounded.
        clock_s: seconds, never back.
    """

    def __init__(self, *, age_s: float, most: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._age_s = age_s
        self._most = most
        self._clock_s = clock_s
        self._values: dict[K, tuple[V, float]] = {}  # and until when, by the clock
        self._lock = threading.Lock()

    def find(self, name: K, look: Callable[[], V], *, keeps: Callable[[V], bool] = lambda _: True) -> V:
        """The answer that is remembered, or else what `look` finds.

        Args:
            keeps: whether what was found is remembered.
        """
        until_s = self._clock_s() + self._age_s  # from before the look: what it sees may be as old as that
        with self._lock:
            known = self._values.get(name)
        if known is not None and self._clock_s() < known[1]:
            return known[0]
        found = look()
        if keeps(found):
            with self._lock:
                if len(self._values) >= self._most:
                    self._values.clear()
                self._values[name] = (found, until_s)
        return found

    def has(self, name: K) -> bool:
        """Whether to find it costs no look."""
        with self._lock:
            known = self._values.get(name)
        return known is not None and self._clock_s() < known[1]

    def forget(self, name: K) -> None:
        """Have the next one who asks look anew."""
        with self._lock:
            self._values.pop(name, None)

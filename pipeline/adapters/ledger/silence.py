"""Ask a server that says nothing once at a time, so that whoever else asks is told at once.

A server that is frozen takes connections and answers none. Each question then takes seconds to fail, and a
service with 40 threads has none left for anything else.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.errors import TransientError

SLOW_S = 2.0  # a server that is gone is known within milliseconds. One that took so long to fail is silent


class AwayError(TransientError):
    """The server could not be reached, its connection was lost, or all connections were taken."""


class SilentError(AwayError):
    """It takes connections and says nothing. To ask again at once would take as long again."""


class Silence:
    """What is known of one server. Safe to share between threads."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._words = ""  # why it counts as silent; "" while it answers
        self._is_probed = False

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around one question.

        Raises:
            SilentError: the server is silent, or was, and somebody is asking it just now.
        """
        is_probe = self._enter()
        begun_s = self._clock_s()
        words = ""
        try:
            yield
        except AwayError as err:
            if self._clock_s() - begun_s < SLOW_S:
                raise
            words = str(err)
            raise SilentError(words) from err
        finally:
            with self._lock:
                self._words = words
                self._is_probed = self._is_probed and not is_probe

    def _enter(self) -> bool:
        """Whether this question finds out if the server answers again."""
        with self._lock:
            if not self._words:
                return False
            if self._is_probed:
                raise SilentError(self._words)
            self._is_probed = True
            return True

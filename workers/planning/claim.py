"""A step's hold on its job: the claim is renewed beside the work, for as long as the work goes on.

By a thread of its own, since a store may take minutes for one page. A step that hangs is killed with that
thread at the task's time limit. Then nobody renews the claim, and another planner takes over.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from pipeline.errors import PictorError

logger = logging.getLogger(__name__)

STALLED_AFTER_S = 60.0  # a claim that was not renewed for so long is nobody's
RENEW_S = 15.0  # three renewals may fail before others take over
JOIN_TIMEOUT_S = 60.0  # a renewal in flight; the ledger's own timeouts are shorter


class Clock(Protocol):
    """Time that no operator moves."""

    def now_s(self) -> float: ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Returns whether the event came before the time was over."""
        ...


class SystemClock:
    def now_s(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)


class HeldClaim:
    """Use as a context manager, around the work of one step."""

    def __init__(self, claim: Callable[[], bool], clock: Clock) -> None:
        """Args: `claim` says whether the job is still this step's, and that it is alive."""
        self._claim, self._clock = claim, clock
        self._ended, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="plan-claim", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(JOIN_TIMEOUT_S)

    def is_held(self) -> bool:
        """As of the last renewal. Cheap: asked for each key."""
        return not self._lost.is_set()

    def renew(self) -> bool:
        """Asked before each writing: whether the job is still this step's."""
        if self.is_held() and not self._claim():
            self._lost.set()
        return self.is_held()

    def _keep(self) -> None:
        while not self._clock.wait(self._ended, RENEW_S):
            try:
                if not self.renew():
                    return
            except PictorError as err:  # the database is away; the next renewal may come in time
                logger.warning("claim not renewed", extra={"error": str(err)})
            except Exception:  # the top of a thread: work that nobody keeps a claim for must stop
                logger.exception("claim given up")
                self._lost.set()
                return


class StepTime:
    """How long a step works. It begins with the first key: a store may take minutes to show that one."""

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock, self._limit_s = clock, limit_s
        self._ends_at_s: float | None = None

    def tick(self) -> bool:
        """Asked after each piece of work. Returns whether there is time for another."""
        if self._ends_at_s is None:
            self._ends_at_s = self._clock.now_s() + self._limit_s
        return self.is_left()

    def is_left(self) -> bool:
        return self._ends_at_s is None or self._clock.now_s() < self._ends_at_s

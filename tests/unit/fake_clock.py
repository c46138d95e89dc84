"""Time that passes only when a test says so, for the threads that wait for it, too."""

import threading

PATIENCE_S = 30.0  # of real time, for a thread to do what its wait was over for
LOOK_S = 0.01  # of real time: an event that others set does not tell this clock


class FakeClock:
    """Implements `workers.planning.claim.Clock`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._now_s = 1000.0
        self._waiting: dict[threading.Thread, float] = {}  # until when
        self._at_work: set[threading.Thread] = set()  # their wait was over

    def now_s(self) -> float:
        return self._now_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        me = threading.current_thread()
        with self._changed:
            self._at_work.discard(me)
            self._waiting[me] = until_s = self._now_s + timeout_s
            self._changed.notify_all()
            while not event.is_set() and self._now_s < until_s:
                self._changed.wait(LOOK_S)
            del self._waiting[me]
            if not event.is_set():
                self._at_work.add(me)
            return event.is_set()

    def advance(self, by_s: float, *, waiting: int = 0) -> None:
        """Let time pass. Each thread does what it waited for at its own moment, before time goes on.

        Args:
            waiting: how many threads must have come to wait before it begins.
        """
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._waiting) >= waiting, PATIENCE_S)
            until_s = self._now_s + by_s
            while (next_s := min(self._waiting.values(), default=until_s)) < until_s:
                self._pass_to(next_s)
            self._pass_to(until_s)

    def _pass_to(self, now_s: float) -> None:
        self._now_s = max(self._now_s, now_s)
        due = {thread for thread, until_s in self._waiting.items() if until_s <= self._now_s}
        self._at_work |= due
        self._changed.notify_all()
        for _ in range(int(PATIENCE_S / LOOK_S)):
            if not any(thread.is_alive() for thread in self._at_work):
                break
            self._changed.wait(LOOK_S)
        else:
            raise AssertionError("a thread did not come back to wait")
        self._at_work.clear()

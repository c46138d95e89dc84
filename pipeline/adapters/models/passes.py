"""Forward passes of this process, and the moments in which there may be none.

torch.fx follows the calls of one module by changing `nn.Module` itself. A pass of any other module, in any
thread, would be followed too, and fail. So a model is traced while nobody computes: a service loads the model
of its searches while the one of a job is at work.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Passes:
    """Safe to share between threads. Who wants to be alone goes before passes that have not begun."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._alone = 0  # that are, or wait to be

    @contextmanager
    def one(self) -> Iterator[None]:
        """Beside any number of others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._running += 1
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def none(self) -> Iterator[None]:
        """While nobody computes, and one at a time. Nothing within may begin a pass."""
        with self._changed:
            self._alone += 1
            self._changed.wait_for(lambda: not self._running)
            self._running = 1  # for others that want to be alone
        try:
            yield
        finally:
            with self._changed:
                self._alone -= 1
            self._end()

    def _end(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()


PASSES = Passes()  # one for the process, as `nn.Module` is

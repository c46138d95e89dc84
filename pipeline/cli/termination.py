"""SIGTERM ends a run as Ctrl-C does. Present batches are finished, and the user hears how to go on."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """Another process asked this one to end."""


@contextmanager
def raising_on_sigterm() -> Iterator[None]:
    """In the main thread. Raises Terminated there when the signal comes."""
    before = signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise Terminated

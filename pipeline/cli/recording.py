"""The log and the policies for what a command changes."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline import wiring_audit
from pipeline.ports import PolicyBook
from pipeline.service.accountability import Accountability
from pipeline.settings import Settings


@contextmanager
def open_accountability(settings: Settings, policies: PolicyBook) -> Iterator[Accountability]:
    """For commands that search nothing."""
    with wiring_audit.open_recording(settings) as log:
        yield Accountability(log=log, policies=policies, index=None)

"""Notice that a log is not the one that was published: put back to an earlier state, or forked."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from pipeline.audit.checkpoint import NamedCheckpoint
from pipeline.audit.tree import NodeReader, root_of
from pipeline.errors import FatalError

DECIDE = "Pictor signs nothing until you decide. `pictor audit restore` says what is missing"

Guard: TypeAlias = Callable[[], Sequence[NamedCheckpoint]]


def no_guard() -> Sequence[NamedCheckpoint]:
    """For a log that is published nowhere."""
    return ()


def check_not_behind(published: Sequence[NamedCheckpoint], size: int, node: NodeReader) -> None:
    """Compare a log with checkpoints of it that are signed and published.

    Raises:
        FatalError: it has fewer entries than one of them, or others.
    """
    for one in published:
        signed = one.checkpoint
        if signed.size > size:
            raise FatalError(
                f"{one.name}: the log was rolled back. It has {size} entries, and this checkpoint has "
                f"{signed.size}. {DECIDE}"
            )
        if root_of(signed.size, node) != signed.root:
            raise FatalError(
                f"{one.name}: the log was forked. Its first {signed.size} entries are not those of this "
                f"checkpoint. {DECIDE}"
            )

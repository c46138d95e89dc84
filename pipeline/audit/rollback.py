"""Notice that a log is not the one that was published: put back to an earlier state, or forked."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from pipeline.audit.checkpoint import Checkpoint
from pipeline.audit.tree import NodeReader, root_of
from pipeline.errors import FatalError

Guard: TypeAlias = Callable[[], Sequence[Checkpoint]]


def no_guard() -> Sequence[Checkpoint]:
    """For a log that is published nowhere."""
    return ()


def check_not_behind(published: Sequence[Checkpoint], size: int, node: NodeReader) -> None:
    """Compare a log with checkpoints of it that are signed and published.

    Raises:
        FatalError: it has fewer entries than one of them, or others.
    """
    for checkpoint in published:
        if checkpoint.size > size:
            raise FatalError(
                f"the log was rolled back: it has {size} entries, and a published checkpoint has "
                f"{checkpoint.size}; docs/accountability.md says how to go on"
            )
        if root_of(checkpoint.size, node) != checkpoint.root:
            raise FatalError(
                f"the log was forked: its first {checkpoint.size} entries are not those of a published "
                "checkpoint; docs/accountability.md says how to go on"
            )

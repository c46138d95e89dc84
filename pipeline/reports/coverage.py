"""Which entries a report is made of, so that somebody else can count them again."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pipeline.reports.acts import Act, act_in
from pipeline.types.audit import AuditEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """By the start of an act. `until` is out; None is open."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, at: datetime) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    def overlaps(self, earliest: datetime | None, latest: datetime | None) -> bool:
        """Whether some moment between the two may be in it. None is open here, too."""
        return (self.until is None or earliest is None or earliest < self.until) and (
            self.since is None or latest is None or latest >= self.since
        )

    def __str__(self) -> str:
        if self.since is None and self.until is None:
            return "the whole log"
        since = f"{self.since:%Y-%m-%d %H:%M} UTC" if self.since else "the beginning"
        return f"{since} to {f'before {self.until:%Y-%m-%d %H:%M} UTC' if self.until else 'now'}"


@dataclass(kw_only=True)
class Coverage:
    """Entries of the tree: `in_period + outside + unseen + erased` is its size once all are taken.

    `unseen` are of other tenants and collections. An erased entry has no time any more. `erased_near` of them
    stand where an entry of the period could.
    """

    in_period: int = 0
    outside: int = 0
    unseen: int = 0
    erased: int = 0
    erased_near: int = 0

    @property
    def tree_size(self) -> int:
        return self.in_period + self.outside + self.unseen + self.erased


def acts_of(
    entries: Iterable[AuditEntry], period: Period, covered: Coverage, *, is_seen: Callable[[AuditEntry], bool]
) -> Iterator[tuple[Act, bool]]:
    """The acts that may be seen, in the order of the log, and whether each is in the period.

    Args:
        covered: is filled on the way.
    """
    before: datetime | None = None
    undated = 0
    for entry in entries:
        act = act_in(entry)
        if act is None:
            covered.erased += 1
            undated += 1
            continue
        if period.overlaps(before, act.ended_at):
            covered.erased_near += undated
        before, undated = act.started_at, 0
        if not is_seen(entry):
            covered.unseen += 1
            continue
        in_period = period.holds(act.started_at)
        if in_period:
            covered.in_period += 1
        else:
            covered.outside += 1
        yield act, in_period
    if undated and period.overlaps(before, None):
        covered.erased_near += undated

"""Who has used the system: a row for each key or person."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.reports.acts import Act
from pipeline.reports.kinds import count_kind, kinds_table, kinds_tally
from pipeline.reports.report import Cell, Table
from pipeline.types.audit import AuditKind

TITLE = "Use by key"
SUPPORTS = "Directive (EU) 2016/680 art. 25(2), RCW 43.386.070(2)"
NAMED = (AuditKind.SEARCH, AuditKind.VERIFICATION, AuditKind.JOB, AuditKind.READ, AuditKind.EXPORT)
COLUMNS = (
    "key or person", "roles", "entries", "searches", "refused", "with hits", "verifications", "jobs", "reads",
    "exports", "other", "persons named", "first", "last",
)  # fmt: skip


@dataclass(kw_only=True)
class _Use:
    first: datetime
    last: datetime
    roles: set[str]
    on_behalf_of: set[str]
    counts: dict[str, int]

    def take(self, act: Act) -> None:
        self.first, self.last = min(self.first, act.started_at), max(self.last, act.started_at)
        self.roles.add(act.roles)
        self.on_behalf_of |= {act.on_behalf_of} - {""}
        kind = act.kind if act.kind in NAMED else "other"
        added = {"entries": 1, kind: 1, "refused": act.is_search and act.is_refused}
        added["with hits"] = act.is_search and bool(act.candidates)
        for name, count in added.items():
            self.counts[name] = self.counts.get(name, 0) + count


def usage_tables(acts: Iterable[tuple[Act, bool]]) -> Sequence[Table]:
    kinds, uses = kinds_tally(), dict[str, _Use]()
    for act, in_period in acts:
        if in_period:
            count_kind(kinds, act)
            if act.actor not in uses:
                uses[act.actor] = _Use(
                    first=act.started_at, last=act.started_at, roles=set(), on_behalf_of=set(), counts={}
                )
            uses[act.actor].take(act)
    rows = [_row(actor, use) for actor, use in sorted(uses.items())]
    sums = [sum(int(row[column] or 0) for row in rows) for column in range(2, 11)]
    table = Table(
        name="keys",
        title="Entries by key or person",
        about="A key is shown with its id. Persons named are those on whose behalf it asked.",
        columns=COLUMNS,
        rows=rows,
        total=("total", "", *sums, "", "", ""),
    )
    return kinds_table(kinds), table


def _row(actor: str, use: _Use) -> Sequence[Cell]:
    counted = ("entries", AuditKind.SEARCH, "refused", "with hits", *NAMED[1:], "other")
    return (
        actor,
        "; ".join(sorted(use.roles - {""})),
        *(use.counts.get(name, 0) for name in counted),
        len(use.on_behalf_of),
        f"{use.first:%Y-%m-%d %H:%M}",
        f"{use.last:%Y-%m-%d %H:%M}",
    )

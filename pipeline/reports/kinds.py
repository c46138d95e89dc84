"""How many entries of each kind a period has: the table that every report begins with."""

from pipeline.reports.acts import Act
from pipeline.reports.report import Table
from pipeline.reports.tally import Tally


def kinds_tally() -> Tally:
    return Tally(named=("kind",), counted=("entries", "refused"))


def count_kind(tally: Tally, act: Act) -> None:
    tally.add((act.kind,), entries=1, refused=act.is_refused)


def kinds_table(tally: Tally) -> Table:
    return tally.table(name="kinds", title="Entries of the period by kind")

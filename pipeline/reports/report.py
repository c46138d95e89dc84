"""A report: facts, and tables whose rows add up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pipeline.reports.coverage import Coverage, Period

Cell = str | int | float | None


class Shape(StrEnum):
    ANNUAL = "annual"  # how often which system was used, for what, and what came of it
    EXTRACT = "extract"  # each entry, for a supervisory authority
    ACCOUNTABILITY = "accountability"  # of the system: versions, inputs, purposes, policies, error rates
    USAGE = "usage"  # by person or key


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """`total` has a cell for each column, or none for the whole table."""

    name: str  # for programs
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    total: Sequence[Cell] = ()
    about: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogState:
    """The signed state that a report was made from."""

    origin: str
    size: int
    root: str  # in base64
    checkpoint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """`to_write` is what a reader expects, and no log can say."""

    shape: Shape
    title: str
    supports: str  # the law that asks for it
    tenant: str
    period: Period
    made_at: datetime
    made_by: str
    software: str
    log: LogState
    covered: Coverage
    tables: Sequence[Table]
    filters: Mapping[str, str] = field(default_factory=dict)
    to_write: Sequence[str] = ()

    @property
    def facts(self) -> Sequence[tuple[str, Cell]]:
        """What it was made of, in the order in which people read it."""
        covered = self.covered
        return (
            ("Report", self.title),
            ("Supports", self.supports),
            ("Tenant", self.tenant),
            ("Period", str(self.period)),
            *((f"Only {name}", text) for name, text in self.filters.items()),
            ("Made at", f"{self.made_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("Made by", f"{self.made_by}, {self.software}"),
            ("Log", self.log.origin),
            ("Entries of the log", self.log.size),
            ("Root of the tree", self.log.root),
            ("Entries of the period", covered.in_period),
            ("Entries outside the period", covered.outside),
            ("Entries of other tenants or collections", covered.unseen),
            ("Erased entries, which have no date any more", covered.erased),
            ("Erased entries that stand near the period", covered.erased_near),
        )

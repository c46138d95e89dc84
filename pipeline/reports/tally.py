"""Counters by a key, as the rows of a table with its total."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.reports.report import Cell, Table

Key = tuple[str, ...]


@dataclass(kw_only=True)
class Tally:
    """Args: `named` are the columns of a key, `counted` those of its counters."""

    named: Sequence[str]
    counted: Sequence[str]
    _counts: dict[Key, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self._counts = defaultdict(lambda: [0] * len(self.counted))

    def add(self, key: Key, **counts: int) -> None:
        row = self._counts[key]
        for name, count in counts.items():
            row[self.counted.index(name.replace("_", " "))] += count

    def table(self, *, name: str, title: str, about: str = "") -> Table:
        rows: list[tuple[Cell, ...]] = [
            (*(text or "none" for text in key), *counts) for key, counts in sorted(self._counts.items())
        ]
        sums = [sum(column) for column in zip(*self._counts.values(), strict=True)] or [0] * len(self.counted)
        return Table(
            name=name,
            title=title,
            about=about,
            columns=(*self.named, *self.counted),
            rows=rows,
            total=("total", *[""] * (len(self.named) - 1), *sums),
        )

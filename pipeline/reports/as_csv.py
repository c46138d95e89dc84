"""A report for a spreadsheet: its facts and each table, one below the other, with an empty line between."""

import csv
import io
from collections.abc import Iterator, Sequence

from pipeline.reports.report import Cell, Report

FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "|",
    "%",
)  # a spreadsheet would compute a text that begins so


def report_csv(report: Report) -> str:
    """Every text that a spreadsheet could take for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)
    for row in _rows(report):
        writer.writerow([safe(cell) for cell in row])
    return out.getvalue()


def safe(cell: Cell) -> Cell:
    """The cell as a spreadsheet shows it, and never computes it. Numbers are ours."""
    if cell is None:
        return ""
    if isinstance(cell, str) and cell.lstrip(" \u00a0\ufeff").startswith(FORMULA):
        return f"'{cell}"
    return cell


def _rows(report: Report) -> Iterator[Sequence[Cell]]:
    yield from report.facts
    yield ("Checkpoint", report.log.checkpoint)
    for table in report.tables:
        yield ()
        yield (table.title,)
        if table.about:
            yield (table.about,)
        yield table.columns
        yield from table.rows
        if table.total:
            yield table.total
    if report.to_write:
        yield ()
        yield ("For you to write",)
        yield from ((text,) for text in report.to_write)

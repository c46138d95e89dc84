"""A model card in Markdown: what was measured, on what, and what does not follow from it."""

from collections.abc import Iterable, Iterator

from pipeline.cli.evaluate_sections import Section, Table, sections_of
from pipeline.evaluation.error_rates import ErrorRates
from pipeline.names import visible

_MARKUP = {sign: f"\\{sign}" for sign in "\\`*_[]|#"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def card_of(rates: ErrorRates) -> str:
    first, *others = sections_of(rates)
    parts = [*_parts(first, "#"), *(part for section in others for part in _parts(section, "##"))]
    return "\n\n".join(parts) + "\n"


def _parts(section: Section, heading: str) -> Iterator[str]:
    yield f"{heading} {_text(section.title)}"
    yield from map(_text, section.words)
    yield from map(_table, section.tables)


def _table(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join(f"| {' | '.join(_cells(line))} |" for line in lines)


def _cells(line: Iterable[object]) -> Iterator[str]:
    return (cell if cell == "---" else _text(str(cell)) for cell in map(str, line))


def _text(text: str) -> str:
    """A name is no markup: it cannot end a cell, open a tag or break a line."""
    return "".join(_MARKUP.get(sign, sign) for sign in visible(text))

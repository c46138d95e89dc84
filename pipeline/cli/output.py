"""Print results on standard output, and everything else on standard error."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from pipeline.names import visible

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console() -> "Console":
    """Standard error. Loaded with the first word for people: JSON for programs needs none of it."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def write_line(text: str) -> None:
    # A query given as raw bytes holds lone surrogates; inside JSON text their escapes are JSON's own.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def write_json(value: Mapping[str, object]) -> None:
    """One object, one line. Any Unicode, keys with newlines and quotes included."""
    write_line(json.dumps(value, ensure_ascii=False, default=str))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people. Cells are shown as they are: a key with [brackets] is no markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(str(cell))) for cell in row))
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    out.print(table)


def note(text: str) -> None:
    _say(text)


def warn(text: str) -> None:
    _say(f"warning: {text}", style="yellow")


def fail(text: str) -> None:
    _say(f"error: {visible(text)}", style="bold red")


def _say(text: str, *, style: str = "") -> None:
    from rich.text import Text

    console().print(Text(text, style=style))

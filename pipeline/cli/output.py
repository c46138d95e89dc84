"""Print results on standard output, and everything else on standard error."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.service.text import visible

console = Console(stderr=True, highlight=False, soft_wrap=True)


def write_line(text: str) -> None:
    # A query given as raw bytes holds lone surrogates; inside JSON text their escapes are JSON's own.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def write_json(value: Mapping[str, object]) -> None:
    """One object, one line. Any Unicode, keys with newlines and quotes included."""
    write_line(json.dumps(value, ensure_ascii=False, default=str))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people. Cells are shown as they are: a key with [brackets] is no markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(str(cell))) for cell in row))
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    out.print(table)


def note(text: str) -> None:
    console.print(Text(text))


def warn(text: str) -> None:
    console.print(Text(f"warning: {text}", style="yellow"))


def fail(text: str) -> None:
    console.print(Text(f"error: {visible(text)}", style="bold red"))

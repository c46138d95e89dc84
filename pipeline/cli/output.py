"""Print results on standard output, and everything else on standard error."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from pipeline.names import visible

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH = 200  # characters of a line that goes to no terminal
GAP = "  "  # between columns
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


@cache
def console() -> "Console":
    """Standard error. Loaded with the first word for people: JSON for programs needs none of it."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def counted(number: int, one: str) -> str:
    """For example "1 hit" and "2 hits"."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def write_line(text: str) -> None:
    # A query given as raw bytes holds lone surrogates; inside JSON text their escapes are JSON's own.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def write_json(value: Mapping[str, object]) -> None:
    """One object, one line. Any Unicode, keys with newlines and quotes included."""
    write_line(json.dumps(value, ensure_ascii=False, default=str))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people. Cells are shown as they are: a key with [brackets] is no markup."""
    from rich.cells import cell_len, set_cell_size

    lines = [tuple(columns), *(tuple(visible(str(cell)) for cell in row) for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    if sum(widths) + len(GAP) * (len(widths) - 1) > _line_width():
        _write_folded(lines)
        return
    for number, line in enumerate(lines):
        text = GAP.join(map(set_cell_size, line, widths))
        write_line(f"{BOLD}{text}{PLAIN}" if number == 0 and _obeys_codes() else text)


def _write_folded(lines: Sequence[Sequence[str]]) -> None:
    """A table wider than the lines. It takes a library that is not loaded for one that fits."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in lines[0]:
        table.add_column(column, overflow="fold")
    for line in lines[1:]:
        table.add_row(*map(Text, line))
    Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)


def _line_width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else FILE_WIDTH


def _obeys_codes() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb", "unknown")


def note(text: str) -> None:
    if console.cache_info().currsize:  # it may show a progress bar, which has to move out of the way
        _say(text)
    else:
        sys.stderr.write(text + "\n")


def warn(text: str) -> None:
    _say(f"warning: {text}", style="yellow")


def fail(text: str) -> None:
    _say(f"error: {visible(text)}", style="bold red")


def _say(text: str, *, style: str = "") -> None:
    from rich.text import Text

    console().print(Text(text, style=style))

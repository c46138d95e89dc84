"""docs/how-to/operate.md as a script: commands in order, in one shell, each with what it should print."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path("docs") / "how-to" / "operate.md"
_MARK = "\x01"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Step:
    command: str
    expected: str  # what the page shows below it


def steps(page: str) -> Iterator[Step]:
    for block in _BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            yield Step(command=command, expected=expected)


def run(commands: list[str], env: Mapping[str, str], folder: Path, timeout_s: float) -> list[str]:
    """What each command printed on both streams. Workers in the background write to files of their own."""
    script = "\n".join(f"printf '{_MARK}'\n{command}" for command in commands)
    with (folder / "printed").open("w+b") as printed:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(timeout_s)
        finally:
            _end_group(shell.pid)
            shell.wait(10)
        printed.seek(0)
        return printed.read().decode(errors="replace").split(_MARK)[1:]


def alike(expected: str, printed: str) -> bool:
    """Line by line, whatever ids, versions, times, places and the widths of columns. Counts are compared."""
    return [_shape(line) for line in expected.splitlines()] == [_shape(line) for line in printed.splitlines()]


def _shape(line: str) -> str:
    line = re.sub(r"\S*(?:/|://)\S*", "<place>", line)
    line = re.sub(r"[\d.]+ GiB", "<size>", line)
    # A server that others use has their collections, too; threads follow from the machine.
    line = re.sub(r"\d+ (collections|cores|fetch threads|decode threads)", r"<number> \1", line)
    line = re.sub(r"\b(?!\d{1,3}\b(?!\.\d))(?=[\w-]*\d)[\w.:+-]+", "<number>", line)
    return " ".join(line.split())


def _end_group(pid: int) -> None:
    """Workers that a failed page left behind, too."""
    try:
        os.killpg(pid, 9)
    except ProcessLookupError:
        return

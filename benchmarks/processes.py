"""Starts a contestant in a process of its own and reads what it prints."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants.clock import Clocked
from benchmarks.part import REPOSITORY

TIMEOUT_S = 400.0
COMPETITORS_PYTHON = REPOSITORY / ".venv-bench" / "bin" / "python"
NO_COMPETITORS = "not measured: no environment for Ray Data and Daft; `make bench` makes it"
# They would report home in the middle of a measurement.
_SILENT = {"RAY_USAGE_STATS_ENABLED": "0", "DAFT_ANALYTICS_ENABLED": "0", "DO_NOT_TRACK": "1"}


class ContestantError(RuntimeError):
    """A contestant ended without a result. The message holds the end of what it said."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """`process_seconds` is the wall time of the whole process, its imports included."""

    clocked: Clocked
    process_seconds: float

    @property
    def warm_rate(self) -> float:
        """Images per second once the model is ready."""
        return self.clocked.images / self.clocked.warm_seconds

    @property
    def rate(self) -> float:
        """Images per second from the call to the last stored embedding."""
        return self.clocked.images / self.clocked.seconds

    @property
    def process_rate(self) -> float:
        return self.clocked.images / self.process_seconds


@dataclass(frozen=True, kw_only=True)
class Task:
    """The work that all contestants get. `images` is what each must have stored; 0: it is not checked."""

    photos: Path
    model_file: Path  # with the weights beside it, under the name of the architecture
    images: int = 0


def run_contestant(
    program: str,
    task: Task,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    python: Path = Path(sys.executable),
) -> Ran:
    """Run `benchmarks.contestants.<program>` with an empty home and an empty folder for its output.

    Raises:
        ContestantError: it failed, took too long, or did not store one embedding for each image.
    """
    # Ray's processes outlive their driver for a moment and write into the folder while it is removed.
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        command = _command(program, task, arguments, Path(folder), python)
        started = time.perf_counter()
        done = _run(command, _environment(Path(folder), env or {}), program)
        seconds = time.perf_counter() - started
    clocked = Clocked(**json.loads(done.splitlines()[-1]))
    if task.images and clocked.images != task.images:
        raise ContestantError(f"{program} stored {clocked.images} embeddings of {task.images} images")
    return Ran(clocked=clocked, process_seconds=seconds)


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of Pictor or S3, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PICTOR_", "AWS_"))}
    return kept | {"PYTHONPATH": str(REPOSITORY)} | dict(more)


def _command(program: str, task: Task, arguments: Sequence[str], folder: Path, python: Path) -> list[str]:
    out = folder / "out"
    out.mkdir()
    return [
        str(python),
        "-m",
        f"benchmarks.contestants.{program}",
        *("--photos", str(task.photos), "--out", str(out)),
        *("--weights", str(task.model_file.with_suffix(".safetensors"))),
        *("--architecture", task.model_file.stem),
        *arguments,
    ]


def _environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    return clean_environment({"PICTOR_HOME": str(folder / "home")} | _SILENT | dict(more))


def _run(command: Sequence[str], env: Mapping[str, str], program: str) -> str:
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise ContestantError(f"{program} was not done after {TIMEOUT_S:g} s") from err
    if done.returncode != 0 or not done.stdout.strip():
        raise ContestantError(f"{program} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout

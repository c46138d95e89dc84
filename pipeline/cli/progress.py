"""A live line on a terminal. When the output is piped, a job is silent and a count says how far it is."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Self, cast

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pipeline.cli.output import console, note
from pipeline.names import visible
from pipeline.types import Job, JobCounts, JobState

EVERY_S = 15.0  # between two lines in a log


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressState:
    """The numbers of a job that are shown, wherever it runs."""

    state: JobState
    planned: bool
    counts: JobCounts
    error: str = ""

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls(state=job.state, planned=job.planned, counts=job.counts, error=job.error)

    @classmethod
    def of_fields(cls, told: Mapping[str, object]) -> Self:
        """Args: `told` has the fields of `job_json`."""
        names = [field.name for field in fields(JobCounts)]
        return cls(
            state=JobState(str(told["state"])),
            planned=bool(told["planned"]),
            counts=JobCounts(**{name: cast("int", told.get(name, 0)) for name in names}),
            error=str(told["error"]),
        )


class JobProgress:
    """Shows images/s, time left and failures so far. Use as a context manager.

    Args:
        done_before: objects settled before this run. They do not count for its speed.
    """

    def __init__(self, *, done_before: int = 0) -> None:
        self._started = time.perf_counter()
        self._done_before = done_before
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=console(),
            disable=not console().is_terminal,
            transient=True,
        )
        self._task: TaskID = self._bar.add_task("planning", total=None, counts="")

    def show(self, state: ProgressState) -> None:
        counts = state.counts
        done = counts.scanned - counts.pending
        rate = (done - self._done_before) / max(time.perf_counter() - self._started, 1e-6)
        left = _left(state, rate)
        self._bar.update(
            self._task,
            description="indexing" if state.planned else "listing and indexing",
            total=counts.scanned if state.planned else None,  # unknown while the listing goes on
            completed=done,
            counts=f"{done}/{counts.scanned} images  {rate:.1f}/s  {left}{counts.failed} failed",
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class CountProgress:
    """How many of a known number of images are done. Use as a context manager.

    A terminal has a line that moves. Elsewhere there is a line at the start, and one each `EVERY_S` seconds.

    Args:
        clock: in seconds.
    """

    def __init__(self, what: str, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = visible(what)
        self._total = total
        self._clock = clock
        self._said = clock()
        self._is_live = console().is_terminal
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} images"),
            TimeElapsedColumn(),
            console=console(),
            disable=not self._is_live,
            transient=True,
        )
        self._task: TaskID = self._bar.add_task(self._what, total=total)

    def show(self, done: int) -> None:
        self._bar.update(self._task, completed=done)
        if not self._is_live and self._clock() - self._said >= EVERY_S:
            self._said = self._clock()
            note(f"{self._what}: {done} of {self._total} images")

    def __enter__(self) -> Self:
        if not self._is_live:
            note(f"{self._what}: {self._total} images")
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def _left(state: ProgressState, rate: float) -> str:
    if not state.planned or rate <= 0:
        return ""
    minutes, seconds = divmod(round(state.counts.pending / rate), 60)
    return f"{minutes}:{seconds:02d} left  "

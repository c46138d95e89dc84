"""How a run ends, wherever it ran: the counts, and the exit code when too much of it failed."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from pipeline.cli.exit_codes import EXIT_UNFINISHED
from pipeline.cli.output import note, warn, write_json, write_line
from pipeline.errors import PictorError
from pipeline.types import JobCounts, JobState

if TYPE_CHECKING:
    from pipeline.cli.progress import ProgressState


def settle(
    job_id: str,
    ended: "ProgressState",
    *,
    seconds: float,
    done: int,
    as_json: bool,
    max_failure_rate: float = 1.0,
) -> None:
    """End a command that has followed a job which others ran: its counts, and its exit code.

    Args:
        done: see `print_counts`.

    Raises:
        PictorError: it did not complete.
        typer.Exit: it refused to remove what has vanished, or too much of it failed. It was said why.
    """
    refused = ended.error if ended.state is JobState.COMPLETED else ""
    print_counts(job_id, ended.counts, seconds, done, as_json=as_json, refused=refused)
    if ended.state is not JobState.COMPLETED:
        raise PictorError(f"job {job_id} is {ended.state}" + (f": {ended.error}" if ended.error else ""))
    fail_if_refused(refused)
    check_failure_rate(ended.counts, max_failure_rate)


def print_counts(
    job_id: str, counts: JobCounts, seconds: float, done: int, *, as_json: bool, refused: str = ""
) -> None:
    """Print one line.

    Args:
        done: how many objects this run settled, for images/s.
        refused: why nothing was removed, when more was gone than may be removed.
    """
    rate = round(done / seconds, 1) if seconds > 0 else 0.0
    if as_json:
        of_run = {"seconds": round(seconds, 3), "images_per_s": rate, "refused": refused}
        write_json({"job_id": job_id, **asdict(counts), **of_run})
        return
    of_faces = (
        f", {counts.faces_found} faces found, {counts.without_faces} images without a face"
        if has_faces(counts)
        else ""
    )
    write_line(
        f"job {job_id}: {counts.scanned} scanned = {counts.indexed} indexed + "
        f"{counts.unchanged} unchanged + {counts.failed} failed + {counts.pending} pending; "
        f"{counts.ignored} ignored, {counts.removed} removed{of_faces}; {seconds:.1f} s, {rate} images/s"
    )
    if counts.failed and sys.stdout.isatty():
        note(f"Why they failed: pictor jobs failures {job_id}")


def has_faces(counts: JobCounts) -> bool:
    """Whether they are of a model that looks for faces, and has looked."""
    return bool(counts.faces_found or counts.without_faces)


def check_failure_rate(counts: JobCounts, max_failure_rate: float) -> None:
    """Raises typer.Exit when a larger share of the images failed."""
    if counts.failed > max_failure_rate * counts.scanned:
        warn(f"{counts.failed} of {counts.scanned} images failed, over --max-failure-rate {max_failure_rate}")
        raise typer.Exit(EXIT_UNFINISHED)


def fail_if_refused(error: str) -> None:
    """Raises typer.Exit when a finished job has refused to remove vanished objects."""
    if error:
        warn(error)
        raise typer.Exit(EXIT_UNFINISHED)


def done_of(counts: JobCounts) -> int:
    return counts.scanned - counts.pending

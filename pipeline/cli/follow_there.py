"""Follow a job of a running service to its end, with the progress and the outcome of a job that runs here."""

import time
from collections.abc import Callable

import typer

from pipeline.cli.exit_codes import EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_UNFINISHED
from pipeline.cli.outcome import done_of, print_counts, settle
from pipeline.cli.output import fail, note
from pipeline.cli.progress import JobProgress, ProgressState
from pipeline.cli.termination import Terminated, raising_on_sigterm
from pipeline.client import Job, Pictor
from pipeline.types import JobState


def follow_to_end(
    job: Job,
    pictor: Pictor,
    *,
    as_json: bool,
    max_failure_rate: float = 1.0,
    while_paused: bool = False,
    on_stop: Callable[[Job], str] | None = None,
) -> None:
    """Show the progress of a job, print its counts and end as a command that ran it itself.

    Args:
        job: as it was when it was submitted or asked for.
        while_paused: go on waiting while it is paused.
        on_stop: called when the command is stopped by Ctrl-C or SIGTERM. Returns what is said then. By
            default the job goes on.

    Raises:
        typer.Exit: the command was stopped, or the job ended badly. It was said why.
        PictorError: the job was paused or cancelled by somebody, or did not run to its end.
    """
    started = time.perf_counter()
    before = ProgressState.of_fields(job.raw)
    stopped_by: KeyboardInterrupt | None = None
    latest = job
    with JobProgress(done_before=done_of(before.counts)) as progress, raising_on_sigterm():
        try:
            for latest in pictor.follow_job(job.job_id):
                progress.show(ProgressState.of_fields(latest.raw))
                if latest.state == JobState.PAUSED and not while_paused:
                    break
        except KeyboardInterrupt as err:
            stopped_by = err
    said = (on_stop or _let_go_on)(latest) if stopped_by is not None else ""
    ended = ProgressState.of_fields((pictor.show_job(job.job_id) if stopped_by else latest).raw)
    seconds, done = time.perf_counter() - started, done_of(ended.counts) - done_of(before.counts)
    if stopped_by is not None:
        print_counts(job.job_id, ended.counts, seconds, done, as_json=as_json)
        raise typer.Exit(_say_stopped(stopped_by, said))
    if ended.state is JobState.FAILED:
        print_counts(job.job_id, ended.counts, seconds, done, as_json=as_json)
        fail(ended.error)
        note("The job is unfinished; what is done is kept. Run the same command again to go on.")
        raise typer.Exit(EXIT_UNFINISHED)
    settle(job.job_id, ended, seconds=seconds, done=done, as_json=as_json, max_failure_rate=max_failure_rate)


def _let_go_on(job: Job) -> str:
    return f"Job {job.job_id} goes on in the service. To stop it: pictor jobs pause {job.job_id}"


def _say_stopped(stopped_by: KeyboardInterrupt, said: str) -> int:
    is_sigterm = isinstance(stopped_by, Terminated)
    note(("Stopped by SIGTERM. " if is_sigterm else "") + said)
    return EXIT_TERMINATED if is_sigterm else EXIT_INTERRUPTED

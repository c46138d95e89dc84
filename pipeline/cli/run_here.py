"""Run an embedded job in this process: its lock, its model, its progress and its outcome."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from pipeline import wiring
from pipeline.cli.exit_codes import EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_UNFINISHED
from pipeline.cli.missed_links import MissedLinks
from pipeline.cli.outcome import check_failure_rate, done_of, fail_if_refused, print_counts
from pipeline.cli.output import fail, note
from pipeline.cli.progress import JobProgress, ProgressState
from pipeline.cli.termination import Terminated, raising_on_sigterm
from pipeline.embedded import DriverOptions, held_job, run_job
from pipeline.errors import PictorError
from pipeline.ports import Deps, ImageEmbedder, Ledger, PolicyBook, VectorIndex
from pipeline.settings import Settings
from pipeline.types import CollectionInfo, Job, JobState


@contextmanager
def job_held_here(job_id: str, ledger: Ledger, settings: Settings) -> Iterator[Job]:
    """Raises as `held_job` does."""
    driver, locks = wiring.driver_here(settings), wiring.job_locks(settings)
    with held_job(job_id, ledger, driver=driver, lock_folder=locks) as job:
        yield job


@contextmanager
def deps_of_job(job: Job, ledger: Ledger, settings: Settings) -> Iterator[Deps]:
    """The ports for an existing job to go on in this process. The model is that of its collection.

    Raises:
        NotFoundError: the collection does not exist any more.
        ModelMismatchError: it belongs to another model.
    """
    with wiring.open_index(settings) as index:
        target = job.request.target
        embedder = wiring.model_of_generation(target, index, settings, batches=settings.batch_threads)
        existing = index.get_generation(target)
        yield deps_here(job.request.bucket, index, embedder, ledger, settings, existing=existing)


def deps_here(
    bucket: str,
    index: VectorIndex,
    embedder: ImageEmbedder,
    ledger: Ledger,
    settings: Settings,
    policies: PolicyBook | None = None,
    *,
    existing: CollectionInfo | None = None,
) -> Deps:
    """The ports for a job that runs in this process.

    Args:
        bucket: that the job reads, or the path of a folder.
        existing: the collection that it is for, if it is there already.
        policies: for a job that may make its collection.
    """
    return wiring.embedded_deps(
        settings,
        store=wiring.open_store(settings),
        index=index,
        embedder=embedder,
        ledger=ledger,
        existing=existing,
        policies=policies,
        of_folder=bucket.startswith("/"),
    )


def finish(job: Job, deps: Deps, settings: Settings, *, max_failure_rate: float, as_json: bool) -> None:
    """Run a job, whose lock the caller holds, to its end; show its progress and print its counts.

    Raises:
        typer.Exit: the run could not be finished, was stopped, or too much of it failed. It was said why.
        PictorError: somebody has paused or cancelled the job.
    """
    started = time.perf_counter()
    missed_links = MissedLinks()
    stopped_by = _run(job, deps, settings, missed_links)
    seconds = time.perf_counter() - started
    ended = deps.ledger.get_job(job.job_id)
    counts, done = ended.counts, done_of(ended.counts) - done_of(job.counts)
    refused = ended.error if ended.state is JobState.COMPLETED else ""
    print_counts(job.job_id, counts, seconds, done, as_json=as_json, refused=refused)
    missed_links.note()
    if stopped_by is not None:
        raise typer.Exit(_say_unfinished(stopped_by))
    if ended.state is not JobState.COMPLETED:
        raise PictorError(f"job {job.job_id} is {ended.state}")  # paused or cancelled by somebody meanwhile
    fail_if_refused(refused)
    check_failure_rate(counts, max_failure_rate)


def _run(
    job: Job, deps: Deps, settings: Settings, missed_links: MissedLinks
) -> PictorError | KeyboardInterrupt | None:
    """Returns the error or signal that stopped it before its end."""
    options = DriverOptions(queue_batches=settings.queue_batches, batch_threads=settings.batch_threads)
    limits = wiring.limits_of(settings)
    with JobProgress(done_before=done_of(job.counts)) as progress, raising_on_sigterm():

        def show(job: Job) -> None:
            progress.show(ProgressState.of(job))

        try:
            run_job(job, deps, limits, options, on_progress=show, on_missed_link=missed_links.add)
        except (PictorError, KeyboardInterrupt) as err:
            return err
    return None


def _say_unfinished(stopped_by: PictorError | KeyboardInterrupt) -> int:
    """Returns the exit code. Whatever the error is, the work was begun."""
    why, code = "", EXIT_UNFINISHED
    match stopped_by:
        case Terminated():
            why, code = "Stopped by SIGTERM. ", EXIT_TERMINATED
        case KeyboardInterrupt():
            code = EXIT_INTERRUPTED
        case _:
            fail(str(stopped_by))
    note(f"{why}The job is unfinished; what is done is kept. Run the same command again to go on.")
    return code

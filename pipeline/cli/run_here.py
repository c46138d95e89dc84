"""Run an embedded job in this process: its lock, its model, its progress and its outcome."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from pipeline import wiring
from pipeline.capacity import Load
from pipeline.cli.exit_codes import EXIT_INTERRUPTED
from pipeline.cli.missed_links import MissedLinks
from pipeline.cli.outcome import check_failure_rate, done_of, fail_if_refused, print_counts
from pipeline.cli.output import note
from pipeline.cli.progress import JobProgress, ProgressState
from pipeline.embedded import DriverOptions, held_job, run_job
from pipeline.errors import PictorError
from pipeline.ports import Deps, ImageEmbedder, Ledger, VectorIndex
from pipeline.ports.model_binding import DEFAULT_MODEL, check_binding, find_generation
from pipeline.settings import Settings
from pipeline.types import Job, JobState


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
        info = find_generation(job.request.target, index)
        embedder = wiring.lazy_model(settings.model, settings, existing=info, batches=settings.batch_threads)
        check_binding(info, embedder.spec)
        yield deps_here(index, embedder, ledger, settings)


def deps_here(index: VectorIndex, embedder: ImageEmbedder, ledger: Ledger, settings: Settings) -> Deps:
    """The ports for a job that runs in this process."""
    return Deps(
        store=wiring.open_store(settings),
        index=index,
        embedder=embedder,
        ledger=ledger,
        concurrency=wiring.concurrency_of(
            settings,
            Load(batches=settings.batch_threads, is_trained=embedder.spec.address != DEFAULT_MODEL),
        ),
    )


def finish(job: Job, deps: Deps, settings: Settings, *, max_failure_rate: float, as_json: bool) -> None:
    """Run a job, whose lock the caller holds, to its end; show its progress and print its counts."""
    options = DriverOptions(queue_batches=settings.queue_batches, batch_threads=settings.batch_threads)
    limits = wiring.limits_of(settings)
    started = time.perf_counter()
    error: PictorError | None = None
    interrupted = False
    state = JobState.RUNNING
    missed_links = MissedLinks()
    with JobProgress(done_before=done_of(job.counts)) as progress:

        def show(job: Job) -> None:
            progress.show(ProgressState.of(job))

        try:
            state = run_job(
                job, deps, limits, options, on_progress=show, on_missed_link=missed_links.add
            ).state
        except PictorError as err:
            error = err
        except KeyboardInterrupt:
            interrupted = True
    seconds = time.perf_counter() - started
    ended = deps.ledger.get_job(job.job_id)
    counts = ended.counts
    print_counts(job.job_id, counts, seconds, done_of(counts) - done_of(job.counts), as_json=as_json)
    missed_links.note()
    if error is not None or interrupted:
        note("The job is unfinished; what is done is kept. Run the same command again to go on.")
        raise error or typer.Exit(EXIT_INTERRUPTED)
    if state is not JobState.COMPLETED:
        raise PictorError(f"job {job.job_id} is {state}")  # paused or cancelled by somebody meanwhile
    fail_if_refused(ended.error)
    check_failure_rate(counts, max_failure_rate)

"""The embedded driver: planner → bounded queue of encoded messages → workers, all threads of one process.

The same messages and the same `handle_embed` as in the distributed way; only who calls it differs. Every
step is in the ledger before it is acted on, so a job that was stopped, even by kill -9, goes on where it was.
"""

import fcntl
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import ConflictError, PictorError
from pipeline.ingest.handle import handle_embed
from pipeline.ingest.plan import plan_job
from pipeline.ingest.sync import prepare_book, remove_missing
from pipeline.ports import Deps, ImageLimits, Ledger
from pipeline.types import EMBEDDED, WORKERS, Job, ObjectRef, Verdict

logger = logging.getLogger(__name__)

RETRY_DELAYS_S = (1, 2, 4, 8, 16)  # adapters retry first; this outlasts a service that is being restarted
PROGRESS_INTERVAL_S = 0.25  # as often as an eye wants it, seldom enough for a counting query
PUT_TIMEOUT_S = 0.5  # how soon a blocked planner notices that the run was stopped


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverOptions:
    queue_batches: int = 4
    batch_threads: int = 2  # one batch is fetched and decoded while another is on the device or being written
    retry_delays_s: Sequence[float] = RETRY_DELAYS_S


@dataclass(kw_only=True)
class _Run:
    """The state that the threads of one run share. `messages` is the only way work reaches a worker."""

    job: Job
    deps: Deps
    limits: ImageLimits
    retry_delays_s: Sequence[float]
    messages: "queue.Queue[bytes | None]"
    on_missed_link: Callable[[ObjectRef], None]
    stop: threading.Event = field(default_factory=threading.Event)
    error: PictorError | None = None

    def fail(self, error: PictorError) -> None:
        self.error = self.error or error  # the first one is the cause
        self.stop.set()


def run_job(
    job: Job,
    deps: Deps,
    limits: ImageLimits,
    options: DriverOptions,
    *,
    on_progress: Callable[[Job], None],
    on_missed_link: Callable[[ObjectRef], None] = lambda _: None,
) -> Job:
    """Run a job to its end.

    Args:
        on_missed_link: see `plan_job`; called by the thread that plans.

    Raises:
        PictorError: the run cannot go on. Done batches are recorded, and the same call goes on from there.
        KeyboardInterrupt: after the batches in flight were finished.
    """
    run = _Run(
        job=deps.ledger.get_job(job.job_id),  # as it is now: it was opened before this process held its lock
        deps=deps,
        limits=limits,
        retry_delays_s=options.retry_delays_s,
        messages=queue.Queue(options.queue_batches),
        on_missed_link=on_missed_link,
    )
    threads = [threading.Thread(target=_plan, args=(run, options.batch_threads), name="plan")]
    threads += [
        threading.Thread(target=_work, args=(run,), name=f"batch-{number}")
        for number in range(options.batch_threads)
    ]
    _run_threads(threads, run, on_progress)
    if run.error is not None:
        raise run.error
    if not deps.ledger.outstanding(
        job.job_id
    ):  # there are some when somebody has paused or cancelled the job
        remove_missing(job.job_id, deps, lambda: True)
        for batch in deps.ledger.pending(job.job_id):  # what the removal found to be there after all
            _handle_until_done(batch.body, run)
    deps.ledger.finish_if_done(job.job_id)
    finished = deps.ledger.get_job(job.job_id)
    if finished.counts.indexed > job.counts.indexed:
        deps.index.flush(job.request.target)
    on_progress(finished)
    return finished


@contextmanager
def held_job(job_id: str, ledger: Ledger, *, driver: str, lock_folder: Path) -> Iterator[Job]:
    """Hold an embedded job of this host, and take up one whose host was not noted.

    Raises:
        ConflictError: it is another driver's, or another process runs it.
    """
    if ledger.get_job(job_id).driver == WORKERS:
        raise ConflictError(f"job {job_id} is run by the workers and cannot be run here")
    with job_lock(lock_folder, job_id):
        if not ledger.take_up(job_id, driver):
            host, here = (name.removeprefix(EMBEDDED) for name in (ledger.get_job(job_id).driver, driver))
            raise ConflictError(
                f"job {job_id} is run on host {host} and cannot be run on {here}; give the command there"
            )
        yield ledger.get_job(job_id)


@contextmanager
def job_lock(folder: Path, job_id: str) -> Iterator[None]:
    """Keep other processes off a job: two would do everything twice. The lock dies with its process.

    Args:
        folder: the same for all processes that may run the job.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{job_id}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise ConflictError(f"job {job_id} is being run by another process") from err
        yield  # the file stays: to remove it could take away the one that another process has just locked


def _run_threads(threads: list[threading.Thread], run: _Run, on_progress: Callable[[Job], None]) -> None:
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(PROGRESS_INTERVAL_S / len(threads))
            on_progress(run.deps.ledger.get_job(run.job.job_id))
    finally:
        run.stop.set()  # Ctrl-C: nothing new is begun
        for thread in threads:
            thread.join()


def _plan(run: _Run, workers: int) -> None:
    try:
        _send_all(run)
    except PictorError as err:
        run.fail(err)
    except BaseException:  # the top of a thread: the run must not wait for a planner that is gone
        run.fail(PictorError("planning stopped by an internal error; see the log"))
        logger.exception("planner died")
    finally:
        for _ in range(workers):
            _put(run, None)


def _send_all(run: _Run) -> None:
    ledger, job = run.deps.ledger, run.job
    for batch in ledger.pending(job.job_id):  # planned before the last stop
        _put(run, batch.body)
    if job.planned or not prepare_book(job, run.deps, lambda: not run.stop.is_set()):
        return
    cursor = job.cursor
    for step in plan_job(job, run.deps.store, ledger.book, on_missed_link=run.on_missed_link):
        batches = [step.batch] if step.batch else []
        if run.stop.is_set() or not ledger.record_plan(
            job.job_id,
            batches,
            after=cursor,
            cursor=step.cursor,
            ignored=step.ignored,
            findings=step.findings,
        ):
            return
        cursor = step.cursor
        for batch in batches:
            _put(run, batch.body)
    if not run.stop.is_set():
        ledger.finish_planning(job.job_id, ignored=0)


def _put(run: _Run, message: bytes | None) -> None:
    while not run.stop.is_set():
        try:
            run.messages.put(message, timeout=PUT_TIMEOUT_S)
            return
        except queue.Full:
            continue


def _work(run: _Run) -> None:
    try:
        while (body := _next_message(run)) is not None:
            _handle_until_done(body, run)
    except PictorError as err:
        run.fail(err)
    except BaseException:  # the top of a thread: fail the run loudly rather than leave it waiting
        run.fail(PictorError("a batch was stopped by an internal error; see the log"))
        logger.exception("worker thread died")


def _next_message(run: _Run) -> bytes | None:
    while not run.stop.is_set():
        try:
            return run.messages.get(timeout=PUT_TIMEOUT_S)
        except queue.Empty:
            continue
    return None


def _handle_until_done(body: bytes, run: _Run) -> None:
    for delay_s in (*run.retry_delays_s, None):
        handled = handle_embed(body, run.deps, run.limits)
        if handled.verdict is Verdict.ACK:
            return
        if handled.verdict is not Verdict.RETRY or delay_s is None or run.stop.wait(delay_s):
            raise handled.error or PictorError("a batch was refused without a reason")

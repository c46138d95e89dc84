"""Runs embedded jobs one after another in a thread of the service."""

import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from pipeline.embedded import DriverOptions, held_job, run_job
from pipeline.errors import PictorError
from pipeline.ports import Deps, ImageLimits, Ledger
from pipeline.types import Job, JobState

logger = logging.getLogger(__name__)


class _StoppedError(Exception):
    """The service ends. Finished batches are in the ledger, and the job goes on when somebody resumes it."""


class EmbeddedRunner:
    """One job at a time: two would share the same cores. `close` ends the running job after its batches."""

    def __init__(
        self,
        deps_of: Callable[[Job], Deps],
        limits: ImageLimits,
        options: DriverOptions,
        *,
        driver: str,
        lock_folder: Path,
        ledger: Ledger,
    ) -> None:
        self._deps_of = deps_of
        self._limits = limits
        self._options = options
        self._driver = driver
        self._lock_folder = lock_folder
        self._ledger = ledger
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._waiting: set[str] = set()  # a second wish for a job that waits is none
        self._in_hand = ""
        self._waiting_lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def start(self, job_id: str) -> None:
        """Run the job when those before it have ended."""
        with self._waiting_lock:
            if job_id in self._waiting:
                return
            self._waiting.add(job_id)
        self._queue.put(job_id)

    def has(self, job_id: str) -> bool:
        with self._waiting_lock:
            return job_id == self._in_hand or job_id in self._waiting

    def close(self) -> None:
        self._stop.set()
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job_id := self._queue.get()) is not None and not self._stop.is_set():
            # A wish from now on counts: this run may have seen that the job was paused.
            with self._waiting_lock:
                self._waiting.discard(job_id)
                self._in_hand = job_id
            try:
                self._run(job_id)
            except _StoppedError:
                return
            except PictorError as err:
                logger.warning("job not run", extra={"job_id": job_id, "error": str(err)})
            except Exception:  # the top of a thread: the next job must not suffer from this one
                logger.exception("job stopped by an internal error", extra={"job_id": job_id})
            finally:
                self._in_hand = ""

    def _run(self, job_id: str) -> None:
        with held_job(job_id, self._ledger, driver=self._driver, lock_folder=self._lock_folder) as job:
            if job.state is not JobState.RUNNING:
                return  # it was paused or cancelled while it waited, or an earlier wish has been enough
            try:
                run_job(job, self._deps_of(job), self._limits, self._options, on_progress=self._go_on)
            except PictorError as err:
                # Nobody sits before a terminal. Those who follow the job are told by it.
                self._ledger.set_state(job_id, JobState.FAILED, error=str(err))

    def _go_on(self, _: Job) -> None:
        if self._stop.is_set():
            raise _StoppedError  # as Ctrl-C does: the batches in flight are finished


class TwoLanes:
    """Jobs of one image do not wait behind a large job. Args: `is_small` knows them by their id."""

    def __init__(
        self, *, small: EmbeddedRunner, large: EmbeddedRunner, is_small: Callable[[str], bool]
    ) -> None:
        self._small = small
        self._large = large
        self._is_small = is_small

    def start(self, job_id: str) -> None:
        """Run the job when those before it in its lane have ended."""
        lane = self._small if self._is_small(job_id) else self._large
        lane.start(job_id)

    def has(self, job_id: str) -> bool:
        return self._small.has(job_id) or self._large.has(job_id)

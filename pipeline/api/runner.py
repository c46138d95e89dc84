"""Runs embedded jobs one after another in a thread of the service."""

import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from pipeline.embedded import DriverOptions, held_job, run_job
from pipeline.errors import PictorError
from pipeline.ports import Deps, ImageLimits
from pipeline.types import Job

logger = logging.getLogger(__name__)


class _StoppedError(Exception):
    """The service ends. Finished batches are in the ledger, and the job goes on when somebody resumes it."""


class EmbeddedRunner:
    """One job at a time: two would share the same cores. `close` ends the job in hand after its batches."""

    def __init__(
        self,
        deps_of: Callable[[Job], Deps],
        limits: ImageLimits,
        options: DriverOptions,
        *,
        driver: str,
        lock_folder: Path,
        ledger_job: Callable[[str], Job],
    ) -> None:
        self._deps_of = deps_of
        self._limits = limits
        self._options = options
        self._driver = driver
        self._lock_folder = lock_folder
        self._ledger_job = ledger_job
        self._waiting: queue.Queue[str | None] = queue.Queue()
        self._asked: set[str] = set()  # waiting or running: a second wish for the same job is none
        self._asked_lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def start(self, job_id: str) -> None:
        """Run the job when those before it have ended."""
        with self._asked_lock:
            if job_id in self._asked:
                return
            self._asked.add(job_id)
        self._waiting.put(job_id)

    def close(self) -> None:
        self._stop.set()
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job_id := self._waiting.get()) is not None and not self._stop.is_set():
            try:
                self._run(job_id)
            except _StoppedError:
                return
            except PictorError as err:  # the job says how far it is; a resume goes on from there
                logger.warning("job not finished", extra={"job_id": job_id, "error": str(err)})
            except Exception:  # the top of a thread: the next job must not suffer from this one
                logger.exception("job stopped by an internal error", extra={"job_id": job_id})
            finally:
                with self._asked_lock:
                    self._asked.discard(job_id)

    def _run(self, job_id: str) -> None:
        deps = self._deps_of(self._ledger_job(job_id))
        with held_job(job_id, deps.ledger, driver=self._driver, lock_folder=self._lock_folder) as job:
            run_job(job, deps, self._limits, self._options, on_progress=self._go_on)

    def _go_on(self, _: Job) -> None:
        if self._stop.is_set():
            raise _StoppedError  # as Ctrl-C does: the batches in hand are finished

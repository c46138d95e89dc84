"""Wakes the planners of the workers' jobs, beside the requests that ask for it.

A job is in the ledger before its planner is woken, and the workers look for jobs that nobody plans. So a wish
that is lost, because the broker is away or the process ends, costs a minute and no job.
"""

import logging
import queue
import threading
from contextlib import suppress
from contextvars import Context, copy_context

from pipeline.errors import PictorError
from pipeline.ports import WatchedLedger
from workers.broker.publish import Publisher
from workers.planning.planner import wake_planner

logger = logging.getLogger(__name__)

MOST_WISHES = 1000  # more come together only while the broker is away, and the workers find those jobs
CLOSE_S = 15.0  # one publish takes 10 s at most


class PlannerWaker:
    """The runner of a service whose jobs are the workers'. No request waits for the broker."""

    def __init__(self, ledger: WatchedLedger, publisher: Publisher) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._queue: queue.Queue[tuple[str, Context] | None] = queue.Queue(MOST_WISHES)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="wake-planners", daemon=True)
        self._thread.start()

    def start(self, job_id: str) -> None:
        """Have the workers plan the job, or go on with it."""
        try:
            self._queue.put_nowait((job_id, copy_context()))  # the trace of the request goes on
        except queue.Full:
            _log_late(job_id, "too many wait for the broker")

    def has(self, job_id: str) -> bool:  # noqa: ARG002
        """The workers look for running jobs that nobody plans."""
        return True

    def close(self) -> None:
        """Wishes that came before are sent, if the broker takes them in time."""
        self._stop.set()
        with suppress(queue.Full):  # the thread looks at the event, too
            self._queue.put_nowait(None)
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (wish := self._queue.get()) is not None:
            job_id, request = wish
            if not request.run(self._wake, job_id) and self._stop.is_set():
                return  # the broker is away, and so it is for the others

    def _wake(self, job_id: str) -> bool:
        try:
            wake_planner(job_id, self._ledger, self._publisher)
        except PictorError as err:
            _log_late(job_id, str(err))
            return False
        except Exception:  # the top of a thread: the next job must not suffer from this one
            logger.exception("planner not woken", extra={"job_id": job_id})
            return False
        return True


def _log_late(job_id: str, error: str) -> None:
    logger.warning("planner not woken; a worker finds the job", extra={"job_id": job_id, "error": error})

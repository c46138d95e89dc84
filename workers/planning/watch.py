"""Looks for jobs of the workers whose planner has stopped, and counts those that run."""

import logging
import threading
import time
import uuid

from celery import Celery

from pipeline import wiring
from pipeline.errors import PictorError
from pipeline.ports import WatchedLedger
from pipeline.settings import Settings
from workers.broker.publish import Publisher
from workers.metrics.metrics import metrics
from workers.planning.claim import STALLED_AFTER_S, Clock, SystemClock
from workers.planning.progress import ProgressWatch

logger = logging.getLogger(__name__)

WATCH_S = 15.0  # how often stalled planners are looked for


class StalledPlanners:
    """Starts the planner again of each job of the workers whose chain of plan messages was cut.

    A claim is compared with that of the last look, by this process's own clock. Nobody's time of day
    is trusted. For one thread.
    """

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher, self._clock = publisher, clock
        self._watch = ProgressWatch()

    def restart(self, ledger: WatchedLedger) -> None:
        claims = ledger.plan_claims()
        for job_id, standing_s in self._watch.standing_s(claims, self._clock.now_s()).items():
            if standing_s > STALLED_AFTER_S:
                logger.warning("planner restarted", extra={"job_id": job_id})
                self._publisher.publish_plan_step(job_id, claims[job_id].step + 1, uuid.uuid4().hex)
                self._watch.forget(job_id)  # the message may wait on its queue: give it as long again


class StalledWatch(threading.Thread):
    """Looks after the planners of jobs, and counts running jobs."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        super().__init__(name="stalled-watch", daemon=True)  # ends with the process; holds nothing
        self._settings = settings
        self._planners = StalledPlanners(Publisher(app, preparation=settings.preparation), SystemClock())
        self._progress = ProgressWatch()

    def run(self) -> None:
        while True:
            time.sleep(WATCH_S)
            try:
                with wiring.open_ledger(self._settings) as ledger:
                    self._record_progress(ledger)
                    self._planners.restart(ledger)
            except PictorError as err:  # the database or the broker is away; the next round asks again
                logger.warning("stalled jobs not looked for", extra={"error": str(err)})
            except Exception:  # the top of a thread that nobody would miss before a job hangs
                logger.exception("stalled jobs not looked for")

    def _record_progress(self, ledger: WatchedLedger) -> None:
        standing_s = self._progress.standing_s(ledger.running_looks(), time.monotonic())
        # The metric is a time of day. It is made from this moment's, in case the clock was set meanwhile.
        oldest_progress_s = time.time() - max(standing_s.values()) if standing_s else 0.0
        metrics().record_jobs(len(standing_s), oldest_progress_s)

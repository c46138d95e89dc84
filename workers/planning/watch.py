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
from workers.planning.planner import STALLED_AFTER_S
from workers.planning.progress import ProgressWatch

logger = logging.getLogger(__name__)

WATCH_S = 15.0  # how often stalled planners are looked for


class StalledWatch(threading.Thread):
    """Starts the planner again of each job whose chain of plan messages was cut, and counts running jobs."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        super().__init__(name="stalled-watch", daemon=True)  # ends with the process; holds nothing
        self._settings = settings
        self._publisher = Publisher(app, preparation=settings.preparation)
        self._progress = ProgressWatch()

    def run(self) -> None:
        while True:
            time.sleep(WATCH_S)
            try:
                with wiring.open_ledger(self._settings) as ledger:
                    self._record_progress(ledger)
                    self._restart_stalled(ledger)
            except PictorError as err:  # the database or the broker is away; the next round asks again
                logger.warning("stalled jobs not looked for", extra={"error": str(err)})
            except Exception:  # the top of a thread that nobody would miss before a job hangs
                logger.exception("stalled jobs not looked for")

    def _record_progress(self, ledger: WatchedLedger) -> None:
        looks = ledger.running_looks()
        metrics().record_jobs(len(looks), self._progress.oldest_progress_s(looks, time.time()))

    def _restart_stalled(self, ledger: WatchedLedger) -> None:
        for job_id, step in ledger.stalled_jobs(STALLED_AFTER_S):
            logger.warning("planner restarted", extra={"job_id": job_id})
            self._publisher.publish_plan_step(job_id, step + 1, uuid.uuid4().hex)

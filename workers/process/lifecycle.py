"""The life of a worker's processes: warm-up of each child, readiness and heartbeat files.

Files in the worker's folder, for probes that cost nothing:

    ready        every child has loaded its model and opened its connections
    heartbeat    touched every few seconds while the main process's event loop turns
    serving      it takes work; gone when it drains, for a child that takes none
    stopped      why the worker stopped itself
"""

import logging
import os
import time
from pathlib import Path

from celery import Celery, Task, bootsteps, current_app
from celery.signals import (
    setup_logging,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from pipeline.errors import PictorError, TransientError
from pipeline.garbage import leave_what_is_there, look_seldom
from pipeline.logs import configure_logging
from pipeline.settings import Settings
from pipeline.tracing import stop_tracing
from workers.broker.celery_config import ROUTES
from workers.broker.queue_wait import waited_s
from workers.broker.transport import use_for_amqp
from workers.identity import told_identity
from workers.metrics.metrics import metrics
from workers.process.context import Context, stop_worker, warm_up
from workers.process.signs import drains, sign_drains

logger = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
WARM_UP_PATIENCE_S, WARM_UP_PAUSE_S = 300.0, 2.0  # below worker_proc_alive_timeout, which kills
DRAINS_S = 0.2  # how often a child that takes no task looks whether its worker drains


@worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
def warm_child(**_: object) -> None:
    """Runs in each child before it takes work. A child that cannot warm up ends the worker, loudly."""
    look_seldom()
    use_for_amqp()  # the application was made in the main process and arrived here pickled
    identity = told_identity()
    folder = identity.folder
    try:
        context = _warm_up_patiently(current_app._get_current_object())
        metrics().record_warm(context.deps.embedder.spec, context.deps.embedder.device)
    except PictorError as err:
        stop_worker(err)
        _take_no_task(folder)
    except Exception:  # the top of a process; Celery would log it and give this child work all the same
        logger.exception("warm-up died")
        stop_worker(PictorError("warm-up stopped by an internal error; see the log"))
        _take_no_task(folder)
    leave_what_is_there()
    (folder / f"warm-{os.getpid()}").touch()
    if len(list(folder.glob("warm-*"))) >= identity.children:
        (folder / "ready").touch()


@worker_process_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
def send_last_spans(**_: object) -> None:
    """Runs in each child: it ends without the handlers of Python's own end."""
    stop_tracing()


@task_prerun.connect(weak=False)  # type: ignore[untyped-decorator]
def record_wait(task: Task, **_: object) -> None:
    """Runs in a child, before each task."""
    waited = waited_s(task.request.headers)
    if waited is not None and task.name in ROUTES:
        metrics().record_queue_wait(ROUTES[task.name], waited)


def _warm_up_patiently(app: Celery) -> Context:
    """A child that takes the place of a dead one may do so while the database restarts."""
    deadline = time.monotonic() + WARM_UP_PATIENCE_S
    while True:
        try:
            return warm_up(app)
        except TransientError as err:
            if time.monotonic() > deadline:
                raise
            logger.warning("waiting to warm up", extra={"error": str(err)})
            time.sleep(WARM_UP_PAUSE_S)


def _take_no_task(folder: Path) -> None:
    """End when the worker does. Another child would be started in the place of one that ends before."""
    main = os.getppid()
    while os.getppid() == main and not drains(folder):
        time.sleep(DRAINS_S)
    os._exit(0)


@worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
def mark_stopping(**_: object) -> None:
    """Runs in the main process, which waits for its children. One that takes no task hears nothing else."""
    sign_drains(told_identity().folder)


@setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
def keep_our_logging(**_: object) -> None:
    """With a receiver connected, Celery leaves logging alone; children are fresh interpreters without it."""
    configure_logging(Settings.from_env().log_level)


class Heartbeat(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery is untyped
    """Touches a file from the main process's event loop: a hung loop lets it grow old."""

    requires = ("celery.worker.components:Timer",)

    def start(self, worker: "object") -> None:
        path = told_identity().folder / "heartbeat"
        path.touch()
        worker.timer.call_repeatedly(HEARTBEAT_S, path.touch, priority=10)  # type: ignore[attr-defined]

"""What one worker process holds between tasks: its connections, its model, its publisher."""

import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from celery import Celery

from pipeline import wiring
from pipeline.errors import FatalError, PictorError
from pipeline.ports import Deps, Limits
from pipeline.settings import Settings
from workers.model import told_spec
from workers.publish import Publisher
from workers.queues import EMBED, SEARCH

logger = logging.getLogger(__name__)

# How the main process tells its children, fresh interpreters all of them, what they are for. Not settings.
QUEUES_VARIABLE = "PICTOR_WORKER_QUEUES"
CHILDREN_VARIABLE = "PICTOR_WORKER_CHILDREN"
FOLDER_VARIABLE = "PICTOR_WORKER_FOLDER"


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    settings: Settings
    deps: Deps
    limits: Limits
    publisher: Publisher


_context: Context | None = None  # one per process; Celery calls tasks as plain functions


def current() -> Context:
    """The context that warm-up made.

    Raises:
        FatalError: warm-up has not happened; the process must not take work.
    """
    if _context is None:
        raise FatalError("this process was not warmed up")
    return _context


def warm_up(app: Celery) -> Context:
    """Open every connection and load the model, before the first task is taken."""
    global _context
    settings = Settings.from_env()
    queues = os.environ[QUEUES_VARIABLE].split(",")
    started = time.perf_counter()
    opened = open_context(settings, app)
    if EMBED in queues or SEARCH in queues:
        warm_model(opened.deps)
    _context = opened
    logger.info("warm", extra={"queues": queues, "seconds": round(time.perf_counter() - started, 2)})
    return opened


def warm_model(deps: Deps) -> None:
    """Load the weights and run them once, so that the first batch is as fast as the next."""
    side = deps.embedder.spec.preprocessing.crop
    deps.embedder.embed_images(np.zeros((1, 3, side, side), dtype=np.uint8))


def open_context(settings: Settings, app: Celery) -> Context:
    return Context(
        settings=settings,
        deps=open_deps(settings),
        limits=wiring.limits_of(settings, sharers=_children()),
        publisher=Publisher(app, preparation=settings.preparation),
    )


def open_deps(settings: Settings) -> Deps:
    index = wiring.open_index(settings)
    embedder = wiring.lazy_model(
        settings.model or wiring.DEFAULT_MODEL,
        settings,
        existing=index.get_collection(settings.collection),
        spec=told_spec(),
        batches=1 if EMBED in os.environ.get(QUEUES_VARIABLE, "").split(",") else 0,
        processes=_children(),
    )
    return Deps(
        store=wiring.open_s3(settings),  # no folders: a message must not read files of this machine
        index=index,
        embedder=embedder,
        ledger=wiring.open_ledger(settings),
        staging_bucket=settings.staging_bucket,
    )


def _children() -> int:
    """How many processes this worker has; 1 in a process that no worker started."""
    return int(os.environ.get(CHILDREN_VARIABLE, "1"))


def stop_worker(error: PictorError, folder: Path) -> None:
    """End this worker: say why where an operator looks, and ask the main process to drain."""
    logger.error("worker stops", extra={"error": str(error)})
    (folder / "stopped").write_text(f"{error}\n", encoding="utf-8")
    os.kill(os.getppid(), signal.SIGTERM)

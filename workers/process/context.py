"""The connections, the model and the publisher that one worker process keeps between tasks."""

import logging
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass

from celery import Celery

from pipeline import wiring, wiring_audit
from pipeline.capacity import Load
from pipeline.errors import FatalError, PictorError
from pipeline.evaluation.scale import calibration_in
from pipeline.ports import Deps, ImageLimits, Ledger, PolicyBook, VectorIndex
from pipeline.ports.deps import warm_models
from pipeline.ports.embedder import warm_texts
from pipeline.ports.model_binding import DEFAULT_MODEL
from pipeline.service.accountability import Accountability
from pipeline.settings import Settings
from pipeline.tracing import start_tracing
from pipeline.types import WORKERS, ModelSpec
from workers.broker.publish import Publisher
from workers.broker.queue_names import EMBED, PREPARE, SEARCH
from workers.identity import Identity, told_identity
from workers.process.signs import sign_stopped

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    settings: Settings
    deps: Deps
    answers_to: Accountability
    limits: ImageLimits
    publisher: Publisher


_context: Context | None = None  # one per process; Celery calls tasks as plain functions


def current() -> Context:
    """The context that warm-up made.

    Raises:
        FatalError: warm-up has not happened. The process must not take work.
    """
    if _context is None:
        raise FatalError("this process was not warmed up")
    return _context


def make_current(context: Context | None) -> None:
    """Let the tasks of this process work with it."""
    global _context
    _context = context


def warm_up(app: Celery) -> Context:
    """Open every connection and load the model, before the first task is taken."""
    identity = told_identity()
    settings = Settings.from_env().model_copy(update={"device": identity.device})
    started = time.perf_counter()
    start_tracing(settings, service=f"pictor-worker-{'-'.join(identity.queues)}")
    opened = open_context(settings, identity, app)
    if EMBED in identity.queues or SEARCH in identity.queues:
        warm_models(opened.deps)
    for texts in (opened.deps.texts, *opened.deps.texts_beside.values()):
        if texts is not None:
            warm_texts(texts)
    make_current(opened)
    seconds = round(time.perf_counter() - started, 2)
    logger.info("warm", extra={"queues": identity.queues, "seconds": seconds})
    return opened


def open_context(settings: Settings, identity: Identity, app: Celery) -> Context:
    ledger = wiring.open_ledger(settings)
    deps = open_deps(settings, identity, ledger, ledger.policies)
    return Context(
        settings=settings,
        deps=deps,
        answers_to=_open_accountability(settings, ledger.policies, deps.index),
        limits=wiring.limits_of(settings),
        publisher=Publisher(app, preparation=settings.preparation),
    )


def _open_accountability(settings: Settings, policies: PolicyBook, index: VectorIndex) -> Accountability:
    log = ExitStack().enter_context(
        wiring_audit.open_recording(settings)
    )  # open as long as the process, as all is
    return Accountability(
        log=log, policies=policies, index=index, calibration=calibration_in(settings.calibration)
    )


def open_deps(
    settings: Settings, identity: Identity, ledger: Ledger, policies: PolicyBook | None = None
) -> Deps:
    index = wiring.open_index(settings)
    existing = index.get_collection(settings.collection)
    batches = 1 if EMBED in identity.queues else 0
    embedder = wiring.lazy_model(
        settings.model or DEFAULT_MODEL,
        settings,
        existing=existing,
        spec=identity.model,
        batches=batches,
        processes=identity.children,
    )
    return Deps(
        store=wiring.open_s3(settings),  # no folders: a message must not read files of this machine
        index=index,
        embedder=embedder,
        ledger=ledger,
        staging_bucket=settings.staging_bucket if settings.preparation == "staged" else "",
        driver=WORKERS,
        concurrency=wiring.concurrency_of(settings, load_of(identity, embedder.spec)),
        finder=wiring.finder_of(embedder.spec, settings),
        texts=wiring.texts_of(embedder.spec, settings) if SEARCH in identity.queues else None,
        beside=wiring.models_beside(
            embedder.spec, settings, existing=existing, batches=batches, processes=identity.children
        ),
        texts_beside=wiring.texts_beside(embedder.spec, settings) if SEARCH in identity.queues else {},
        policies=policies,
    )


def load_of(identity: Identity, spec: ModelSpec) -> Load:
    """What the children of a worker hold, by their queues. One that only prepares has a detector alone."""
    has_model = EMBED in identity.queues or SEARCH in identity.queues
    return Load(
        processes=identity.children,
        batches=identity.children,
        is_trained=has_model and wiring.is_trained(spec),
        models_beside=wiring.trained_beside(spec) if has_model else 0,
        finds_views=spec.has_views and (has_model or PREPARE in identity.queues),
    )


def stop_worker(error: PictorError) -> None:
    """End the worker of this child: ask the main process to drain, and say why where an operator looks."""
    identity = told_identity()
    # First: a disk that is full or hangs must not keep a worker going that cannot do its work. The main
    # process waits for this child, so it reads the reason after it is written.
    if os.getppid() == identity.main_pid:  # else it has ended, and its number may be anybody's
        os.kill(identity.main_pid, signal.SIGTERM)
    logger.error("worker stops", extra={"error": str(error)})
    sign_stopped(identity.folder, error)

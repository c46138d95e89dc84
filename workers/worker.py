"""`pictor worker`: one Celery worker with the right pool, checked before it starts, one per name."""

import fcntl
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline import wiring
from pipeline.errors import ConflictError, FatalError, TransientError
from pipeline.logs import configure_logging
from pipeline.ports.lazy import Lazy
from pipeline.ports.model_binding import check_binding
from pipeline.settings import Settings
from pipeline.types import ModelSpec
from workers.broker.celery_app import check_environment, make_app
from workers.broker.celery_config import BLOCKED_PATIENCE_S
from workers.broker.connection import broker_connection
from workers.broker.queue_names import EMBED, PLAN, PREPARE, SEARCH, consumed_queues
from workers.broker.queues import former_queues
from workers.identity import Identity, tell_children
from workers.metrics.exporter import exported_metrics
from workers.planning.watch import StalledWatch
from workers.process.lifecycle import Heartbeat
from workers.process.model_probe import read_spec
from workers.process.signs import make_signs, why_stopped

logger = logging.getLogger(__name__)

WAIT_FOR_SERVICES_S = 300.0  # a cluster that starts as a whole: services come up after their workers


def run_worker(settings: Settings, *, roles: Sequence[str], children: int, name: str) -> None:
    """Run until SIGTERM, then drain.

    Raises:
        ConflictError: a worker of this name runs here already.
        ModelMismatchError: the collection is of another model.
        FatalError: it stopped itself. The message says why.
    """
    folder = settings.run_folder / name
    with _only_one(folder, name), exported_metrics(settings, folder, queues=roles, children=children):
        configure_logging(settings.log_level)
        if searches_wait(roles):
            logger.warning(
                "searches wait for batches in this worker; start another with --queues search alone",
                extra={"queues": ",".join(roles)},
            )
        identity = Identity(
            folder=folder,
            main_pid=os.getpid(),
            queues=tuple(roles),
            children=children,
            device=settings.device,
            model=_wait_for_services(settings),
        )
        tell_children(identity)
        queues = _queues_of(identity, settings)
        app = make_app(settings, blocked_patience_s=BLOCKED_PATIENCE_S, consumed=queues)
        check_environment(app)
        app.set_current()
        app.set_default()
        app.steps["worker"].add(Heartbeat)
        if PLAN in roles:
            StalledWatch(settings, app).start()
        worker = app.Worker(
            hostname=f"{name}@{socket.gethostname()}",
            pool="prefork",  # a crash or a hung kernel costs one child; threads would share the blame
            concurrency=children,
            queues=queues,
            task_events=True,
            quiet=True,  # no banner: it would be one log line of twenty
            without_gossip=True,  # a second per reconnect, and nobody listens
            without_mingle=True,
        )
        worker.start()
        _raise_if_it_stopped_itself(folder)
        if worker.exitcode:
            raise FatalError("worker ended with an error that it could not recover from; see its log")


def searches_wait(roles: Sequence[str]) -> bool:
    """Whether a child that works on a batch, for seconds, is one that should answer a search."""
    return SEARCH in roles and bool({EMBED, PREPARE} & set(roles))


def check_collection(settings: Settings, spec: ModelSpec) -> None:
    """Refuse to start on a collection that has no generation of this model. Waits for nothing.

    Raises:
        ModelMismatchError: names both models.
    """
    with wiring.open_index(settings) as index:
        info = index.get_collection(settings.collection)
        if info is not None and index.get_generation(replace(info.ref, fingerprint=spec.fingerprint)) is None:
            check_binding(info, spec)


def _wait_for_services(settings: Settings) -> ModelSpec:
    """Returns the model's spec. Without this check, a fault would show in the hundredth failed task."""
    spec = Lazy(lambda: read_spec(settings))  # once, however long a service is away
    deadline = time.monotonic() + WAIT_FOR_SERVICES_S
    pause_s = 1.0
    while True:
        try:
            with broker_connection(settings):
                pass  # a wrong password would be tried for ever
            wiring.open_s3(settings).check()
            with wiring.open_ledger(settings):
                check_collection(settings, spec())
            return spec()
        except TransientError as err:
            if time.monotonic() > deadline:
                raise
            logger.warning("waiting for services", extra={"error": str(err)})
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 10.0)


def _queues_of(identity: Identity, settings: Settings) -> list[str]:
    with broker_connection(settings) as connection:
        there = former_queues(connection, identity.queues)
    return consumed_queues(identity.queues, identity.model.fingerprint, there=there)


@contextmanager
def _only_one(folder: Path, name: str) -> Iterator[None]:
    """Two workers of one name would share a control queue and each other's files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise ConflictError(
                f"a worker named {name} runs here already; give another --name or another PICTOR_RUN_DIR"
            ) from err
        shutil.rmtree(folder)  # a former worker's "ready" says nothing about this one
        folder.mkdir()
        make_signs(folder)
        yield


def _raise_if_it_stopped_itself(folder: Path) -> None:
    if reason := why_stopped(folder):
        raise FatalError(f"worker stopped: {reason}")

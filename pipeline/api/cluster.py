"""The ports of a service in front of a cluster. Jobs are the workers', and any number of processes like this
one stand side by side.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

from pipeline import wiring, wiring_audit
from pipeline.api.assembly import make_backend
from pipeline.api.backend import Backend
from pipeline.api.readiness import Part
from pipeline.api.wake import PlannerWaker
from pipeline.errors import ArgumentError, ConfigError, TransientError
from pipeline.location import Location
from pipeline.settings import Settings
from pipeline.types import WORKERS

logger = logging.getLogger(__name__)

WAIT_FOR_SERVICES_S = 300.0  # as long as workers do: a cluster that starts as a whole
PAUSE_S = 2.0

Opened = TypeVar("Opened")


@contextmanager
def open_cluster(settings: Settings, allowed: list[Location]) -> Iterator[Backend]:
    """Open every port of a service whose jobs are the workers', and close them again.

    Raises:
        ConfigError: the ledger or the index is this machine's alone, or a setting cannot work.
        TransientError: a service is away for minutes.
    """
    from workers.broker.celery_app import make_app
    from workers.broker.connection import check_broker
    from workers.broker.publish import Publisher

    _check_shared(settings, allowed)
    app = make_app(settings)
    with (
        _when_there(lambda: wiring.open_index(settings)) as index,
        _when_there(lambda: wiring.open_ledger(settings)) as ledger,
        _when_there(lambda: wiring_audit.open_recording(settings)) as log,
        ExitStack() as opened,
    ):
        waker = PlannerWaker(ledger, Publisher(app, preparation=settings.preparation))
        broker = Part(name="broker", look=lambda: check_broker(app), is_needed=False)
        try:
            yield make_backend(
                settings,
                allowed,
                opened,
                index=index,
                ledger=ledger,
                log=log,
                runner=waker,
                driver=WORKERS,
                more_parts=[broker],
            )
        finally:
            waker.close()
            app.close()


def _check_shared(settings: Settings, allowed: list[Location]) -> None:
    """Raises ConfigError: workers elsewhere could not see what this process writes."""
    if settings.ledger_target.startswith("sqlite"):
        raise ConfigError(
            "PICTOR_BROKER_URL is set, so the workers run the jobs of this service, and they cannot see a "
            "ledger in a file; set PICTOR_LEDGER_URL to their PostgreSQL, or unset PICTOR_BROKER_URL"
        )
    if urlsplit(settings.milvus_target).scheme == "":
        raise ConfigError(
            "PICTOR_BROKER_URL is set, so the workers run the jobs of this service, and they cannot see "
            "Milvus Lite; set PICTOR_MILVUS_URI to their Milvus, or unset PICTOR_BROKER_URL"
        )
    for folder in (place for place in allowed if place.bucket.startswith("/")):
        raise ArgumentError(f"--allow {folder.url}: workers elsewhere cannot read a folder")


def _when_there(open_port: Callable[[], Opened]) -> Opened:
    deadline = time.monotonic() + WAIT_FOR_SERVICES_S
    while True:
        try:
            return open_port()
        except TransientError as err:
            if time.monotonic() > deadline:
                raise
            logger.warning("waiting for services", extra={"error": str(err)})
            time.sleep(PAUSE_S)

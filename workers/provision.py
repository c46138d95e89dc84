"""`pictor init`: everything that must exist before the first task. Safe to run at every start of a system."""

import time
from collections.abc import Iterator

from pipeline import wiring
from pipeline.errors import TransientError
from pipeline.ports.model_binding import choose_model
from pipeline.service.create import check_policy
from pipeline.settings import Settings
from workers.broker.connection import broker_connection
from workers.broker.queue_names import PUBLIC_QUEUES, model_queues
from workers.broker.queues import declare_queues

PAUSE_S = 2.0  # between two tries while a service comes up


def initialise_when_there(
    settings: Settings, wait_s: float, *, new_generation: bool = False
) -> Iterator[str]:
    """`initialise`, begun again while a service is away: a system that starts as a whole starts in any order.

    Raises:
        TransientError: one is still away after wait_s.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            yield from initialise(settings, new_generation=new_generation)
            return
        except TransientError as err:
            if time.monotonic() > deadline:
                raise
            yield f"waiting: {err}"
            time.sleep(PAUSE_S)


def initialise(settings: Settings, *, new_generation: bool = False) -> Iterator[str]:
    """Do each step and yield a line about it.

    Args:
        new_generation: beside the live one, if that is of another model.
    """
    yield f"ledger: schema {wiring.migrate_ledger(settings)}"
    for whose, user in wiring.make_ledger_users(settings).items():
        yield f"ledger: user {user} of the {whose}"
    wiring.open_s3(settings).make_bucket(settings.staging_bucket)
    yield f"objects: bucket {settings.staging_bucket}"
    for role, user in wiring.make_store_users(settings).items():
        yield f"objects: user {user} of role {role}"
    spec = wiring.load_model_spec(choose_model(settings.model, None), settings)
    with wiring.open_ledger(settings) as ledger:
        check_policy(settings.collection, spec, ledger.policies)
    with wiring.open_index(settings) as index:
        make = index.open_generation if new_generation else index.create_collection
        info = make(settings.collection, spec)
    yield f"index: collection {info.name}, model {info.model_name} ({info.fingerprint[:8]})"
    for whose, user in wiring.make_index_users(settings).items():
        yield f"index: user {user} of the {whose}"
    with broker_connection(settings) as connection:
        declare_queues(connection, spec.fingerprint)
    yield f"broker: queues {', '.join((*PUBLIC_QUEUES, *model_queues(spec.fingerprint)))} and dead"

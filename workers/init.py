"""`pictor init`: everything that must exist before the first task. Safe to run at every start of a system."""

from collections.abc import Iterator

from pipeline import wiring
from pipeline.settings import Settings
from workers.broker import broker_connection
from workers.queues import WORK_QUEUES, declare_queues


def initialise(settings: Settings) -> Iterator[str]:
    """Do each step and yield what was done."""
    yield f"ledger: schema {wiring.migrate_ledger(settings)}"
    wiring.open_s3(settings).make_bucket(settings.staging_bucket)
    yield f"objects: bucket {settings.staging_bucket}"
    spec = wiring.load_model_spec(wiring.choose_model(settings.model, None), settings)
    with wiring.open_index(settings) as index:
        info = index.create_collection(settings.collection, spec)
    yield f"index: collection {info.name}, model {info.model_name} ({info.fingerprint[:8]})"
    with broker_connection(settings) as connection:
        declare_queues(connection)
    yield f"broker: queues {', '.join(WORK_QUEUES)} and dead"

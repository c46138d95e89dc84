"""Whether this process can do its work, or one message is to blame.

A process that cannot go on gives its message back and stops, so that another takes it. When the message is to
blame, that would stop all workers, one by one. So before a process stops over a message, it asks each service
for something of its own.
"""

import logging

from pipeline.errors import ImageError, PictorError, TargetError
from pipeline.ports import Deps
from pipeline.ports.embedder import warm_model
from workers.process.context import Context, current

logger = logging.getLogger(__name__)

NO_SUCH_KEY = "pictor-is-served"  # an answer that it is not there is an answer


def find_fault() -> PictorError | None:
    """The error that keeps this process from its work. None when every service and its model answer.

    A TransientError says that nobody can tell now.
    """
    try:
        _ask_everything(current())
    except PictorError as err:
        return err
    except Exception as err:  # a device or a library that is out of order raises whatever it likes
        logger.exception("not fit")
        return PictorError(f"this process is not fit for work: {type(err).__name__}")
    return None


def _ask_everything(context: Context) -> None:
    deps, settings = context.deps, context.settings
    deps.ledger.list_jobs(limit=1)
    deps.index.get_collection(settings.collection)
    _ask_the_store(deps, settings.staging_bucket)
    for embedder in (deps.embedder, *deps.beside.values()):
        if embedder.device:  # its weights are loaded
            warm_model(embedder)


def _ask_the_store(deps: Deps, bucket: str) -> None:
    try:
        deps.store.stat(bucket, NO_SUCH_KEY)
    except ImageError:
        return  # no such object, or not for us: the service has answered, and knows us
    except TargetError:
        if deps.staging_bucket:  # without its bucket, the staged way goes for no batch
            raise

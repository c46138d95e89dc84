"""Who sent a public task, and with which arguments."""

from collections.abc import Mapping, Sequence

from celery import Task

from pipeline.errors import MessageError
from pipeline.service.access import Caller, Permission
from pipeline.types import BROKER_ROLE
from workers.process.context import current

Arguments = Mapping[str, object]


def keywords_of(task: Task, args: Sequence[object], kwargs: Arguments) -> Arguments:
    if args:
        raise MessageError(f"{task.name}: {len(args)} positional arguments; only keyword arguments are read")
    return kwargs


def caller_of(task: Task) -> Caller:
    """Whoever may publish on the broker's virtual host. Operators have the ledger."""
    settings = current().settings
    return Caller(
        who="broker",
        roles=(BROKER_ROLE,),
        permissions=frozenset({Permission.READ, Permission.SEARCH, Permission.WRITE}),
        buckets=settings.bucket_globs,
        collections=settings.collection_globs,
        request_id=str(task.request.id),
    )

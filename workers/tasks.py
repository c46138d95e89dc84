"""The tasks. Thin: each finds its context, calls one function of the pipeline and settles the message."""

from celery import Task, shared_task

from pipeline.ingest.handle import handle_embed, handle_prepare
from workers import answering_tasks, public_tasks
from workers.delivery import run_message


# Each takes whatever was sent: arguments that Celery itself refuses make a dead letter without a reason.
@shared_task(name="pictor.embed_batch", bind=True)
def embed_batch(self: Task, /, *_: object, **__: object) -> None:
    run_message(self, handle_embed)


@shared_task(name="pictor.prepare_batch", bind=True)
def prepare_batch(self: Task, /, *_: object, **__: object) -> None:
    run_message(self, handle_prepare)


# Planners of the version before send this. The next version may forget it.
@shared_task(name="pictor.ingest_batch", bind=True)
def ingest_batch(self: Task, /, *_: object, **__: object) -> None:
    run_message(self, handle_prepare)


@shared_task(name="pictor.plan_job", bind=True)
def plan_job(self: Task, /, *args: object, **kwargs: object) -> None:
    public_tasks.plan(self, args, kwargs)


@shared_task(name="pictor.ingest", bind=True)
def ingest(self: Task, /, *args: object, **kwargs: object) -> None:
    public_tasks.ingest(self, args, kwargs)


@shared_task(name="pictor.delete", bind=True)
def delete(self: Task, /, *args: object, **kwargs: object) -> None:
    public_tasks.delete(self, args, kwargs)


# The two that answer their caller; a lost answer is asked for again, so they are not worth a redelivery.
@shared_task(name="pictor.search", bind=True, ignore_result=False, acks_late=False)
def search(self: Task, /, *args: object, **kwargs: object) -> dict[str, object]:
    return answering_tasks.search(self, args, kwargs)


@shared_task(name="pictor.job", bind=True, ignore_result=False, acks_late=False)
def job(self: Task, /, *args: object, **kwargs: object) -> dict[str, object]:
    return answering_tasks.job(self, args, kwargs)

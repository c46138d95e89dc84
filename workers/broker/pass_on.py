"""Passing a question on to the workers that can answer it: those of another model."""

from celery import Task
from kombu import Connection

from pipeline.errors import TransientError
from workers.broker.connection import broker_errors
from workers.broker.headers import own_headers
from workers.broker.queue_names import SEARCH, model_queue
from workers.broker.queues import count_consumers, declared_queue

PASSED_ON_HEADER = "pictor-passed-on"  # at most once: two workers that disagree must not play ball

_TRIES = 2  # somebody waits


def was_passed_on(task: Task) -> bool:
    return bool((task.request.headers or {}).get(PASSED_ON_HEADER))


def pass_on(task: Task, fingerprint: str) -> None:
    """Send the question at hand to a search worker of this model, who answers its caller.

    Args:
        task: one whose caller waits for its answer.

    Raises:
        TransientError: no worker of this model takes questions now, or the broker did not take it. The
            caller should be told so: it would wait in vain.
    """
    queue, request = model_queue(SEARCH, fingerprint), task.request
    with (
        broker_errors(f"the broker did not take {task.name} for {queue}"),
        task.app.producer_or_acquire() as producer,
    ):
        connection: Connection = producer.connection
        connection.ensure_connection(max_retries=_TRIES)
        count = connection.ensure(connection, count_consumers, max_retries=_TRIES)  # it may have gone stale
        if not count(connection, queue):
            raise TransientError(
                f"this collection is of model {fingerprint[:8]}, and no search worker of that model runs"
            )
        task.app.send_task(
            task.name,
            kwargs=request.kwargs,
            queue=declared_queue(queue),
            task_id=request.id,
            reply_to=request.reply_to,
            correlation_id=request.correlation_id,
            expires=request.expires,
            headers=own_headers(request.headers) | {PASSED_ON_HEADER: True},
            ignore_result=False,
            producer=producer,
        )

"""Check a message in a worker's main process, before it becomes a task.

Celery trusts the messages on its queues. A body that it cannot decode is acknowledged and so gone. One of an
unknown shape ends the worker, or leaves it waiting for ever, and then the next worker. Anybody who may
publish could do that by mistake. Here such a message becomes a dead letter, and the worker goes on.
"""

import json
import logging
from collections.abc import Callable, Mapping, MutableMapping

from celery.app.task import Context
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu import Message

from workers.broker.celery_config import ROUTES
from workers.broker.queue_names import queue_of, role_of

logger = logging.getLogger(__name__)

# Celery makes every header an attribute of its request. One named `is_eager` would have a retry acknowledged
# and never sent, one named `headers` would break it. A sender may set the headers below, and those of names
# that Celery does not know. All others are dropped. One is `eta`: a message that arrives is due, since the
# broker's own queues keep delays, and a wait would block this worker. Another is `timelimit`: ours would give
# way to it.
_SENDERS = frozenset(
    "task id lang retries expires root_id parent_id group group_index shadow argsrepr kwargsrepr origin "
    "ignore_result".split()
)
_NOT_THE_SENDERS = (vars(Context).keys() | {"eta"}) - _SENDERS


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery is untyped
    """Named in Celery's configuration as `worker_consumer`."""

    def create_task_handler(self, *args: object, **kwargs: object) -> Callable[[Message], None]:
        receive = super().create_task_handler(*args, **kwargs)

        def receive_tasks_only(message: Message) -> None:
            error = message_error(message.headers, message.content_type, message.body) or task_error(
                message.headers["task"], (message.delivery_info or {}).get("routing_key")
            )
            if error:
                self._refuse(message, error)
                return
            drop_headers(message.headers)
            receive(message)

        return receive_tasks_only

    def on_decode_error(self, message: Message, _error: Exception) -> None:
        self._refuse(message, "its body cannot be decoded")

    def _refuse(self, message: Message, error: str) -> None:
        where = (message.delivery_info or {}).get("routing_key", "?")
        logger.error("message refused", extra={"queue": where, "bytes": len(message.body), "error": error})
        message.reject_log_error(logger, self.connection_errors)  # the queue dead-letters rejected messages


def task_error(task: str, routing_key: object) -> str:
    """Why a task does not belong on the queue that its message came by, or "".

    Else who may only submit could have a plan worker do any task that Pictor has.
    """
    queue = queue_of(str(routing_key))
    if task in ROUTES and (not queue or ROUTES[task] != role_of(queue)):
        return f"{task} does not belong on queue {queue or '?'}"
    return ""


def drop_headers(headers: MutableMapping[str, object]) -> None:
    """Leave those that a sender may set."""
    for name in headers.keys() & _NOT_THE_SENDERS:
        del headers[name]
    if headers.get("retries") is None:  # an attribute of that value would hide Celery's default of 0
        headers.pop("retries", None)


def _is_count(value: object) -> bool:
    """Or None, which other clients than Celery's send."""
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31)


def message_error(headers: object, content_type: str | None, body: bytes | str) -> str:
    """Why this is no task message of Celery's protocol 2 for one of our tasks, or "" when it is one."""
    match headers:
        case Mapping() if isinstance(headers.get("task"), str) and isinstance(headers.get("id"), str):
            pass
        case _:
            return "it has no headers `task` and `id`"
    # Celery brings tasks of its own, which run others, any number of times, with the rights of a worker.
    if headers["task"] not in ROUTES:
        return f"its task {headers['task']!r:.60} is none of Pictor's"
    if not _is_count(headers.get("retries")) or not isinstance(headers.get("expires") or "", str):
        return "its header `retries` is no number, or `expires` no time"
    if content_type != "application/json":
        return f"its content type is {content_type!r:.60}, application/json is expected"
    try:
        parts = json.loads(body)
    except (ValueError, RecursionError):
        return "its body is not JSON"
    match parts:
        case [list(), dict(), options] if options is None or isinstance(options, dict):
            # A worker would publish these, whoever may not.
            return "it names tasks to run after it, and none are run" if any((options or {}).values()) else ""
        case _:
            return "its body is not [arguments, keyword arguments, options]"

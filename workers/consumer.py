"""What a worker's main process does with a message before it becomes a task.

Celery trusts what it finds on its queues: a body that it cannot decode is acknowledged and so gone, and one
that is not what it expects ends the worker, or leaves it waiting for ever, and then the next one. Anybody who
may publish could do that by mistake. Here such a message becomes a dead letter, and the worker goes on.
"""

import json
import logging
from collections.abc import Callable, Mapping

from celery.worker.consumer import Consumer as CeleryConsumer
from kombu import Message

logger = logging.getLogger(__name__)

# What arrives is due: delays are kept by the broker's own queues. A sender's time to wait would block this
# worker, which holds one message at a time, and a sender's time limits would take the place of ours.
_NOT_THE_SENDERS = ("eta", "timelimit")


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery is untyped
    """Named in Celery's configuration as `worker_consumer`."""

    def create_task_handler(self, *args: object, **kwargs: object) -> Callable[[Message], None]:
        receive = super().create_task_handler(*args, **kwargs)

        def receive_tasks_only(message: Message) -> None:
            fault = fault_of(message.headers, message.content_type, message.body)
            if fault:
                self._refuse(message, fault)
                return
            for name in _NOT_THE_SENDERS:
                message.headers.pop(name, None)
            receive(message)

        return receive_tasks_only

    def on_decode_error(self, message: Message, _error: Exception) -> None:
        self._refuse(message, "its body cannot be decoded")

    def _refuse(self, message: Message, fault: str) -> None:
        where = (message.delivery_info or {}).get("routing_key", "?")
        logger.error("message refused", extra={"queue": where, "bytes": len(message.body), "fault": fault})
        message.reject_log_error(logger, self.connection_errors)  # the queue dead-letters what is rejected


def fault_of(headers: object, content_type: str | None, body: bytes | str) -> str:
    """Why this is no task message of Celery's protocol 2, or "" when it is one."""
    match headers:
        case Mapping() if isinstance(headers.get("task"), str) and isinstance(headers.get("id"), str):
            pass
        case _:
            return "it has no headers `task` and `id`"
    if not isinstance(headers.get("retries") or 0, int) or not isinstance(headers.get("expires") or "", str):
        return "its header `retries` is no number, or `expires` no time"
    if content_type != "application/json":
        return f"its content type is {content_type!r:.60}, application/json is expected"
    try:
        parts = json.loads(body)
    except (ValueError, RecursionError):
        return "its body is not JSON"
    match parts:
        case [list(), dict(), dict() | None]:
            return ""
        case _:
            return "its body is not [arguments, keyword arguments, options]"

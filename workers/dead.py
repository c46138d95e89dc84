"""Dead letters: what could not be understood, or killed its workers to the last, kept for a person to see."""

import reprlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from celery import Task
from kombu import Connection, Message, Queue

from workers.broker import broker_errors
from workers.queue_wait import due_stamp
from workers.queues import DEAD, DEAD_EXCHANGE, dead_queue

REASON_HEADER, QUEUE_HEADER = "x-pictor-reason", "x-pictor-queue"
MAX_LISTED = 10_000  # a look at the queue holds its messages unacknowledged for a moment


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """`reason` is ours, or the broker's own word: rejected, delivery_limit, expired."""

    task: str
    task_id: str
    queue: str
    reason: str
    size_bytes: int
    shown: str  # the arguments in short, or how a body begins that is no task's


def set_aside(task: Task, reason: str) -> None:
    """Put a task into the dead-letter queue with a reason a person can read, and let Celery acknowledge it.

    Raises:
        TransientError: the broker did not take it; the message must not be acknowledged.
    """
    request = task.request
    keywords = request.kwargs or {}
    with broker_errors("the broker did not take a dead letter"), task.app.producer_or_acquire() as producer:
        producer.publish(
            [list(request.args or ()), keywords, {}],
            exchange=DEAD_EXCHANGE,
            routing_key=DEAD,
            serializer="json",
            headers={
                "task": task.name,
                "id": request.id,
                "lang": "py",
                "argsrepr": "()",
                # Absent when a foreign program sent the task.
                "kwargsrepr": getattr(request, "kwargsrepr", None) or reprlib.repr(keywords),
                REASON_HEADER: reason,
                QUEUE_HEADER: (request.delivery_info or {}).get("routing_key", ""),
            },
            retry=True,
        )


def list_dead(connection: Connection, limit: int = MAX_LISTED) -> list[DeadLetter]:
    """Look at the queue without taking anything from it."""
    with _translated(), connection.channel() as channel:
        queue = dead_queue().bind(channel)
        messages = list(_take(queue, limit))
        letters = [_letter(message) for message in messages]
        for message in messages:
            message.requeue()
    return letters


def replay_dead(connection: Connection, task_id: str | None = None) -> int:
    """Publish dead letters again to the queue they came from. Returns how many.

    Each is acknowledged only after the broker has confirmed its copy: a crash repeats one, and loses none.
    """
    replayed = 0
    with _translated(), connection.channel() as channel, connection.Producer(channel) as producer:
        kept = []
        queue = dead_queue().bind(channel)
        # As many as there are now: what comes back at once would otherwise be sent round and round.
        for message in _take(queue, queue.queue_declare(passive=True).message_count):
            letter = _letter(message)
            if not letter.queue or (task_id is not None and letter.task_id != task_id):
                kept.append(message)
                continue
            headers = {name: value for name, value in message.headers.items() if not name.startswith("x-")}
            producer.publish(
                message.body,
                exchange=letter.queue,
                routing_key=letter.queue,
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                headers=headers | due_stamp(),
                correlation_id=letter.task_id,
                delivery_mode=2,
            )
            message.ack()
            replayed += 1
        for message in kept:
            message.requeue()
    return replayed


def purge_dead(connection: Connection) -> int:
    """Delete every dead letter. Returns how many there were."""
    with _translated(), connection.channel() as channel:
        return int(dead_queue().bind(channel).purge() or 0)


def _translated() -> AbstractContextManager[None]:
    return broker_errors(
        "the broker went away while dead letters were read; none is lost",
        unconfirmed="the broker did not confirm a dead letter that was sent again: it is kept, and may be on "
        "its queue, too; is the broker's disk full?",
    )


def _take(queue: Queue, limit: int) -> Iterator[Message]:
    for _ in range(limit):
        message = queue.get(no_ack=False)
        if message is None:
            return
        yield message


def _letter(message: Message) -> DeadLetter:
    headers = message.headers or {}
    death = (headers.get("x-death") or [{}])[0]
    return DeadLetter(
        task=str(headers.get("task", "?")),
        task_id=str(headers.get("id", "")),
        queue=str(headers.get(QUEUE_HEADER) or death.get("queue") or ""),
        reason=str(headers.get(REASON_HEADER) or death.get("reason") or "unknown"),
        size_bytes=len(message.body or ""),
        shown=str(headers.get("kwargsrepr") or _start_of(message.body))[:200],
    )


def _start_of(body: bytes | str | None) -> str:
    return ascii((body or "")[:200])

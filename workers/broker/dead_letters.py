"""Dead letters: messages that could not be understood, or ended every worker, kept for a person."""

import logging
import reprlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from amqp.exceptions import PreconditionFailed
from celery import Task
from celery.exceptions import Reject
from kombu import Connection, Message, Producer, Queue

from workers.broker.connection import broker_errors
from workers.broker.headers import own_headers
from workers.broker.meant_at import kept_meant_at
from workers.broker.publish import MAX_SHOWN_CHARS
from workers.broker.queue_names import DEAD, is_work_queue, queue_of
from workers.broker.queue_wait import due_stamp
from workers.broker.queues import DEAD_EXCHANGE, dead_queue, work_queue

REASON_HEADER, QUEUE_HEADER, DIED_HEADER = "x-pictor-reason", "x-pictor-queue", "x-pictor-died-at"
_YEAR_9999_S = 253_370_764_800  # since 1970: the last year that a datetime can be of
MAX_LISTED = 10_000  # a look at the queue, or a replay, holds its messages unacknowledged for a moment

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """`reason` is ours, or the broker's own word: rejected, delivery_limit, expired."""

    task: str
    task_id: str
    queue: str
    reason: str
    size_bytes: int
    shown: str  # the arguments in short, or how a body begins that is no task's
    died_at: datetime | None = field(default=None, compare=False)  # UTC; the build before did not note it


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """`left` is how many were not replayed: other ones, those of no known queue, those beyond the bound."""

    replayed: int
    left: int


def set_aside(task: Task, reason: str) -> None:
    """Put a task into the dead-letter queue with a reason a person can read, and let Celery acknowledge it.

    Raises:
        TransientError: the broker did not take it. The message must not be acknowledged.
        Reject: the letter is too long for the broker, which then makes one of the message itself.
    """
    request = task.request
    keywords = request.kwargs or {}
    shown = getattr(request, "kwargsrepr", None)  # absent when a foreign program sent the task
    with broker_errors("the broker did not take a dead letter"), task.app.producer_or_acquire() as producer:
        try:
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
                    "kwargsrepr": str(shown or reprlib.repr(keywords))[:MAX_SHOWN_CHARS],
                    REASON_HEADER: reason[:MAX_SHOWN_CHARS],
                    QUEUE_HEADER: queue_of(str((request.delivery_info or {}).get("routing_key"))),
                    **kept_meant_at(getattr(request, "headers", None)),
                    DIED_HEADER: int(time.time()),
                },
                retry=True,
            )
        except PreconditionFailed as err:
            # Our JSON escapes all but ASCII, so a letter can be three times as long as its message.
            logger.error("dead letter without its reason", extra={"task": task.name, "reason": reason})
            raise Reject(reason, requeue=False) from err


def list_dead(connection: Connection, limit: int = MAX_LISTED) -> list[DeadLetter]:
    """Look at the beginning of the queue without taking anything from it. No body is held in memory."""
    letters, tags = [], []
    with _translated(), connection.channel() as channel:
        for message in _take(dead_queue().bind(channel), limit):
            letters.append(_letter(message))
            tags.append(message.delivery_tag)
        for tag in tags:
            channel.basic_reject(tag, requeue=True)
    return letters


def count_dead(connection: Connection) -> int:
    """How many there are, without those that somebody looks at right now."""
    with _translated(), connection.channel() as channel:
        return int(dead_queue().bind(channel).queue_declare(passive=True).message_count)


def replay_dead(connection: Connection, task_id: str | None = None, *, limit: int = MAX_LISTED) -> Replay:
    """Publish dead letters again to the queue they came from.

    Each is acknowledged only after the broker has confirmed its copy: a crash repeats one, and loses none.

    Args:
        task_id: replay only this one. Default all.
        limit: how many are looked at.
    """
    replayed: set[tuple[str, int]] = set()
    others, came_back = [], []
    with _translated(), connection.channel() as channel, connection.Producer(channel) as producer:
        queue = dead_queue().bind(channel)
        # Until the queue is empty, since its count lags behind messages that were put back a moment ago.
        for message in _take(queue, limit):
            letter = _letter(message)
            mark = (letter.task_id, hash(message.body))
            if mark in replayed:  # it would be sent round and round
                came_back.append(message)
            elif not is_work_queue(letter.queue) or task_id not in (None, letter.task_id):
                others.append(message)
            else:
                _send_again(message, letter, producer)
                message.ack()
                replayed.add(mark)
        is_cut = len(replayed) + len(others) + len(came_back) == limit
        unseen = queue.queue_declare(passive=True).message_count if is_cut else 0
        for message in (*others, *came_back):
            message.requeue()
    return Replay(replayed=len(replayed), left=len(others) + unseen)


def purge_dead(connection: Connection) -> int:
    """Delete every dead letter. Returns how many there were."""
    with _translated(), connection.channel() as channel:
        return int(dead_queue().bind(channel).purge() or 0)


def purge_old(connection: Connection, older_than: timedelta) -> int:
    """Delete the dead letters that are so old. Returns how many there were.

    One whose age is not known stays: it is of the build before, or somebody made it.
    """
    purged = 0
    while old := _purge_page(connection, datetime.now(UTC) - older_than):
        purged += old
    return purged


def _purge_page(connection: Connection, before: datetime) -> int:
    purged, kept = 0, []
    with _translated(), connection.channel() as channel:
        for message in _take(dead_queue().bind(channel), MAX_LISTED):
            died_at = _letter(message).died_at
            if died_at is not None and died_at < before:
                channel.basic_ack(message.delivery_tag)
                purged += 1
            else:
                kept.append(message.delivery_tag)
        for tag in kept:
            channel.basic_reject(tag, requeue=True)
    return purged


def _send_again(message: Message, letter: DeadLetter, producer: Producer) -> None:
    producer.publish(
        message.body,
        exchange=letter.queue,
        routing_key=letter.queue,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=own_headers(message.headers) | due_stamp(),
        declare=[work_queue(letter.queue)],  # the last worker of a model may be gone, and its queue with it
        correlation_id=letter.task_id,
        delivery_mode=2,
    )


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
        queue=queue_of(str(headers.get(QUEUE_HEADER) or death.get("queue") or "")),
        reason=str(headers.get(REASON_HEADER) or death.get("reason") or "unknown"),
        size_bytes=_length_bytes(message.body or b""),
        shown=str(headers.get("kwargsrepr") or _start_of(message.body))[:200],
        died_at=_time_of(death.get("time") or headers.get(DIED_HEADER)),
    )


def _time_of(value: object) -> datetime | None:
    """The broker's own time, which its client gives without a zone, or ours. Anybody may write anything."""
    match value:
        case datetime():
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        case bool():
            return None
        case int() if 0 <= value < _YEAR_9999_S:
            return datetime.fromtimestamp(value, UTC)
        case _:
            return None


def _length_bytes(body: bytes | str) -> int:
    return len(body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"))


def _start_of(body: bytes | str | None) -> str:
    return ascii((body or "")[:200])

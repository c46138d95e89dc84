"""A broker in this process's memory, and a worker's child that takes one message from it.

Celery itself is the real one: tasks, requests, retries and messages are what it makes of them. Only the
queues are a dictionary, and what the child does after a task is written out in `deliver`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, ClassVar

from amqp.exceptions import NotFound
from celery import Celery, Task
from celery.app.task import Context as Request
from celery.exceptions import Ignore, Reject, Retry
from kombu.exceptions import OperationalError
from kombu.transport import memory

import workers.tasks  # noqa: F401 - which registers them
from tests.unit.fakes import SPEC
from workers.broker.celery_config import ROUTES, celery_config
from workers.broker.consumer import drop_headers, message_error
from workers.broker.dead_letters import DeadLetter, list_dead, replay_dead
from workers.broker.queue_names import (
    DEAD,
    EMBED,
    FORMER_QUEUES,
    PREPARE,
    PUBLIC_QUEUES,
    model_queue,
    model_queues,
)
from workers.broker.queues import declare_queues, work_queue

MODEL_QUEUES = {role: model_queue(role, SPEC.fingerprint) for role in (PREPARE, EMBED)}
_QUEUES = (*PUBLIC_QUEUES, *model_queues(SPEC.fingerprint), DEAD)


class Settled(Enum):
    """What became of a message in the child's hand."""

    ACKNOWLEDGED = auto()
    GIVEN_BACK = auto()
    REJECTED = auto()  # the queue makes it a dead letter, without a reason


@dataclass(frozen=True, kw_only=True)
class Message:
    """One on a queue."""

    queue: str
    headers: Mapping[str, Any]
    args: list[Any]
    kwargs: dict[str, Any]
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return str(self.headers["task"])

    def with_headers(self, headers: Mapping[str, object]) -> "Message":
        return replace(self, headers={**self.headers, **headers})


class _Channel(memory.Channel):  # type: ignore[misc]  # kombu is untyped
    refused: ClassVar[set[str]] = set()  # queues that take nothing
    consumers: ClassVar[dict[str, int]] = {}

    def queue_declare(self, queue: str, passive: bool = False, **options: object) -> object:
        if passive and not self._has_queue(queue):
            raise NotFound(f"NOT_FOUND - no queue '{queue}' in vhost '/'")
        declared = super().queue_declare(queue, passive=passive, **options)
        return declared._replace(consumer_count=self.consumers.get(queue, 0))

    def _put(self, queue: str, message: object, **options: object) -> None:
        if queue in self.refused:
            raise OperationalError("the broker is away")
        super()._put(queue, message, **options)


class Transport(memory.Transport):  # type: ignore[misc]
    """Named in the application's configuration."""

    Channel = _Channel


class MemoryBroker:
    """Queues of its own: they are emptied when it is made."""

    def __init__(self) -> None:
        self.app = Celery("pictor", set_as_current=False)
        self.app.conf.update(celery_config("", 0.0))
        self.app.conf.update(broker_url="", broker_transport=f"{__name__}:Transport", include=[])
        self.refused, self.consumers = _Channel.refused, _Channel.consumers
        self.refused.clear()
        self.consumers.clear()
        with self.app.connection_for_write() as connection:
            declare_queues(connection, SPEC.fingerprint)
            with connection.channel() as channel:
                for former in FORMER_QUEUES.values():
                    work_queue(former).bind(channel).declare()
                for queue in list(channel.state.queue_index):
                    channel.queue_purge(queue)

    def refuse(self, *queues: str) -> None:
        """Take nothing on these queues, or on any; what a broker does that is away or full."""
        self.refused.update(MODEL_QUEUES.get(queue, queue) for queue in queues or _QUEUES)

    def take_all_again(self) -> None:
        self.refused.clear()

    def messages(self, queue: str) -> list[Message]:
        """Take all messages from a queue, first first. The queue of `prepare` or `embed` is the model's."""
        return self.messages_on(MODEL_QUEUES.get(queue, queue))

    def messages_on(self, queue: str) -> list[Message]:
        """Take all messages from the queue of this very name."""
        with self.app.connection_for_read() as connection, connection.channel() as channel:
            return list(_drained(channel, queue))

    def dead(self) -> list[DeadLetter]:
        """Look at the dead letters; they stay."""
        with self.app.connection_for_read() as connection:
            return list_dead(connection)

    def replay(self) -> int:
        with self.app.connection_for_write() as connection:
            return replay_dead(connection).replayed

    def deliver(self, message: Message) -> tuple[Settled, Any]:
        """Do one message as a worker does. Returns its answer, too; what else a task raises is a fault."""
        headers = dict(message.headers)
        if message_error(headers, "application/json", json.dumps([message.args, message.kwargs, {}])):
            return Settled.REJECTED, None
        drop_headers(headers)
        task: Task = self.app.tasks[message.task]
        request = {
            **headers,
            "args": message.args,
            "kwargs": message.kwargs,
            "hostname": "embed@here",
            "reply_to": message.properties.get("reply_to"),
            "correlation_id": message.properties.get("correlation_id"),
            "delivery_info": {
                "exchange": message.queue,
                "routing_key": message.queue,
                "priority": None,
                "redelivered": False,
            },
        }
        task.request_stack.push(Request(request, called_directly=False))
        try:
            return Settled.ACKNOWLEDGED, task.run(*message.args, **message.kwargs)
        except (Retry, Ignore):
            return Settled.ACKNOWLEDGED, None
        except Reject as err:
            return (Settled.GIVEN_BACK if err.requeue else Settled.REJECTED), None
        finally:
            task.request_stack.pop()


def message_of(task: str, /, *args: object, **kwargs: object) -> Message:
    """What a foreign program may put on the queue of a task: no more headers than it must have."""
    return Message(
        queue=MODEL_QUEUES.get(ROUTES[task], ROUTES[task]),
        headers={"task": task, "id": "of-a-test", "lang": "py"},
        args=list(args),
        kwargs=dict(kwargs),
    )


def _drained(channel: memory.Channel, queue: str) -> Iterator[Message]:
    while (taken := channel.basic_get(queue, no_ack=True)) is not None:
        args, kwargs, _ = json.loads(taken.body)
        yield Message(
            queue=queue, headers=taken.headers, args=args, kwargs=kwargs, properties=taken.properties
        )

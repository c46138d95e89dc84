"""The queues themselves: their arguments, and how they are declared. Arguments of a queue are immutable in
RabbitMQ, so a change of arguments is a new name.
"""

from collections.abc import Sequence

from amqp.exceptions import NotFound
from kombu import Connection, Exchange, Queue

from workers.broker.queue_names import DEAD, FORMER_QUEUES, PUBLIC_QUEUES, model_queues

DEAD_EXCHANGE = Exchange("pictor.dead", "topic", durable=True)
# A batch is split at its third delivery. A message that kills its worker after that is set aside.
DELIVERY_LIMIT = 6


def work_queue(name: str) -> Queue:
    return Queue(
        name,
        # topic: with a direct exchange, delayed retries on quorum queues block a worker for the whole delay
        Exchange(name, "topic", durable=True),
        routing_key=name,
        queue_arguments={
            "x-queue-type": "quorum",  # survives the loss of a node, and counts deliveries
            "x-overflow": "reject-publish",  # at-least-once dead-lettering requires it
            "x-dead-letter-exchange": DEAD_EXCHANGE.name,
            "x-dead-letter-routing-key": DEAD,
            "x-dead-letter-strategy": "at-least-once",  # the default may lose a dead letter in an outage
            "x-delivery-limit": DELIVERY_LIMIT,  # RabbitMQ 3.x has none and 4.x drops after 20
        },
    )


def declared_queue(name: str) -> Queue:
    """A queue that somebody else has declared: who only submits has no right to."""
    return Queue(name, Exchange(name, "topic", no_declare=True), routing_key=name, no_declare=True)


def dead_queue() -> Queue:
    return Queue(
        DEAD,
        DEAD_EXCHANGE,
        routing_key=DEAD,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 10**9,  # each look at it is a delivery, and RabbitMQ 4.x drops after 20
        },
    )


def declare_queues(connection: Connection, fingerprint: str) -> None:
    """Declare every exchange and queue of a system with this model. Safe to run twice and side by side."""
    names = (*PUBLIC_QUEUES, *model_queues(fingerprint))
    with connection.channel() as channel:
        for queue in (dead_queue(), *map(work_queue, names)):
            queue.bind(channel).declare()


def former_queues(connection: Connection, roles: Sequence[str]) -> set[str]:
    """Which queues of the version before the broker has for these roles. A new system has none.

    Only theirs, because RabbitMQ 4.3 lets nobody ask about a queue that he may not use.
    """
    names = [FORMER_QUEUES[role] for role in roles if role in FORMER_QUEUES]
    return {name for name in names if count_consumers(connection, name) is not None}


def count_consumers(connection: Connection, name: str) -> int | None:
    """None: there is no such queue."""
    with connection.channel() as channel:  # its own, since a question about a missing queue closes it
        try:
            return int(channel.queue_declare(name, passive=True).consumer_count)
        except NotFound:
            return None

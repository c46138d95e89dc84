"""The queues: names, arguments, and one function that declares them all. Arguments of a queue are immutable
in RabbitMQ, so a change of arguments is a new name.
"""

from collections.abc import Sequence

from kombu import Connection, Exchange, Queue

from pipeline.errors import ArgumentError

PLAN, PREPARE, EMBED, SEARCH, DEAD = "plan", "prepare", "embed", "search", "dead"
WORK_QUEUES = (PLAN, PREPARE, EMBED, SEARCH)  # each is a role of workers, too
FORMER_PREPARE = "ingest"  # its name in the version before. Messages that are left on it are still done

DEAD_EXCHANGE = Exchange("pictor.dead", "topic", durable=True)
DELIVERY_LIMIT = (
    6  # a batch is split at its third delivery. A message that still kills its worker is set aside
)


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


def read_roles(names: Sequence[str]) -> list[str]:
    """The roles that `--queues` names. The former name of `prepare` is understood.

    Raises:
        ArgumentError: none is given, or one is unknown.
    """
    unknown = sorted(set(names) - {*WORK_QUEUES, FORMER_PREPARE})
    if unknown or not names:
        raise ArgumentError(f"--queues {','.join(unknown) or '(none)'}: {', '.join(WORK_QUEUES)} are allowed")
    return list(dict.fromkeys(PREPARE if name == FORMER_PREPARE else name for name in names))


def consumed_queues(roles: Sequence[str]) -> list[str]:
    """The queues that a worker of these roles takes messages from."""
    return [*roles, FORMER_PREPARE] if PREPARE in roles else list(roles)


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


def declare_queues(connection: Connection) -> None:
    """Declare every exchange and queue. Safe to run twice and from several processes."""
    with connection.channel() as channel:
        for queue in (dead_queue(), *(work_queue(name) for name in (*WORK_QUEUES, FORMER_PREPARE))):
            queue.bind(channel).declare()

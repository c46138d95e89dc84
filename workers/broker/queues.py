"""The queues: names, arguments, and one function that declares them all. Arguments of a queue are immutable
in RabbitMQ, so a change of arguments is a new name.
"""

from kombu import Connection, Exchange, Queue

PLAN, INGEST, EMBED, SEARCH, DEAD = "plan", "ingest", "embed", "search", "dead"
WORK_QUEUES = (PLAN, INGEST, EMBED, SEARCH)

DEAD_EXCHANGE = Exchange("pictor.dead", "topic", durable=True)
DELIVERY_LIMIT = (
    6  # a batch is split at its third delivery; what still kills its worker after that is set aside
)


def work_queue(name: str) -> Queue:
    return Queue(
        name,
        # topic: with a direct exchange, delayed retries on quorum queues block a worker for the whole delay
        Exchange(name, "topic", durable=True),
        routing_key=name,
        queue_arguments={
            "x-queue-type": "quorum",  # survives the loss of a node, and counts deliveries
            "x-overflow": "reject-publish",  # what at-least-once dead-lettering requires
            "x-dead-letter-exchange": DEAD_EXCHANGE.name,
            "x-dead-letter-routing-key": DEAD,
            "x-dead-letter-strategy": "at-least-once",  # the default may lose a dead letter in an outage
            "x-delivery-limit": DELIVERY_LIMIT,  # RabbitMQ 3.x has none and 4.x drops after 20
        },
    )


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
        for queue in (dead_queue(), *(work_queue(name) for name in WORK_QUEUES)):
            queue.bind(channel).declare()

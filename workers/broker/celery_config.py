"""Celery's configuration. Every line that differs from Celery's default carries its reason."""

from collections.abc import Mapping, Sequence

from workers.broker.queue_names import EMBED, PLAN, PREPARE, PUBLIC_QUEUES, SEARCH
from workers.broker.queues import declared_queue, work_queue

TASK_HARD_LIMIT_S = 660  # after poison.SPLIT_AFTER_S; far below RabbitMQ's consumer timeout of 30 minutes
# A worker's, with a broker whose disk is full: else each try of a minute counts as a delivery. Twice, for a
# batch and its retry, fits above.
BLOCKED_PATIENCE_S = 240.0
BROKER_HEARTBEAT_S = 20  # a half-open connection is noticed within two of them

# Task to role. The queue of a batch also depends on its model: see queue_names.
ROUTES = {
    "pictor.ingest": PLAN,
    "pictor.delete": PLAN,
    "pictor.plan_job": PLAN,
    "pictor.prepare_batch": PREPARE,
    "pictor.ingest_batch": PREPARE,  # its name in the version before
    "pictor.embed_batch": EMBED,
    "pictor.search": SEARCH,
    "pictor.job": SEARCH,
}


def celery_config(
    broker_url: str, blocked_patience_s: float, consumed: Sequence[str] = (), *, ca_file: str = ""
) -> Mapping[str, object]:
    """Args: `consumed` are the queues that this process takes messages from. It declares no other ones."""
    # A worker binds each queue that it knows to Celery's delays, and may do so with its own alone.
    queues = map(work_queue, consumed) if consumed else map(declared_queue, PUBLIC_QUEUES)
    return {
        "broker_url": broker_url,
        "broker_heartbeat": BROKER_HEARTBEAT_S,
        "broker_connection_retry_on_startup": True,  # a worker may start before its broker
        "broker_connection_max_retries": None,  # the default gives up after 100, in a long outage
        "broker_transport_options": {
            "confirm_publish": True,  # else a lost publish is silent
            "blocked_patience_s": blocked_patience_s,  # see workers.broker.transport
            "ca_file": ca_file,
        },
        "worker_enable_remote_control": False,  # a broadcast could stop all workers, or revoke a batch
        "task_queues": tuple(queues),
        "task_routes": {name: {"queue": role} for name, role in ROUTES.items() if role in PUBLIC_QUEUES},
        "task_default_queue": PLAN,
        "task_default_exchange": PLAN,
        "task_default_exchange_type": "topic",  # see work_queue
        "task_default_routing_key": PLAN,
        "task_default_queue_type": "quorum",
        "task_create_missing_queues": False,  # a mistyped queue name must fail, not make a classic queue
        "task_acks_late": True,  # acknowledged after vectors and report, so a dead worker loses nothing
        "task_reject_on_worker_lost": True,  # without it a killed child's message is acknowledged and gone
        "task_acks_on_failure": False,  # should one get past every_error_settled, it is a dead letter
        "task_acks_on_timeout": False,  # redelivered, and isolated at its third delivery
        "task_annotations": {"*": {"max_retries": None}},  # the default gives a message up after 3
        # The default consumer dies of, or loses, a message that is no task.
        "worker_consumer": "workers.broker.consumer:Consumer",
        "worker_prefetch_multiplier": 1,  # a worker holds no message that it does not work on
        "worker_detect_quorum_queues": True,
        "worker_pool_start_method": "spawn",  # a forked child cannot use CUDA
        "worker_proc_alive_timeout": 600,  # a child that loads a model for over 4 s would be killed for ever
        "worker_cancel_long_running_tasks_on_connection_loss": True,  # its message is delivered again anyway
        "worker_hijack_root_logger": False,  # our own format, one line per batch
        # No soft limit: its exception may strike anywhere, and cannot end a hung thread. See split_when_slow.
        "task_time_limit": TASK_HARD_LIMIT_S,
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],  # nothing is ever unpickled
        "task_ignore_result": True,  # progress is in the ledger; only searches answer their caller
        "result_backend": "rpc://",  # for those searches; pipeline tasks never touch it
        "result_expires": 300,  # an answer nobody fetched
        "worker_send_task_events": True,  # Flower
        "task_send_sent_event": bool(consumed),  # who only submits may not send events
        "task_track_started": True,
        "task_publish_retry_policy": {
            "max_retries": 5,
            "interval_start": 0.2,
            "interval_step": 0.5,
            "interval_max": 2,
        },
        "include": ["workers.tasks", "workers.process.lifecycle"],  # children are fresh interpreters
    }

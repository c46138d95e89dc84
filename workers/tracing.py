"""The workers' side of traces: a span for each task, below whoever sent it, and for each stage of a batch."""

from collections.abc import Iterator
from contextlib import contextmanager

from celery import Task

from pipeline.ingest.handle import Handled
from pipeline.tracing import Step, trace_steps, traced_message


@contextmanager
def traced_task(task: Task) -> Iterator[None]:
    request = task.request
    attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": str((request.delivery_info or {}).get("routing_key") or "?"),
        "messaging.message.id": str(request.id),
    }
    with traced_message(f"process {task.name}", request.headers, attributes):
        yield


def trace_stages(handled: Handled) -> None:
    """From when a stage of a batch first began to when it last ended. Stages overlap: threads work ahead."""
    trace_steps(
        Step(
            name=stage,
            began_s=began_s,
            ended_s=ended_s,
            attributes={"pictor.busy_s": handled.seconds[stage]} | _named(handled),
        )
        for stage, (began_s, ended_s) in handled.extents.items()
    )


def _named(handled: Handled) -> dict[str, str | int | float]:
    batch = handled.batch
    return {"pictor.job_id": batch.job_id, "pictor.batch": batch.path} if batch else {}

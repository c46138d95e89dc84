"""Putting work on the queues. Every publish is confirmed by the broker before the call returns."""

from collections.abc import Mapping

from celery import Celery
from celery.result import AsyncResult
from celery.utils.saferepr import saferepr
from kombu.utils.json import dumps

from pipeline.errors import ArgumentError
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.ports import Ledger
from pipeline.tracing import trace_headers
from pipeline.types import EmbedBatch, PlannedBatch
from workers.broker.celery_config import ROUTES
from workers.broker.connection import broker_errors
from workers.broker.queue_names import model_queue
from workers.broker.queue_wait import due_stamp, patience_stamp
from workers.broker.queues import declared_queue, work_queue

# As JSON, in which a letter that is not ASCII takes 6 bytes, and one beyond U+FFFF 12. RabbitMQ 4.x takes
# 16 MiB, with room for Celery's own fields.
MAX_ARGUMENTS_BYTES = 15 * 2**20
MAX_SHOWN_CHARS = 1000  # headers fit into one frame of 128 KiB, or the broker ends the connection
PAGE = 32  # batches published before they are marked: a crash repeats at most these


class Publisher:
    """Publishes through one Celery application. Safe to share between threads."""

    def __init__(self, app: Celery, *, preparation: str) -> None:
        self._app = app
        self._batch_task = "pictor.prepare_batch" if preparation == "staged" else "pictor.embed_batch"

    def publish_batch(self, job_id: str, batch: PlannedBatch) -> None:
        """Send a planned batch to who begins its work in this deployment, among the workers of its model."""
        shown = f"job {job_id} batch {batch.path}: {batch.items} objects"
        queue = model_queue(ROUTES[self._batch_task], decode_batch(batch.body).fingerprint)
        self.send(self._batch_task, {"message": batch.body.decode()}, queue=queue, shown=shown)

    def publish_to_model(self, task: str, batch: EmbedBatch) -> None:
        """Send a batch that a worker had in flight on to the workers of its model."""
        shown = f"job {batch.job_id} batch {batch.path}: {len(batch.refs)} objects"
        shown += ", staged" if batch.staged else ""
        queue = model_queue(ROUTES[task], batch.fingerprint)
        self.send(task, {"message": encode_batch(batch).decode()}, queue=queue, shown=shown)

    def publish_plan_step(self, job_id: str, step: int, nonce: str, *, delay_s: int = 0) -> None:
        self.send("pictor.plan_job", {"job_id": job_id, "step": step, "nonce": nonce}, delay_s=delay_s)

    def publish_outbox(self, ledger: Ledger, job_id: str) -> int:
        """Publish committed batches that are not published yet. Returns their number.

        A crash between the two publishes a batch twice, never not at all. The second is acknowledged unread.
        """
        published = 0
        while True:
            page = ledger.unpublished(job_id, PAGE)
            for batch in page:
                self.publish_batch(job_id, batch)
            if page:
                ledger.mark_published(job_id, [batch.path for batch in page])
            published += len(page)
            if len(page) < PAGE:
                return published

    def send(
        self,
        task: str,
        arguments: Mapping[str, object],
        *,
        queue: str = "",
        delay_s: int = 0,
        shown: str = "",
        patience_s: float | None = None,
    ) -> AsyncResult:
        """Publish one task and wait for the broker's confirmation.

        Args:
            queue: default the one of the task's role. Any other is declared first, so that what is sent to it
                waits there, even when no worker of that model has ever run.
            patience_s: how long its answer will be waited for. Without it, Celery opens no queue for answers.
            delay_s: whole seconds; Celery 5.7 refuses fractions below 1.
            shown: events and Flower show this in the place of the arguments, which may hold a thousand keys.

        Raises:
            ArgumentError: the arguments are too long for one message.
            TransientError: the broker is away, or did not confirm and may take the task yet. The message says
                which.
        """
        _check_size(task, arguments)
        of_job = f" of job {arguments['job_id']}" if arguments.get("job_id") else ""
        with broker_errors(
            f"the broker did not take {task}: nothing was submitted",
            unconfirmed=f"the broker did not confirm {task}{of_job}, and may take it yet; is its disk full?",
        ):
            return self._app.send_task(
                task,
                queue=work_queue(queue) if queue else declared_queue(ROUTES[task]),
                kwargs=dict(arguments),
                kwargsrepr=shown or saferepr(dict(arguments), maxlen=MAX_SHOWN_CHARS),
                argsrepr="()",
                countdown=delay_s or None,
                headers=due_stamp(delay_s) | patience_stamp(patience_s) | trace_headers(),
                ignore_result=patience_s is None,
            )


def json_bytes(value: object) -> int:
    """How long a value is in the body of a message."""
    return len(dumps(value))  # escapes are ASCII


def _check_size(task: str, arguments: Mapping[str, object]) -> None:
    size_bytes = json_bytes(dict(arguments))
    if size_bytes > MAX_ARGUMENTS_BYTES:
        raise ArgumentError(
            f"{task}: its arguments are {size_bytes / 2**20:.1f} MiB as JSON, and one message holds at most "
            f"{MAX_ARGUMENTS_BYTES // 2**20} MiB; nothing was submitted"
        )

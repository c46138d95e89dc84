"""From a verdict to Celery's way with a message: acknowledge, retry, set aside, or give back and stop.

A message is acknowledged after its work is reported, or after the broker has confirmed its successor: the
copy that comes back later, the halves of its batch, the next tier's message, the dead letter. Celery rejects
what ends with an exception it does not know, which makes dead letters that nobody asked for: so nothing
leaves this module but Retry and Reject.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn, assert_never

from celery import Task
from celery.exceptions import Reject, TaskPredicate

from pipeline.errors import (
    ConfigError,
    FatalError,
    MessageError,
    PictorError,
    TransientError,
)
from pipeline.ingest.handle import Handled
from pipeline.ports import Deps, ImageLimits
from pipeline.types import JobState, Verdict
from workers.broker.celery_config import ROUTES
from workers.broker.dead_letters import set_aside
from workers.broker.headers import own_headers
from workers.broker.queue_names import model_queue, queue_of
from workers.broker.queue_wait import due_stamp
from workers.broker.queues import work_queue
from workers.isolation.halve import SPLIT_AT_CRASH, SPLIT_AT_DELIVERY, isolate, split_when_slow
from workers.metrics.metrics import metrics
from workers.process.context import Context, current, stop_worker
from workers.process.fitness import find_fault
from workers.tracing import trace_stages, traced_task

logger = logging.getLogger(__name__)

RETRY_DELAYS_S = (2, 5, 10, 20, 30)  # then 30 s for ever: an outage is nobody's fault and loses nothing
CRASHES_HEADER = "pictor-faults"  # how many unforeseen exceptions a message has caused
MAX_COUNT = 1000  # one more than the largest that a header holds could not be published

Handle = Callable[[bytes, Deps, ImageLimits], Handled]


def run_message(task: Task, handle: Handle) -> None:
    """Do one batch message and settle it. Raises so that Celery settles it as the verdict says."""
    with traced_task(task), every_error_settled(task):
        context = current()
        started = time.perf_counter()
        handled = _handle(task, handle, context)
        trace_stages(handled)
        metrics().record_batch(ROUTES[task.name], handled, seconds=time.perf_counter() - started)
        _acknowledge(task, handled, context)


def _handle(task: Task, handle: Handle, context: Context) -> Handled:
    try:
        body = _body_of(task)
        if deliveries_before(task) >= SPLIT_AT_DELIVERY or crashes_before(task) >= SPLIT_AT_CRASH:
            return isolate(body, context, crashes=crashes_before(task))
        with split_when_slow(body, context):
            return handle(body, context.deps, context.limits)
    except MessageError as err:
        return Handled(verdict=Verdict.DEAD_LETTER, error=err)


def _body_of(task: Task) -> bytes:
    match [*(task.request.args or ()), *(task.request.kwargs or {}).items()]:
        case [str(message)] | [("message", str(message))]:
            # JSON can spell half of a surrogate pair. It passes here, and is refused where batches are read.
            return message.encode(errors="surrogatepass")
        case _:
            raise MessageError(f"{task.name}: one argument is expected, a text named message")


def deliveries_before(task: Task) -> int:
    """How often a quorum queue has delivered this very message before. A retry is a new message."""
    return _count(task, "x-delivery-count")


def queue_of_message(task: Task) -> str:
    return queue_of(str((task.request.delivery_info or {}).get("routing_key")))


def crashes_before(task: Task) -> int:
    return _count(task, CRASHES_HEADER)


def _count(task: Task, header: str) -> int:
    """0 also for a value that is no count, since anybody who may publish can put anything there."""
    value = (task.request.headers or {}).get(header)
    return min(max(value, 0), MAX_COUNT) if isinstance(value, int) and not isinstance(value, bool) else 0


def _acknowledge(task: Task, handled: Handled, context: Context) -> None:
    """Act on the verdict before the message is acknowledged. Raises if Celery must not acknowledge it."""
    match handled.verdict:
        case Verdict.ACK:
            if handled.forward is not None:
                context.publisher.publish_to_model("pictor.embed_batch", handled.forward)
        case Verdict.RETRY:
            retry_later(task, handled.error)
        case Verdict.DEAD_LETTER:
            set_aside(task, str(handled.error))
        case Verdict.FAIL_JOB:
            _fail_job(task, handled)
        case Verdict.REROUTE:
            _reroute(task, handled, context)
        case Verdict.REQUEUE_AND_STOP:
            error = handled.error or PictorError("a batch was refused without a reason")
            stop_if_unfit(task, error, refuse=lambda words: _fail_job(task, replace(handled, error=words)))
        case _:
            assert_never(handled.verdict)


def _reroute(task: Task, handled: Handled, context: Context) -> None:
    batch = handled.batch
    if batch is None or model_queue(ROUTES[task.name], batch.fingerprint) == queue_of_message(task):
        _fail_job(task, handled)  # two models with the same eight digits: it would come back
        return
    context.publisher.publish_to_model(task.name, batch)


def _fail_job(task: Task, handled: Handled) -> None:
    if handled.batch is None:
        set_aside(task, str(handled.error))
        return
    job_id, error = handled.batch.job_id, str(handled.error)
    if not current().deps.ledger.set_state(job_id, JobState.FAILED, error=error):
        logger.info("job was over", extra={"job_id": job_id, "error": error})


@contextmanager
def every_error_settled(task: Task) -> Iterator[None]:
    """Let only Retry and Reject through."""
    try:
        yield
    except TaskPredicate:  # Retry, Reject: our orders to Celery
        raise
    except TransientError as err:  # also when the broker did not take what must be published first
        retry_later(task, err)
    except (FatalError, ConfigError) as err:
        give_back_and_stop(task, err)
    except Exception as err:  # noqa: BLE001 - logged below: an odd answer of a service, memory, our mistake
        retry_later(task, internal_error(task, err), **{CRASHES_HEADER: crashes_before(task) + 1})


def internal_error(task: Task, err: Exception) -> PictorError:
    """Log and count an error that nobody foresaw. Returns an error that may be shown."""
    logger.error("internal error", extra={"task": task.name, "task_id": task.request.id}, exc_info=err)
    metrics().record_crash(ROUTES[task.name])
    return PictorError(f"{task.name}: internal error of kind {type(err).__name__}")


def retry_later(task: Task, error: PictorError | None, **headers: object) -> NoReturn:
    """Put a copy on the queue that is delivered after a pause, and have this one acknowledged.

    Args:
        headers: of the copy, in addition to those of this message.
    """
    delay_s = RETRY_DELAYS_S[min(task.request.retries, len(RETRY_DELAYS_S) - 1)]
    logger.warning(
        "retry",
        extra={
            "task": task.name,
            "retries": task.request.retries,
            "delay_s": delay_s,
            "error": str(error),
        },
    )
    # The copy has been delivered as often as it has been, not as this one.
    headers_of_copy = own_headers(task.request.headers) | due_stamp(delay_s) | headers
    try:
        queue = work_queue(queue_of_message(task) or ROUTES[task.name])
        retry = task.retry(countdown=delay_s, exc=error, throw=False, headers=headers_of_copy, queue=queue)
    except Reject as err:  # Celery would drop a message whose copy no broker took
        raise Reject(str(error), requeue=True) from err
    raise retry


def stop_if_unfit(
    task: Task,
    error: PictorError,
    *,
    refuse: Callable[[PictorError], None],
    count_try: Callable[[], int] = lambda: 0,
) -> None:
    """Settle a message over which this process would stop.

    Args:
        refuse: ends the message with words, once it was tried often and this process is fit each time.
        count_try: see `try_again_or_refuse`.
    """
    fault = find_fault()
    if isinstance(fault, TransientError):
        retry_later(task, fault)
    if fault is not None:
        give_back_and_stop(task, error)
    words = PictorError(f"{error}; other requests of this worker are answered")
    try_again_or_refuse(task, words, refuse=refuse, count_try=count_try)


def try_again_or_refuse(
    task: Task,
    error: PictorError,
    *,
    refuse: Callable[[PictorError], None],
    count_try: Callable[[], int] = lambda: 0,
) -> None:
    """Count a try that ended badly. Only one that ended so just now, not the count alone, ends the message.

    Args:
        count_try: by somebody other than the message, whose count anybody who may publish can write. 0 is no
            answer.
    """
    crashes = count_try() or crashes_before(task) + 1
    if crashes < SPLIT_AT_CRASH:
        retry_later(task, error, **{CRASHES_HEADER: crashes})
    refuse(error)


def give_back_and_stop(task: Task, error: PictorError) -> NoReturn:
    """Another worker may be able to do it. A copy, since giving it back would count as a delivery."""
    try:
        retry_later(task, error)
    finally:
        stop_worker(error)

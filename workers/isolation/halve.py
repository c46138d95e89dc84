"""One bad object costs one object, even one that kills or hangs its process: halve its batch to find it.

A batch is suspect at its third delivery, after several unforeseen exceptions, or when it takes too long.
Halving costs an innocent batch nothing but a message, so it is done on suspicion. A verdict on a single
object is not: it is tried alone first (see sandbox.py), and only a failure there is recorded as failed.

No crash can lose a half: halves are rows of the ledger from the moment that their batch is closed, in one
transaction, and what of them is not on a queue yet is published by this process, by the redelivery of the
same message, or by the next step of the job's planner, whichever comes first.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pipeline.errors import ConflictError, PictorError, TargetError, TransientError
from pipeline.ingest.handle import Handled, judge, open_batch
from pipeline.ingest.message import encode_batch
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.precedence import find_overtaken
from pipeline.ingest.reuse import look_up_versions
from pipeline.ingest.run_batch import index_prepared
from pipeline.ingest.staging import delete_block
from pipeline.types import (
    BatchReport,
    EmbedBatch,
    FailedAt,
    PlannedBatch,
    PreparedBatch,
    Reason,
    Rejected,
    Verdict,
)
from workers.isolation.sandbox import Fate, run_trial
from workers.process.context import Context

logger = logging.getLogger(__name__)

SPLIT_AT_DELIVERY = 2  # `x-delivery-count` of the third delivery: two processes died or were lost with it
SPLIT_AT_CRASH = 5  # unforeseen exceptions within a minute: an odd answer of a service has passed by then
SPLIT_AFTER_S = 600.0  # a batch of 256 on a slow CPU takes two minutes; an outage is waited for elsewhere
TRIALS = 2  # one death may be the operator's or the kernel's, who could take the trial for a worker

_DETAILS = {
    Fate.CRASHED: (Reason.WORKER_CRASH, f"{TRIALS} processes in a row died with this object alone"),
    Fate.INTERNAL_ERROR: (
        Reason.WORKER_CRASH,
        "every try ended with an internal error; the worker's log has it",
    ),
    Fate.TIMED_OUT: (Reason.TIMEOUT, "a process with this object alone did not come to an end"),
}


def isolate(body: bytes, context: Context, *, crashes: int) -> Handled:
    """Split a suspect batch, or settle the one object that it holds. Safe to run twice.

    Args:
        crashes: how many unforeseen exceptions the message has caused.

    Raises:
        TransientError: a service is away.
    """
    opened = open_batch(body, context.deps, PhaseClock())
    if isinstance(opened, Handled):
        if opened.verdict is Verdict.ACK and opened.batch is not None:
            # Split before, perhaps by a process that died before it published the halves.
            context.publisher.publish_outbox(context.deps.ledger, opened.batch.job_id)
        return opened
    if len(opened.refs) > 1:
        split(opened, context)
        return Handled(verdict=Verdict.ACK, batch=opened)
    try:
        return _try_alone(opened, context, crashes=crashes)
    except TargetError as err:
        return judge(err, opened)


def split(batch: EmbedBatch, context: Context) -> None:
    """Put two halves in the place of a batch, and on the queue. Safe to run twice."""
    context.deps.ledger.split_batch(batch.job_id, batch.path, halves_of(batch))
    logger.warning("batch split", extra={"job_id": batch.job_id, "batch": batch.path})
    context.publisher.publish_outbox(context.deps.ledger, batch.job_id)
    delete_block(batch.job_id, batch.path, context.deps)  # the halves are pulled and decoded anew


def halves_of(batch: EmbedBatch) -> list[PlannedBatch]:
    """Two batches in the place of one: "00000012" becomes "00000012.0" and "00000012.1"."""
    middle = len(batch.refs) // 2
    parts = (batch.refs[:middle], batch.refs[middle:])
    halves = [
        replace(batch, path=f"{batch.path}.{number}", refs=refs, staged=False)
        for number, refs in enumerate(parts)
    ]
    return [PlannedBatch(path=half.path, items=len(half.refs), body=encode_batch(half)) for half in halves]


@contextmanager
def split_when_slow(body: bytes, context: Context) -> Iterator[None]:
    """Split the batch at hand after SPLIT_AFTER_S and end this process, whatever it is stuck in.

    A thread, not Celery's soft limit: that raises an exception in the main thread, which then waits for the
    decoding thread that hangs. The process has to go anyway, with the thread in it. Code that hangs while
    it holds the interpreter's lock is ended by the hard limit, and its batch split at its third delivery.
    """
    timer = threading.Timer(SPLIT_AFTER_S, _split_and_die, args=(body, context))
    timer.name, timer.daemon = "split-when-slow", True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _split_and_die(body: bytes, context: Context) -> None:
    try:
        batch = open_batch(body, context.deps, PhaseClock())
        logger.error("too slow", extra={"seconds": SPLIT_AFTER_S, "batch": _shown(batch)})
        if isinstance(batch, EmbedBatch) and len(batch.refs) > 1:
            split(batch, context)
    except PictorError as err:  # then its redeliveries lead to the same
        logger.warning("slow batch not split", extra={"error": str(err)})
    finally:
        os.kill(os.getpid(), signal.SIGKILL)  # Celery gives the message back; it finds its batch closed


def _shown(opened: EmbedBatch | Handled) -> str:
    batch = opened if isinstance(opened, EmbedBatch) else opened.batch
    return f"{batch.path} of job {batch.job_id}" if batch else "unknown"


def _try_alone(batch: EmbedBatch, context: Context, *, crashes: int) -> Handled:
    """Do a batch of one object in processes of its own; when they fail too, the object is to blame."""
    fate = Fate.CRASHED
    for _ in range(TRIALS):
        ended = run_trial(encode_batch(replace(batch, staged=False)))
        if isinstance(ended, Handled):
            if ended.verdict is Verdict.ACK:
                delete_block(batch.job_id, batch.path, context.deps)
            return replace(ended, batch=batch)
        fate = ended
        logger.warning(
            "trial failed", extra={"job_id": batch.job_id, "batch": batch.path, "fate": fate.value}
        )
        if fate is Fate.TIMED_OUT:
            break  # nobody's SIGKILL looks like that, and a second one takes as long
        if fate is Fate.INTERNAL_ERROR and crashes < SPLIT_AT_CRASH:
            raise PictorError(f"batch {batch.path} of job {batch.job_id}: internal error in a trial")
    report = _record_failure(batch, fate, context)
    delete_block(batch.job_id, batch.path, context.deps)
    return Handled(verdict=Verdict.ACK, batch=batch, report=report)


def _record_failure(batch: EmbedBatch, fate: Fate, context: Context) -> BatchReport | None:
    """Returns the report, or None when the batch was reported before."""
    reason, detail = _DETAILS[fate]
    rejected = Rejected(ref=batch.refs[0], stage=FailedAt.WORKER, reason=reason, detail=detail)
    clock = PhaseClock()
    deps = context.deps
    earlier = look_up_versions(batch, deps.index, clock)
    # An object must not be found by its former content, nor be taken out when a newer plan has it.
    if earlier and not find_overtaken(batch, (), deps):
        deps.index.delete_images(batch.target, list(earlier))
    report = index_prepared(batch, PreparedBatch(outcomes=(rejected,), stored={}), deps, clock)
    if overtaken := find_overtaken(batch, (), deps):
        # This process must not read the object, so it cannot see what its rows are worth: the next job does.
        deps.ledger.book.claim(batch.target.generation, list(overtaken.values()))
    try:
        is_new = deps.ledger.report(report)
    except ConflictError as err:
        raise TransientError(str(err)) from err
    deps.ledger.finish_if_done(batch.job_id)
    return report if is_new else None

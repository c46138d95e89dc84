"""One message in, one verdict out. Both drivers, embedded and Celery, call only this."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pipeline.errors import (
    ConfigError,
    FatalError,
    ImageError,
    MessageError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.run_batch import run_batch
from pipeline.ingest.staging import delete_block, name_block, run_staged_batch, stage_batch
from pipeline.ports import Deps, ImageLimits
from pipeline.types import BatchReport, BatchStatus, EmbedBatch, Verdict

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Handled:
    """`error` is set unless the verdict is ACK. `forward` is a message to publish before acknowledging.

    The rest is for metrics and no part of the outcome: what this process spent, whatever the verdict, and
    the report that this call has put into the ledger; None when there was none, or another was there first.
    """

    verdict: Verdict
    error: PictorError | None = None
    forward: bytes | None = None
    report: BatchReport | None = field(default=None, compare=False)
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)  # by stage, see PhaseClock
    fetched_bytes: int = field(default=0, compare=False)


def handle_embed(body: bytes, deps: Deps, limits: ImageLimits) -> Handled:
    """Embed and index one batch, pulled here or staged. Vectors, then report, then ACK: a contract."""
    clock = PhaseClock()
    return _with_verdict(lambda: _embed(body, deps, limits, clock), clock)


def handle_prepare(body: bytes, deps: Deps, limits: ImageLimits) -> Handled:
    """Prepare one batch for a GPU worker: block, then message, then ACK."""
    clock = PhaseClock()
    return _with_verdict(lambda: _prepare(body, deps, limits, clock), clock)


def _embed(body: bytes, deps: Deps, limits: ImageLimits, clock: PhaseClock) -> Handled:
    batch = _open_batch(body, deps, clock)
    if batch is None:
        return Handled(verdict=Verdict.ACK)
    report = run_staged_batch(batch, deps, clock) if batch.block else None
    if report is None:  # not staged, or its block was swept: the objects themselves are still there
        report = run_batch(batch, deps, limits, clock)
    is_new = _report(report, deps, clock)
    delete_block(batch, deps)
    return Handled(verdict=Verdict.ACK, report=report if is_new else None)


def _prepare(body: bytes, deps: Deps, limits: ImageLimits, clock: PhaseClock) -> Handled:
    batch = _open_batch(body, deps, clock)
    if batch is None:
        # An earlier delivery may have put the block and died before it could name it in a message.
        delete_block(name_block(decode_batch(body)), deps)
        return Handled(verdict=Verdict.ACK)
    staged = stage_batch(batch, deps, limits, clock)
    if isinstance(staged, EmbedBatch):
        return Handled(verdict=Verdict.ACK, forward=encode_batch(staged))
    is_new = _report(staged, deps, clock)
    return Handled(verdict=Verdict.ACK, report=staged if is_new else None)


def _open_batch(body: bytes, deps: Deps, clock: PhaseClock) -> EmbedBatch | None:
    """The batch, or None when nothing is left to do: it was done before, or its job was cancelled."""
    batch = decode_batch(body)
    spec = deps.embedder.spec
    if batch.fingerprint != spec.fingerprint:
        raise FatalError(
            f"this worker runs {spec.name} ({spec.fingerprint[:8]}); batch {batch.path} of job "
            f"{batch.job_id} was planned for the model with fingerprint {batch.fingerprint[:8]}"
        )
    with clock.measure("report"):
        status = deps.ledger.batch_status(batch.job_id, batch.path)
    if status is BatchStatus.UNKNOWN:
        raise MessageError(f"batch {batch.path} of job {batch.job_id} is not in this ledger")
    if status is BatchStatus.CLOSED:
        delete_block(batch, deps)
        return None
    deps.index.check_generation(batch.target)
    return batch


def _report(report: BatchReport, deps: Deps, clock: PhaseClock) -> bool:
    """Returns False when the batch was reported before."""
    with clock.measure("report"):
        is_new = deps.ledger.report(report)
        deps.ledger.finish_if_done(report.job_id)
    logger.info(
        "batch done",
        extra={
            "job_id": report.job_id,
            "batch": report.path,
            "indexed": report.indexed,
            "unchanged": report.unchanged,
            "rejected": len(report.rejected),
        },
    )
    return is_new


def _with_verdict(work: Callable[[], Handled], clock: PhaseClock) -> Handled:
    handled = _judged(work)
    return replace(handled, seconds=clock.seconds(), fetched_bytes=clock.fetched_bytes())


def _judged(work: Callable[[], Handled]) -> Handled:
    """The class of an error decides what becomes of the message."""
    try:
        return work()
    except (MessageError, ImageError) as err:  # an ImageError that no image is to blame for: a bad block
        return _refused(Verdict.DEAD_LETTER, err)
    except TransientError as err:
        return _refused(Verdict.RETRY, err)
    except TargetError as err:  # no worker can do it: given back, it would stop them all, one by one
        return _refused(Verdict.FAIL_JOB, err)
    except (FatalError, ConfigError) as err:  # another process, or this one set up rightly, can do it
        return _refused(Verdict.REQUEUE_AND_STOP, err)
    except PictorError as err:  # a report that does not add up: our own fault, for a person to see
        return _refused(Verdict.DEAD_LETTER, err)


def _refused(verdict: Verdict, error: PictorError) -> Handled:
    logger.warning("batch not done", extra={"verdict": verdict.value, "error": str(error)})
    return Handled(verdict=verdict, error=error)

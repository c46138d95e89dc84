"""One message in, one verdict out. Both drivers, embedded and Celery, call only this.

message ──► open_batch ──► run_batch (in the CPU tier: stage_batch) ──► report ──► verdict
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from pipeline.errors import (
    ConfigError,
    ConflictError,
    FatalError,
    ImageError,
    MessageError,
    ModelMismatchError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.ingest.catch_up import catch_up, may_have_harmed, mend_closed
from pipeline.ingest.message import decode_batch, planned_as
from pipeline.ingest.phase_clock import Extent, PhaseClock
from pipeline.ingest.precedence import find_overtaken
from pipeline.ingest.run_batch import run_batch, stage_batch
from pipeline.ingest.staging import delete_block
from pipeline.ports import Deps, ImageLimits
from pipeline.types import BatchRecord, BatchReport, BatchStatus, EmbedBatch, Verdict

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Handled:
    """`error` is set unless the verdict is ACK. `forward` is a batch to publish before acknowledging.

    The rest is no part of the outcome. `batch` is the one that the message named. None without one.
    For metrics and traces: what this process spent, whatever the verdict, and the report that this call has
    put into the ledger. None when there was none, or another was there first.
    """

    verdict: Verdict
    error: PictorError | None = None
    forward: EmbedBatch | None = None
    batch: EmbedBatch | None = field(default=None, compare=False)
    report: BatchReport | None = field(default=None, compare=False)
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)  # by stage, see PhaseClock
    extents: Mapping[str, Extent] = field(default_factory=dict, compare=False)  # by stage, see PhaseClock
    fetched_bytes: int = field(default=0, compare=False)


_Work = Callable[[EmbedBatch, Deps, ImageLimits, PhaseClock], Handled]


def handle_embed(body: bytes, deps: Deps, limits: ImageLimits) -> Handled:
    """Embed and index one batch, pulled here or staged. Vectors, then report, then ACK: a contract."""
    return _handle(body, deps, limits, _embed)


def handle_prepare(body: bytes, deps: Deps, limits: ImageLimits) -> Handled:
    """Prepare one batch for a GPU worker: block, then message, then ACK."""
    return _handle(body, deps, limits, _prepare)


def _handle(body: bytes, deps: Deps, limits: ImageLimits, work: _Work) -> Handled:
    clock = PhaseClock()
    opened = open_batch(body, deps, clock)
    if isinstance(opened, EmbedBatch):
        handled = _done(opened, deps, limits, clock, work)
    elif opened.verdict is Verdict.ACK and opened.batch is not None:
        handled = _mended(opened.batch, deps, limits, clock, work)
    else:
        handled = opened
    return replace(
        handled,
        seconds=clock.seconds(),
        extents=clock.extents(),
        fetched_bytes=clock.fetched_bytes(),
    )


def open_batch(body: bytes, deps: Deps, clock: PhaseClock) -> EmbedBatch | Handled:
    """The batch that a message names, as the ledger has it, or the outcome of a message without work.

    The ledger is asked first: of a batch that is closed or unknown, nothing else that a message says matters.
    """
    try:
        named = decode_batch(body)
        with clock.measure("report"):
            record = deps.ledger.find_batch(named.job_id, named.path)
        match record.status:
            case BatchStatus.UNKNOWN:
                raise MessageError(f"batch {named.path} of job {named.job_id} is not in this ledger")
            case BatchStatus.CLOSED:
                # An earlier delivery may have put its block, and died before it could send the message.
                delete_block(named.job_id, named.path, deps)
                return Handled(verdict=Verdict.ACK, batch=named)
            case BatchStatus.OPEN:
                _check_driver(named, record, deps)
                batch = planned_as(named, body, record.body)
                return _of_another_model(batch, deps) or batch
            case _:
                assert_never(record.status)
    except PictorError as err:
        return judge(err)


def _check_driver(batch: EmbedBatch, record: BatchRecord, deps: Deps) -> None:
    if deps.driver and record.driver != deps.driver:
        raise MessageError(
            f"batch {batch.path} of job {batch.job_id} belongs to {record.driver} and not to {deps.driver}"
        )


def _of_another_model(batch: EmbedBatch, deps: Deps) -> Handled | None:
    spec = deps.embedder.spec
    if batch.fingerprint == spec.fingerprint:
        return None
    error = ModelMismatchError(
        f"this worker runs {spec.name} ({spec.fingerprint[:8]}); batch {batch.path} of job {batch.job_id} "
        f"was planned for the model with fingerprint {batch.fingerprint[:8]}"
    )
    return _refused(Verdict.REROUTE, error, batch)


def _done(batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock, work: _Work) -> Handled:
    try:
        deps.index.check_generation(batch.target)
        return replace(work(batch, deps, limits, clock), batch=batch)
    except PictorError as err:
        return judge(err, batch)


def _mended(batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock, work: _Work) -> Handled:
    """A closed batch is acknowledged. But a delivery of it may have died when it had written over newer rows.

    What the message says is not checked any more. It can only name objects, and all that is done with one is
    to bring the index in step with the book and the store.
    """
    forward = None
    try:
        is_ours = batch.fingerprint == deps.embedder.spec.fingerprint
        if is_ours and may_have_harmed(batch, deps):
            deps.index.check_generation(batch.target)
            if work is _embed:
                mend_closed(batch, deps, limits, clock)
            else:
                forward = replace(batch, staged=False)  # for a worker with a model
    except TransientError as err:
        return judge(err, batch)
    except PictorError as err:  # the collection was dropped, or is another model's by now
        logger.info("closed batch not looked at", extra={"batch": batch.path, "error": str(err)})
    return Handled(verdict=Verdict.ACK, batch=batch, forward=forward)


def _embed(batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock) -> Handled:
    report = catch_up(batch, run_batch(batch, deps, limits, clock), deps, limits, clock)
    try:
        is_new = _report(report, deps, clock)
    except ConflictError as err:  # between the last look and the report
        raise TransientError(str(err)) from err
    if not is_new:  # another delivery was faster, and this one may have written since
        mend_closed(batch, deps, limits, clock)
    if batch.staged:
        delete_block(batch.job_id, batch.path, deps)
    return Handled(verdict=Verdict.ACK, report=report if is_new else None)


def _prepare(batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock) -> Handled:
    if not deps.staging_bucket:  # sent before this deployment became inline
        return Handled(verdict=Verdict.ACK, forward=replace(batch, staged=False))
    report = stage_batch(batch, deps, limits, clock)
    if report is None:
        return Handled(verdict=Verdict.ACK, forward=replace(batch, staged=True))
    if find_overtaken(batch, report.versions, deps):  # a worker with a model has to catch up
        return Handled(verdict=Verdict.ACK, forward=replace(batch, staged=False))
    try:
        is_new = _report(report, deps, clock)
    except ConflictError:
        return Handled(verdict=Verdict.ACK, forward=replace(batch, staged=False))
    forward = replace(batch, staged=False) if not is_new and may_have_harmed(batch, deps) else None
    return Handled(verdict=Verdict.ACK, report=report if is_new else None, forward=forward)


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


def judge(error: PictorError, batch: EmbedBatch | None = None) -> Handled:
    """The class of an error decides how the message is settled."""
    match error:
        case MessageError() | ImageError():  # an ImageError that no image is to blame for: a bad block
            return _refused(Verdict.DEAD_LETTER, error, batch)
        case TransientError():
            return _refused(Verdict.RETRY, error, batch)
        case TargetError():  # no worker can do it: given back, it would stop them all, one by one
            return _refused(Verdict.FAIL_JOB, error, batch)
        case FatalError() | ConfigError():  # another process, or this one set up rightly, can do it
            return _refused(Verdict.REQUEUE_AND_STOP, error, batch)
        case _:  # a report that does not add up: our own fault, for a person to see
            return _refused(Verdict.DEAD_LETTER, error, batch)


def _refused(verdict: Verdict, error: PictorError, batch: EmbedBatch | None) -> Handled:
    logger.warning("batch not done", extra={"verdict": verdict.value, "error": str(error)})
    return Handled(verdict=verdict, error=error, batch=batch)

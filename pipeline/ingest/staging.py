"""The staged way: CPU workers prepare a batch and leave its pixels in the object store for a GPU worker."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace

from pipeline.errors import (
    ConfigError,
    CredentialsError,
    ImageError,
    MessageError,
    TargetError,
    TransientError,
)
from pipeline.ingest.block import Block, pack_block, unpack_block
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.ingest.run_batch import find_fresh, index_outcomes, look_up_versions, write_rows
from pipeline.ports import Deps, ImageLimits
from pipeline.types import BatchReport, EmbedBatch, Prepared, Reason

logger = logging.getLogger(__name__)

MAX_BLOCK_BYTES = 2**30  # 1,000 images of 584 px; far more than a batch should hold


def stage_batch(
    batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock
) -> EmbedBatch | BatchReport:
    """Prepare a batch and put its pixels into the staging bucket. Safe to run twice: same key, same block.

    The block carries what `clock` measured, so that the ledger's account of the batch is whole.

    Returns:
        The batch with its block, to be published; or the report, when no image of it needs the model.
    """
    stored = look_up_versions(batch, deps.index, clock)
    fresh, reused = find_fresh(batch, stored, deps, clock)
    write_rows(batch.target, reused, deps, clock)
    spec = deps.embedder.spec.preprocessing
    prepared = prepare_all(fresh, deps.store, spec, limits, clock, concurrency=deps.concurrency)
    with closing(prepared), clock.measure("wait"):
        outcomes = tuple(prepared)
    if not any(isinstance(outcome, Prepared) for outcome in outcomes):
        return index_outcomes(batch, outcomes, stored.keys(), deps, clock, reused=len(reused))
    block = Block(outcomes=outcomes, stored=frozenset(stored), seconds=clock.seconds(), reused=len(reused))
    staged = name_block(batch)
    with clock.measure("put"):
        _put_block(staged, pack_block(batch, block), deps)
    return staged


def run_staged_batch(batch: EmbedBatch, deps: Deps, clock: PhaseClock) -> BatchReport | None:
    """Load a block, embed it, write it. Safe to run twice while the block is there.

    Returns:
        None when the block is gone or damaged: the caller prepares the batch anew.
    """
    with clock.measure("load"):
        block = _load_block(batch, deps, clock)
    if block is None:
        return None
    report = index_outcomes(batch, block.outcomes, block.stored, deps, clock, reused=block.reused)
    return replace(report, seconds=_sum(block.seconds, report.seconds))


def delete_block(batch: EmbedBatch, deps: Deps) -> None:
    """After the report: a block that outlives its batch is swept later, one that dies before it is lost."""
    if batch.block:
        with _our_bucket():
            deps.store.delete(deps.staging_bucket, batch.block)


def _sum(of_block: Mapping[str, float], of_this_process: Mapping[str, float]) -> Mapping[str, float]:
    stages = {**of_block, **of_this_process}
    return {stage: of_block.get(stage, 0.0) + of_this_process.get(stage, 0.0) for stage in stages}


def _put_block(batch: EmbedBatch, body: bytes, deps: Deps) -> None:
    with _our_bucket():
        deps.store.put(deps.staging_bucket, batch.block, body)


@contextmanager
def _our_bucket() -> Iterator[None]:
    """A bucket of this deployment that is not there is no fault of the job."""
    try:
        yield
    except TargetError as err:
        raise ConfigError(f"staging: {err}; `pictor init` makes the bucket") from err


def name_block(batch: EmbedBatch) -> EmbedBatch:
    """The same batch with the key that its block has, whether it is there or not."""
    return replace(batch, block=f"{batch.job_id}/{batch.path}.block")


def batch_of_block(key: str) -> tuple[str, str] | None:
    """Job id and path of the batch that a block's key names; None for a key that is no block's."""
    job_id, slash, path = key.removesuffix(".block").rpartition("/")
    return (job_id, path) if slash and key.endswith(".block") else None


def _load_block(batch: EmbedBatch, deps: Deps, clock: PhaseClock) -> Block | None:
    try:
        with _our_bucket():
            ref = deps.store.stat(deps.staging_bucket, batch.block)
            body = deps.store.get(ref, max_bytes=MAX_BLOCK_BYTES).body
        clock.count_fetched(len(body))
        return unpack_block(batch, body)
    except ImageError as err:  # in a store's words for images; here it is about a block of ours
        match err.reason:
            case Reason.NOT_FOUND | Reason.TOO_LARGE:
                return None
            case Reason.ACCESS_DENIED:
                raise CredentialsError(
                    f"bucket {deps.staging_bucket}: this process may not read staged blocks"
                ) from err
            case _:  # slow, or being put anew by a second delivery of its batch
                raise TransientError(f"staged block {batch.block} could not be read: {err.reason}") from err
    except MessageError as err:
        logger.warning("staged block is damaged", extra={"block": batch.block, "error": str(err)})
        return None

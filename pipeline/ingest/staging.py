"""Blocks in the staging bucket: a CPU worker leaves the pixels of a batch there for a GPU worker."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import (
    ConfigError,
    CredentialsError,
    ImageError,
    MessageError,
    TargetError,
    TransientError,
)
from pipeline.ingest.block import block_key, pack_block, unpack_block
from pipeline.ingest.block_pixels import check_inputs
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ports import Deps
from pipeline.types import EmbedBatch, Prepared, PreparedBatch, Reason

logger = logging.getLogger(__name__)

MAX_BLOCK_BYTES = 2**30  # 1,000 images of 584 px; far more than a batch should hold


def put_block(batch: EmbedBatch, made: PreparedBatch, deps: Deps, clock: PhaseClock) -> None:
    """Safe to run twice: the same key, the same block."""
    with clock.measure("put"), _our_bucket():
        deps.store.put(deps.staging_bucket, block_key(batch.job_id, batch.path), pack_block(batch, made))


def load_block(batch: EmbedBatch, deps: Deps, clock: PhaseClock) -> PreparedBatch | None:
    """The pixels that wait for a batch. None when they are gone or damaged, or nothing is staged here."""
    if not deps.staging_bucket:
        logger.warning("staged batch in an inline deployment: its objects are read again")
        return None
    with clock.measure("load"):
        return _load(batch, block_key(batch.job_id, batch.path), deps, clock)


def delete_block(job_id: str, path: str, deps: Deps) -> None:
    """After the report: a block that outlives its batch is swept later, one that dies before it is lost."""
    if deps.staging_bucket:
        with _our_bucket():
            deps.store.delete(deps.staging_bucket, block_key(job_id, path))


def _load(batch: EmbedBatch, key: str, deps: Deps, clock: PhaseClock) -> PreparedBatch | None:
    try:
        with _our_bucket():
            ref = deps.store.stat(deps.staging_bucket, key)
            body = deps.store.get(ref, max_bytes=MAX_BLOCK_BYTES).body
        clock.count_fetched(len(body))
        return _checked(unpack_block(batch, body), key, deps)
    except ImageError as err:  # in a store's words for images; here it is about a block of ours
        match err.reason:
            case Reason.NOT_FOUND | Reason.TOO_LARGE:
                return None
            case Reason.ACCESS_DENIED:
                raise CredentialsError(
                    f"bucket {deps.staging_bucket}: this process may not read staged blocks"
                ) from err
            case _:  # slow, or being put anew by a second delivery of its batch
                raise TransientError(f"staged block {key} could not be read: {err.reason}") from err
    except MessageError as err:
        logger.warning("staged block is damaged", extra={"block": key, "error": str(err)})
        return None


def _checked(block: PreparedBatch, key: str, deps: Deps) -> PreparedBatch:
    """Raises MessageError: its pixels are for other models than those here."""
    for outcome in block.outcomes:
        if isinstance(outcome, Prepared):
            check_inputs(outcome.views, deps.embedder.spec, block=key)
    return block


@contextmanager
def _our_bucket() -> Iterator[None]:
    """A bucket of this deployment that is not there is no fault of the job."""
    try:
        yield
    except TargetError as err:
        raise ConfigError(f"staging: {err}; `pictor init` makes the bucket") from err

"""`pictor sweep`: staged blocks that nobody will ask for any more.

A block is deleted with its batch. It outlives it when a worker dies between the two, or when its message was
purged. Blocks of open batches are never touched. Young blocks may be of a batch just begun.
"""

from dataclasses import dataclass
from datetime import timedelta

from pipeline.ingest.block import batch_of_block
from pipeline.ports import AgedStore, Ledger
from pipeline.types import BatchStatus, JobState, ObjectRef


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """`looked_at = deleted + kept`, of the blocks that are old enough."""

    looked_at: int
    deleted: int
    deleted_bytes: int


def sweep_blocks(store: AgedStore, ledger: Ledger, bucket: str, older_than: timedelta) -> Swept:
    """Delete old blocks of closed or unknown batches and of failed jobs. Safe to run beside workers."""
    looked_at, deleted, deleted_bytes = 0, 0, 0
    for block in store.list_older_than(bucket, older_than):
        looked_at += 1
        if _is_wanted(block, ledger):
            continue
        store.delete(bucket, block.key)
        deleted, deleted_bytes = deleted + 1, deleted_bytes + block.size_bytes
    return Swept(looked_at=looked_at, deleted=deleted, deleted_bytes=deleted_bytes)


def _is_wanted(block: ObjectRef, ledger: Ledger) -> bool:
    batch = batch_of_block(block.key)
    if batch is None:
        return True  # not of our making: somebody else uses the bucket too
    record = ledger.find_batch(*batch)
    # Of a failed job, nobody may ever ask for it. If the job is resumed, the batch is prepared anew.
    return record.status is BatchStatus.OPEN and record.job_state is not JobState.FAILED

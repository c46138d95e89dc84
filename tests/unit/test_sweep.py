"""Staged blocks that nobody will ask for any more."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import WORKERS, BatchReport, JobState, ObjectRef, PlannedBatch
from tests.unit.fakes import request_of
from workers.sweep import Swept, sweep_blocks

STAGING = "staging"
HOUR = timedelta(hours=1)


class Blocks(MemoryStore):
    """All of its objects are old."""

    def list_older_than(self, bucket: str, age: timedelta) -> Iterator[ObjectRef]:
        assert age == HOUR
        yield from list(self.list_objects(bucket))

    def keys(self) -> list[str]:
        return [ref.key for ref in self.list_objects(STAGING)]


@pytest.fixture
def blocks() -> Blocks:
    return Blocks(STAGING)


def staged_job(ledger: SqlLedger, blocks: Blocks, state: JobState) -> list[str]:
    """A job of two batches, of which one is done. Both left a block."""
    job_id = ledger.create_job(request_of(), driver=WORKERS).job_id
    planned = [PlannedBatch(path=f"0000000{number}", items=1, body=b"x") for number in range(2)]
    ledger.record_plan(job_id, planned, cursor="z", ignored=0)
    ledger.report(BatchReport(job_id=job_id, path="00000000", indexed=1, unchanged=0, rejected=()))
    keys = [f"{job_id}/{batch.path}.block" for batch in planned]
    for key in keys:
        blocks.put(STAGING, key, b"pixels")
    assert ledger.set_state(job_id, state)
    return keys


@pytest.mark.parametrize(
    ("state", "kept"),
    [(JobState.RUNNING, 1), (JobState.PAUSED, 1), (JobState.CANCELLED, 0), (JobState.FAILED, 0)],
)
def test_a_block_is_kept_while_its_batch_is_open_and_its_job_may_go_on(
    ledger: SqlLedger, blocks: Blocks, state: JobState, kept: int
) -> None:
    _, of_open_batch = staged_job(ledger, blocks, state)
    swept = sweep_blocks(blocks, ledger, STAGING, HOUR)
    assert blocks.keys() == [of_open_batch][:kept]
    assert swept == Swept(looked_at=2, deleted=2 - kept, deleted_bytes=6 * (2 - kept))


def test_a_block_of_no_batch_is_swept_and_what_is_no_block_is_left_alone(
    ledger: SqlLedger, blocks: Blocks
) -> None:
    for key in ("no-such-job/00000000.block", "readme.txt", "folder/notes"):
        blocks.put(STAGING, key, b"pixels")
    sweep_blocks(blocks, ledger, STAGING, HOUR)
    assert blocks.keys() == ["folder/notes", "readme.txt"]

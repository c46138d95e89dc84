"""Which moves of a job are allowed, and that they are written where its driver looks."""

import itertools
import time

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import ConflictError
from pipeline.service.access import local_caller
from pipeline.service.move import cancel_job, pause_job, resume_job
from pipeline.service.retry import retry_failures
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import WORKERS, BatchReport, FailedAt, JobState, PlannedBatch, Reason, Rejected
from tests.unit.fakes import HERE, ref_of, request_of

MOVES = {
    JobState.PAUSED: (pause_job, {JobState.RUNNING}),
    JobState.RUNNING: (resume_job, {JobState.RUNNING, JobState.PAUSED, JobState.FAILED}),
    JobState.CANCELLED: (cancel_job, {JobState.RUNNING, JobState.PAUSED, JobState.FAILED}),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(JobState, MOVES)))
@pytest.mark.parametrize("driver", [WORKERS, HERE])
def test_a_job_moves_as_the_table_says_whoever_drives_it(
    ledger: SqlLedger, driver: str, before: JobState, after: JobState
) -> None:
    move, allowed = MOVES[after]
    job = ledger.create_job(request_of(), driver=driver)
    ledger.set_state(job.job_id, before, error="of before")
    if before in allowed:
        move(job.job_id, ledger, local_caller())
        assert (ledger.get_job(job.job_id).state, ledger.get_job(job.job_id).error) == (after, "")
        return
    with pytest.raises(ConflictError, match=f"job {job.job_id} is {before}; only a job that is .* can be "):
        move(job.job_id, ledger, local_caller())
    assert ledger.get_job(job.job_id).state is before


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("driver", [WORKERS, HERE])
def test_a_retry_lets_nothing_go_on_that_was_paused_or_cancelled(
    ledger: SqlLedger, store: MemoryStore, driver: str, state: JobState
) -> None:
    """One object failed; the message of another is on its way, or failed the job and was acknowledged."""
    job = ledger.create_job(request_of(), driver=driver)
    planned = [PlannedBatch(path=path, items=1, body=b"x") for path in ("00000000", "00000001")]
    ledger.record_plan(job.job_id, planned, cursor="b", ignored=0)
    ledger.mark_published(job.job_id, ["00000000", "00000001"])
    rejected = Rejected(ref=ref_of("a"), stage=FailedAt.DECODE, reason=Reason.TRUNCATED, detail="short")
    ledger.report(
        BatchReport(job_id=job.job_id, path="00000000", indexed=0, unchanged=0, rejected=(rejected,))
    )
    ledger.set_state(job.job_id, state)
    before = ledger.get_job(job.job_id)
    if state in (JobState.PAUSED, JobState.CANCELLED):
        with pytest.raises(ConflictError, match=f"is {state}; only a job that is .* can be retried"):
            retry_failures(job.job_id, ledger, store, local_caller())
        assert ledger.get_job(job.job_id) == before
        return
    assert retry_failures(job.job_id, ledger, store, local_caller()) == 1
    assert ledger.get_job(job.job_id).state is JobState.RUNNING
    sent = [batch.path.split("-")[0][:5] for batch in ledger.unpublished(job.job_id, 10)]
    lost = ["00000"] if (driver, state) == (WORKERS, JobState.FAILED) else []
    assert sent == [*lost, "retry"]


def test_a_job_of_the_workers_that_is_resumed_gets_its_messages_again(ledger: SqlLedger) -> None:
    for driver, sent_again in ((WORKERS, 1), (HERE, 0)):
        job = ledger.create_job(request_of(), driver=driver)
        ledger.record_plan(
            job.job_id, [PlannedBatch(path="00000000", items=1, body=b"x")], cursor="a", ignored=0
        )
        ledger.mark_published(job.job_id, ["00000000"])
        assert resume_job(job.job_id, ledger, local_caller()) == ledger.get_job(job.job_id)
        assert len(ledger.unpublished(job.job_id, 10)) == sent_again


def test_a_refused_resume_sends_no_message_again(ledger: SqlLedger) -> None:
    job = ledger.create_job(request_of(), driver=WORKERS)
    ledger.record_plan(job.job_id, [PlannedBatch(path="00000000", items=1, body=b"x")], cursor="a", ignored=0)
    ledger.mark_published(job.job_id, ["00000000"])
    ledger.set_state(job.job_id, JobState.CANCELLED)
    with pytest.raises(ConflictError):
        resume_job(job.job_id, ledger, local_caller())
    assert ledger.unpublished(job.job_id, 10) == []


def test_a_second_retry_has_paths_of_its_own_even_when_the_clock_was_set_back(
    ledger: SqlLedger, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    job = ledger.create_job(request_of(), driver=WORKERS)
    ledger.record_plan(job.job_id, [PlannedBatch(path="00000000", items=1, body=b"x")], cursor="a", ignored=0)
    ledger.finish_planning(job.job_id, ignored=0)
    rejected = Rejected(ref=ref_of("a"), stage=FailedAt.DECODE, reason=Reason.TRUNCATED, detail="short")
    tried = []
    for _ in range(3):
        [batch] = ledger.pending(job.job_id)
        tried.append(batch.path)
        report = BatchReport(job_id=job.job_id, path=batch.path, indexed=0, unchanged=0, rejected=(rejected,))
        assert ledger.report(report)
        assert retry_failures(job.job_id, ledger, store, local_caller()) == 1
    assert len(set(tried)) == 3

"""Old jobs lose their details and keep their counts, in SQLite and in PostgreSQL."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from pipeline.adapters.ledger import pruning
from pipeline.adapters.ledger.schema import job as job_table
from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import ArgumentError, ConflictError
from pipeline.service.access import local_caller
from pipeline.service.move import resume_job
from pipeline.service.prune import LEAST_AGE, prune_jobs
from pipeline.service.retry import retry_failures
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    WORKERS,
    BatchReport,
    BatchStatus,
    FailedAt,
    Job,
    JobRequest,
    JobState,
    ObjectRef,
    PlannedBatch,
    Pruned,
    PruneScope,
    Reason,
    Rejected,
)
from tests.contract.ledger_databases import ask

REQUEST = JobRequest(
    location="s3://shop/in/",
    bucket="shop",
    prefix="in/",
    collection="images",
    model_name="builtin",
    fingerprint="ab" * 32,
    include=("*.jpg",),
)
OLD, YOUNG = timedelta(days=91), timedelta(days=89)
RETENTION = timedelta(days=90)
ME = local_caller()


def end(ledger: SqlLedger, job: Job, state: JobState, ago: timedelta) -> Job:
    if state is JobState.COMPLETED:
        assert ledger.finish_if_done(job.job_id)
    else:
        assert ledger.set_state(job.job_id, state)
    say_ended(ledger, job.job_id, datetime.now(UTC) - ago)
    return ledger.get_job(job.job_id)


def say_ended(ledger: SqlLedger, job_id: str, at: datetime) -> None:
    with ledger._writer.begin() as connection:
        values = {"finished_at": at, "created_at": at - timedelta(hours=1)}
        connection.execute(sa.update(job_table).where(job_table.c.job_id == job_id).values(values))


def job_of(
    ledger: SqlLedger,
    state: JobState = JobState.COMPLETED,
    ago: timedelta = OLD,
    *,
    request: JobRequest = REQUEST,
    batches: int = 3,
    left: int = 0,
) -> Job:
    """A job of batches of three, of which each has one failure but the first; `left` of them are not done."""
    job = ledger.create_job(request, driver=WORKERS)
    planned = [PlannedBatch(path=f"{number:08d}", items=3, body=b"x") for number in range(batches)]
    ledger.record_plan(job.job_id, planned, cursor="z", ignored=5)
    ledger.finish_planning(job.job_id, ignored=0)
    for number, batch in enumerate(planned[: batches - left]):
        key = f"in/{number}.jpg"
        rejected = Rejected(
            ref=ObjectRef(bucket="shop", key=key, etag="e", size_bytes=1),
            stage=FailedAt.DECODE,
            reason=Reason.TRUNCATED,
            detail="short",
        )
        failed = (rejected,) if number else ()
        report = BatchReport(
            job_id=job.job_id,
            path=batch.path,
            indexed=2 - len(failed),
            unchanged=1,
            rejected=failed,
            seconds={"fetch": 0.5, "wait": 0.0},
        )
        assert ledger.report(report)
    return end(ledger, job, state, ago)


def rows_of(database: str, job: Job) -> tuple[int, int]:
    """How many batches and failures it has."""
    counts = [
        ask(database, f"SELECT count(*) FROM {table} WHERE job_id = '{job.job_id}'")  # noqa: S608 - our own
        for table in ("batch", "failure")
    ]
    return int(str(counts[0])), int(str(counts[1]))


def prune(ledger: SqlLedger, *, dry_run: bool = False) -> Pruned:
    return prune_jobs(ledger, ME, older_than=RETENTION, dry_run=dry_run)


def test_a_pruned_job_keeps_its_counts_and_says_that_its_details_are_gone(
    ledger: SqlLedger, database: str
) -> None:
    old, newest = job_of(ledger), job_of(ledger, ago=YOUNG)
    seconds = ledger.seconds(old.job_id)
    assert prune(ledger) == Pruned(batches=3, failures=2)
    after = ledger.get_job(old.job_id)
    assert (after.counts, after.state, after.finished_at) == (old.counts, old.state, old.finished_at)
    assert (after.pruned_at is not None, old.pruned_at) == (True, None)
    assert ledger.seconds(old.job_id) == seconds == {"fetch": 1.5, "wait": 0.0}
    assert (rows_of(database, old), rows_of(database, newest)) == ((0, 0), (3, 2))
    assert prune(ledger) == Pruned()
    assert ledger.get_job(old.job_id) == after


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.PAUSED])
def test_a_job_that_may_go_on_is_never_pruned(ledger: SqlLedger, database: str, state: JobState) -> None:
    job = job_of(ledger, state, left=1)
    job_of(ledger, ago=YOUNG)
    assert prune(ledger) == Pruned()
    assert rows_of(database, job) == (3, 1)


def test_a_job_within_its_retention_is_left_alone_whatever_came_after_it(ledger: SqlLedger) -> None:
    job_of(ledger, ago=YOUNG)
    job_of(ledger, ago=timedelta(0))
    assert prune(ledger) == Pruned()


def test_the_newest_job_of_a_source_keeps_what_a_retry_needs(ledger: SqlLedger, database: str) -> None:
    job = job_of(ledger)
    job_of(ledger, JobState.CANCELLED, ago=YOUNG)  # it can be neither retried nor resumed
    for other in ({"location": "s3://shop/"}, {"collection": "other"}, {"include": ()}):
        job_of(ledger, ago=YOUNG, request=dataclasses.replace(REQUEST, **other))
    assert prune(ledger) == Pruned(batches=1)  # the one without a failure
    assert rows_of(database, job) == (2, 2)
    assert ledger.get_job(job.job_id) == job
    assert retry_failures(job.job_id, ledger, MemoryStore("shop"), ME) == 2
    again = ledger.get_job(job.job_id).counts
    assert (again.scanned, again.failed, again.pending) == (job.counts.scanned, 0, 2)


def test_the_newest_job_of_a_source_can_be_resumed_after_its_done_batches_are_gone(
    ledger: SqlLedger, database: str
) -> None:
    job = job_of(ledger, JobState.FAILED, left=1)
    assert prune(ledger) == Pruned(batches=1)
    assert resume_job(job.job_id, ledger, ME).counts == job.counts
    assert [batch.path for batch in ledger.pending(job.job_id)] == ["00000002"]


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.FAILED])
def test_what_a_stopped_job_had_not_done_stays_counted(
    ledger: SqlLedger, database: str, state: JobState
) -> None:
    job = job_of(ledger, state, left=2)
    job_of(ledger, ago=YOUNG)
    assert prune(ledger).batches == 3
    assert ledger.get_job(job.job_id).counts == job.counts
    assert job.counts.pending == 6


def test_a_pruned_job_is_neither_retried_nor_resumed_and_says_why(ledger: SqlLedger) -> None:
    done, failed = job_of(ledger), job_of(ledger, JobState.FAILED, left=1)
    job_of(ledger, ago=YOUNG)
    prune(ledger)
    for move in (
        lambda: retry_failures(done.job_id, ledger, MemoryStore("shop"), ME),
        lambda: resume_job(failed.job_id, ledger, ME),
    ):
        with pytest.raises(ConflictError, match=r"its details were pruned on 20.*; run a new job"):
            move()
    assert not ledger.set_state(failed.job_id, JobState.RUNNING)
    assert ledger.find_batch(failed.job_id, "00000002").status is BatchStatus.CLOSED  # a late message
    assert ledger.find_batch("no-such-job", "00000002").status is BatchStatus.UNKNOWN


def test_a_refused_submission_goes_altogether(ledger: SqlLedger) -> None:
    refused = dataclasses.replace(REQUEST, bucket="", prefix="", model_name="", fingerprint="")
    old, young = (
        end(ledger, ledger.create_job(refused, driver=WORKERS), JobState.FAILED, ago) for ago in (OLD, YOUNG)
    )
    assert prune(ledger) == Pruned(jobs=1)
    assert [job.job_id for job in ledger.list_jobs()] == [young.job_id]
    assert old.job_id != young.job_id


def test_a_dry_run_counts_what_would_go_and_deletes_nothing(ledger: SqlLedger, database: str) -> None:
    old, newest = job_of(ledger), job_of(ledger)
    expected = Pruned(batches=4, failures=2)
    assert prune(ledger, dry_run=True) == expected
    assert (rows_of(database, old), rows_of(database, newest)) == ((3, 2), (3, 2))
    assert prune(ledger) == expected


def test_a_large_job_goes_page_by_page_and_counts_the_same_after_each(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "PAGE_ROWS", 4)
    job = job_of(ledger, batches=10)
    job_of(ledger, ago=YOUNG)
    [found] = ledger.find_prunable(RETENTION)
    pages = []
    while (page := ledger.prune_page(found)) != Pruned():
        pages.append(page)
        assert ledger.get_job(job.job_id).counts == job.counts
    assert [page.failures for page in pages] == [4, 4, 1, 0, 0, 0]
    assert [page.batches for page in pages] == [0, 0, 0, 4, 4, 2]


def test_a_job_that_is_retried_between_two_pages_is_left_alone(
    ledger: SqlLedger, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "PAGE_ROWS", 1)
    job = job_of(ledger, batches=5)
    [found] = ledger.find_prunable(RETENTION)
    assert found.scope is PruneScope.SETTLED
    assert ledger.prune_page(found) == Pruned(batches=1)
    assert retry_failures(job.job_id, ledger, MemoryStore("shop"), ME) == 4
    assert ledger.prune_page(found) == Pruned()


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_no_clock_that_is_an_hour_off_makes_a_job_old_that_has_just_ended(
    ledger: SqlLedger, hours: int
) -> None:
    job = job_of(ledger, ago=timedelta(hours=hours))  # said by whoever ended it
    job_of(ledger, ago=timedelta(0))
    assert prune_jobs(ledger, ME, older_than=LEAST_AGE) == Pruned()
    assert ledger.get_job(job.job_id) == job
    with pytest.raises(ArgumentError, match=r"a day old or more, not 23\.9997 hours"):
        prune_jobs(ledger, ME, older_than=LEAST_AGE - timedelta(seconds=1))

"""What every ledger keeps to, in SQLite and in PostgreSQL."""

import dataclasses
import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.errors import ConflictError, MessageError, NotFoundError, PictorError
from pipeline.types import (
    COMES_FROM,
    EMBEDDED,
    RETRIED_FROM,
    WORKERS,
    BatchRecord,
    BatchReport,
    BatchStatus,
    FailedAt,
    Failure,
    Job,
    JobCounts,
    JobRequest,
    JobState,
    ObjectRef,
    PlannedBatch,
    Reason,
    Rejected,
    embedded_on,
)
from tests.contract.ledger_databases import empty_database

REQUEST = JobRequest(
    location="s3://shop/in/",
    bucket="shop",
    prefix="in/",
    collection="images",
    model_name="builtin",
    fingerprint="ab" * 32,
    include=("*.jpg", "*.'\"π"),
    exclude=("*/thumbs/*",),
    batch_items=4,
)
HERE = embedded_on("here")
ODD_KEYS = (
    "in/a b.jpg",
    "in/'\";--.jpg",
    "in/line\nbreak.jpg",
    "in/\U0001f600.jpg",
    "in/\uef80.jpg",
    "in/Z.jpg",
)


@pytest.fixture
def job(ledger: SqlLedger) -> Job:
    return ledger.create_job(REQUEST, driver=WORKERS)


def planned(*items: int, first: int = 0) -> list[PlannedBatch]:
    return [
        PlannedBatch(path=f"{number:08d}", items=count, body=f"body {number}".encode() + b"\0\xff")
        for number, count in enumerate(items, first)
    ]


def rejected(*keys: str, reason: Reason = Reason.TRUNCATED) -> tuple[Rejected, ...]:
    return tuple(
        Rejected(
            ref=ObjectRef(bucket="shop", key=key, etag=f"etag of {key}", size_bytes=5 * 2**40),
            stage=FailedAt.DECODE,
            reason=reason,
            detail=f"{key}: ends early",
        )
        for key in keys
    )


def reported(
    job: Job, path: str, indexed: int = 0, unchanged: int = 0, failed: Sequence[str] = ()
) -> BatchReport:
    return BatchReport(
        job_id=job.job_id,
        path=path,
        indexed=indexed,
        unchanged=unchanged,
        rejected=rejected(*failed),
        seconds={"fetch": 0.25, "embed": 1.0},
    )


def image_ids(*keys: str) -> list[str]:
    return [ObjectRef(bucket="shop", key=key, etag="", size_bytes=0).image_id for key in keys]


def counts(ledger: SqlLedger, job: Job) -> JobCounts:
    return ledger.get_job(job.job_id).counts


def paths(batches: Iterator[PlannedBatch] | list[PlannedBatch]) -> list[str]:
    return [batch.path for batch in batches]


# Jobs


def test_a_new_job_holds_what_was_asked_for_and_has_counted_nothing(ledger: SqlLedger) -> None:
    before = datetime.now(UTC)
    job = ledger.create_job(REQUEST, driver=WORKERS)
    assert job == ledger.get_job(job.job_id)
    assert (job.request, job.state, job.planned, job.cursor) == (REQUEST, JobState.RUNNING, False, None)
    assert job.counts == JobCounts(scanned=0, indexed=0, unchanged=0, failed=0, pending=0, ignored=0)
    assert before <= job.created_at <= datetime.now(UTC)
    assert job.created_at.utcoffset() == timedelta(0)
    assert job.job_id.startswith(f"{job.created_at:%Y%m%dT%H%M%S}-")


def test_jobs_are_listed_newest_first(ledger: SqlLedger) -> None:
    ids = [ledger.create_job(REQUEST, driver=WORKERS).job_id for _ in range(4)]
    ledger.record_plan(ids[2], planned(3), cursor="a", ignored=0)
    assert [(job.job_id, job.counts.pending) for job in ledger.list_jobs(limit=3)] == [
        (ids[3], 0),
        (ids[2], 3),
        (ids[1], 0),
    ]


def test_each_place_of_a_job_is_known_once_and_a_refusal_has_none(ledger: SqlLedger) -> None:
    whole = dataclasses.replace(REQUEST, location="s3://shop/", prefix="")
    refused = dataclasses.replace(REQUEST, location="nowhere", bucket="", prefix="")
    for request in (REQUEST, whole, REQUEST, refused):  # a refused submission has no bucket
        ledger.create_job(request, driver=WORKERS)
    own = dataclasses.replace(REQUEST, location="s3://own/", bucket="own")
    ledger.create_job(own, driver=WORKERS, job_id="own_%-1")
    known = ledger.locations(without=["own_%-", "x"])
    found = sorted((place.url, place.bucket, place.prefix) for place in known)
    assert found == [("s3://shop/", "shop", ""), ("s3://shop/in/", "shop", "in/")]


def completed(ledger: SqlLedger, *indexed: int) -> Job:
    """A job with a batch of each number of objects, all of which were indexed."""
    job = ledger.create_job(REQUEST, driver=WORKERS)
    ledger.record_plan(job.job_id, planned(*indexed), cursor="a", ignored=0)
    for path, items in zip(paths(planned(*indexed)), indexed, strict=True):
        ledger.report(reported(job, path, indexed=items))
    ledger.finish_planning(job.job_id, ignored=0)
    assert ledger.finish_if_done(job.job_id)
    return job


def test_the_pace_of_a_model_is_that_of_its_largest_job_that_ended(ledger: SqlLedger) -> None:
    assert ledger.find_pace(REQUEST.fingerprint) is None
    completed(ledger, 3)
    before = datetime.now(UTC)
    largest = completed(ledger, 40, 2)
    took_s = (datetime.now(UTC) - before).total_seconds()
    completed(ledger, 5)
    running = ledger.create_job(REQUEST, driver=WORKERS)
    ledger.record_plan(running.job_id, planned(100), cursor="a", ignored=0)
    ledger.report(reported(running, "00000000", indexed=100))
    pace = ledger.find_pace(REQUEST.fingerprint)
    assert pace is not None
    assert (pace.job_id, pace.objects) == (largest.job_id, 42)
    assert 0 < pace.seconds <= took_s
    assert ledger.find_pace("cd" * 32) is None


def test_the_list_of_jobs_goes_on_behind_any_of_them(ledger: SqlLedger) -> None:
    for _ in range(5):
        ledger.create_job(REQUEST, driver=WORKERS)
    newest = [job.job_id for job in ledger.list_jobs(limit=5)]
    for place, job_id in enumerate(newest[:3]):  # the database may hold jobs of other tests
        behind = [job.job_id for job in ledger.list_jobs(limit=2, before=job_id)]
        assert behind == newest[place + 1 : place + 3]
    assert ledger.list_jobs(before="no such job") == []


def test_jobs_are_left_out_by_how_their_ids_begin_before_they_are_counted(ledger: SqlLedger) -> None:
    ledger.create_job(REQUEST, driver=WORKERS, job_id="large")
    for name in ("one-1", "one-2", "ONE_3"):
        ledger.create_job(REQUEST, driver=WORKERS, job_id=name)
    assert [job.job_id for job in ledger.list_jobs(limit=2, without=["one-"])] == ["ONE_3", "large"]
    assert len(ledger.list_jobs(limit=2)) == 2


@pytest.mark.parametrize("missing_id", ["20200101T000000-000000", "", "x'; DROP TABLE job;--"])
def test_an_unknown_job_is_a_config_error_that_names_it(ledger: SqlLedger, missing_id: str) -> None:
    for call in (
        lambda: ledger.get_job(missing_id),
        lambda: ledger.set_state(missing_id, JobState.PAUSED),
        lambda: ledger.finish_if_done(missing_id),
        lambda: ledger.finish_planning(missing_id, ignored=0),
        lambda: ledger.record_plan(missing_id, planned(1), cursor="a", ignored=0),
        lambda: ledger.retry_failures(missing_id, [], []),
    ):
        with pytest.raises(NotFoundError, match="pictor jobs list") as caught:
            call()
        assert repr(missing_id) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"location": "s3://shop/"},
        {"bucket": "other"},
        {"prefix": "in/a"},
        {"collection": "other"},
        {"fingerprint": "cd" * 32},
        {"include": ()},
        {"exclude": ("*/thumbs/*", "*.gif")},
    ],
)
def test_another_request_does_not_find_the_unfinished_job(
    ledger: SqlLedger, job: Job, change: dict[str, object]
) -> None:
    assert ledger.find_unfinished(REQUEST, driver=WORKERS) == job
    assert ledger.find_unfinished(dataclasses.replace(REQUEST, **change), driver=WORKERS) is None  # type: ignore[arg-type]


def test_the_newest_running_job_is_the_unfinished_one(ledger: SqlLedger, job: Job) -> None:
    newer, newest = ledger.create_job(REQUEST, driver=WORKERS), ledger.create_job(REQUEST, driver=WORKERS)
    assert ledger.find_unfinished(dataclasses.replace(REQUEST, batch_items=9), driver=WORKERS) == newest
    ledger.set_state(newest.job_id, JobState.CANCELLED)
    assert ledger.find_unfinished(REQUEST, driver=WORKERS) == newer
    assert set(ledger.running_looks()) == {job.job_id, newer.job_id}


# Drivers

ELSEWHERE = embedded_on("elsewhere")
UNNOTED = EMBEDDED


def test_a_job_says_who_drives_it(ledger: SqlLedger) -> None:
    for driver in (WORKERS, HERE, UNNOTED):
        job = ledger.create_job(REQUEST, driver=driver)
        assert (job.driver, ledger.get_job(job.job_id).driver) == (driver, driver)


def test_a_job_that_is_there_keeps_its_driver(ledger: SqlLedger, job: Job) -> None:
    assert ledger.create_job(REQUEST, driver=HERE, job_id=job.job_id) == job


@pytest.mark.parametrize(
    ("of_job", "asked_by", "is_found"),
    [
        (WORKERS, WORKERS, True),
        (WORKERS, HERE, False),
        (HERE, HERE, True),
        (HERE, ELSEWHERE, False),
        (HERE, WORKERS, False),
        (UNNOTED, HERE, True),
        (UNNOTED, WORKERS, False),
    ],
)
def test_a_job_is_found_and_taken_up_by_its_own_driver_alone(
    ledger: SqlLedger, of_job: str, asked_by: str, is_found: bool
) -> None:
    job = ledger.create_job(REQUEST, driver=of_job)
    assert ledger.find_unfinished(REQUEST, driver=asked_by) == (job if is_found else None)
    assert ledger.take_up(job.job_id, asked_by) is is_found
    assert ledger.get_job(job.job_id).driver == (asked_by if is_found else of_job)


def test_a_job_of_no_noted_host_is_taken_up_once(ledger: SqlLedger) -> None:
    job = ledger.create_job(REQUEST, driver=UNNOTED)
    assert [ledger.take_up(job.job_id, driver) for driver in (HERE, ELSEWHERE, HERE)] == [True, False, True]
    assert not ledger.take_up("no-such-job", HERE)


def test_the_workers_do_not_see_embedded_jobs(ledger: SqlLedger, job: Job) -> None:
    embedded = [ledger.create_job(REQUEST, driver=driver) for driver in (HERE, UNNOTED)]
    assert list(ledger.plan_claims()) == [job.job_id]
    assert list(ledger.running_looks()) == [job.job_id]
    for other in embedded:
        assert not ledger.claim_step(other.job_id, 0, "a message that was sent all the same")
    assert ledger.claim_step(job.job_id, 0, "n")


def test_tries_that_ended_badly_are_counted_of_the_step_at_work_alone(ledger: SqlLedger, job: Job) -> None:
    assert ledger.count_failed_step(job.job_id, 0, "n") == 0
    assert ledger.claim_step(job.job_id, 0, "n_%")
    for number in (1, 2):
        assert ledger.count_failed_step(job.job_id, 0, "n_%") == number
        assert ledger.claim_step(job.job_id, 0, "n_%"), "tried again"
    for step, nonce in ((0, "n"), (0, "nxx"), (0, "another"), (1, "n_%")):
        assert ledger.count_failed_step(job.job_id, step, nonce) == 0
    assert not ledger.claim_step(job.job_id, 0, "another")
    assert ledger.claim_step(job.job_id, 1, "n_%")
    assert ledger.count_failed_step(job.job_id, 1, "n_%") == 1
    assert ledger.count_failed_step("no-such-job", 1, "n_%") == 0


def test_a_step_is_claimed_in_its_turn_alone(ledger: SqlLedger, job: Job) -> None:
    """Whoever may publish could claim the last number that there is, and no planner would come after it."""
    assert not ledger.claim_step(job.job_id, 1, "early")
    assert not ledger.claim_step(job.job_id, 2**31 - 1, "the last")
    assert ledger.claim_step(job.job_id, 0, "n")
    assert not ledger.claim_step(job.job_id, 0, "another")
    assert ledger.claim_step(job.job_id, 0, "n")  # the same message, delivered again
    assert not ledger.claim_step(job.job_id, 2, "early")
    assert ledger.claim_step(job.job_id, 1, "next")
    assert not ledger.claim_step(job.job_id, 0, "n")


@pytest.mark.parametrize("state", JobState)
def test_a_state_is_kept_and_only_an_end_has_a_time(ledger: SqlLedger, job: Job, state: JobState) -> None:
    ledger.set_state(job.job_id, state, error="no such bucket")
    changed = ledger.get_job(job.job_id)
    assert (changed.state, changed.error) == (state, "no such bucket")
    assert (changed.finished_at is None) == (state in (JobState.RUNNING, JobState.PAUSED))


def in_state(ledger: SqlLedger, state: JobState) -> Job:
    """A job that was moved there. Every state is one move away from the first."""
    job = ledger.create_job(REQUEST, driver=WORKERS)
    assert ledger.set_state(job.job_id, state, error="of before")
    return ledger.get_job(job.job_id)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(JobState, JobState)))
def test_a_job_moves_by_the_table_alone(ledger: SqlLedger, before: JobState, after: JobState) -> None:
    job = in_state(ledger, before)
    assert ledger.set_state(job.job_id, after, error="late") is (before in COMES_FROM[after])
    moved = ledger.get_job(job.job_id)
    if before in COMES_FROM[after]:
        assert (moved.state, moved.error) == (after, "late")
    else:
        assert moved == job


@pytest.mark.parametrize("state", JobState)
def test_a_move_whose_answer_was_lost_is_found_done(ledger: SqlLedger, state: JobState) -> None:
    job = in_state(ledger, state)
    assert ledger.set_state(job.job_id, state, error="of before")


def test_of_many_errors_at_once_the_first_is_the_cause(ledger: SqlLedger, job: Job) -> None:
    def fail(number: int) -> bool:
        return ledger.set_state(job.job_id, JobState.FAILED, error=f"cause {number}")

    with ThreadPoolExecutor(4) as pool:
        moved = list(pool.map(fail, range(8)))
    assert moved.count(True) == 1
    assert ledger.get_job(job.job_id).error == f"cause {moved.index(True)}"


@pytest.mark.parametrize("state", JobState)
def test_a_retry_looks_at_the_state_in_its_own_transaction(ledger: SqlLedger, state: JobState) -> None:
    job = ledger.create_job(REQUEST, driver=WORKERS)
    ledger.record_plan(job.job_id, planned(1), cursor="z", ignored=0)
    ledger.report(reported(job, "00000000", failed=("in/a",)))
    assert ledger.set_state(job.job_id, state)
    before = ledger.get_job(job.job_id)
    if state in RETRIED_FROM:
        ledger.retry_failures(job.job_id, planned(1, first=7), image_ids("in/a"))
        assert ledger.get_job(job.job_id).state is JobState.RUNNING
        return
    with pytest.raises(ConflictError, match=f"is {state}"):
        ledger.retry_failures(job.job_id, planned(1, first=7), image_ids("in/a"))
    assert ledger.get_job(job.job_id) == before


# Planning


def test_a_plan_moves_cursor_and_counts_together(ledger: SqlLedger, job: Job) -> None:
    assert ledger.record_plan(job.job_id, planned(4, 3), cursor="in/!'\n", ignored=2)
    assert ledger.record_plan(job.job_id, [], after="in/!'\n", cursor="in/\U0001f600", ignored=5)
    ledger.finish_planning(job.job_id, ignored=1)
    after = ledger.get_job(job.job_id)
    assert (after.cursor, after.planned_batches, after.planned) == ("in/\U0001f600", 2, True)
    assert after.counts == JobCounts(scanned=7, indexed=0, unchanged=0, failed=0, pending=7, ignored=8)
    assert list(ledger.pending(job.job_id)) == planned(4, 3)
    assert ledger.outstanding(job.job_id) == 2


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.RUNNING])
def test_nothing_is_planned_for_a_job_that_does_not_run(ledger: SqlLedger, job: Job, state: JobState) -> None:
    ledger.set_state(job.job_id, state)
    before = ledger.get_job(job.job_id)
    assert not ledger.record_plan(job.job_id, planned(4), cursor="in/b", ignored=1)
    assert ledger.get_job(job.job_id) == before


def test_the_same_plan_recorded_twice_is_there_once(ledger: SqlLedger, job: Job) -> None:
    steps: list[tuple[list[PlannedBatch], str, int]] = [
        (planned(4, 3), "in/b", 2),
        ([], "in/c", 1),
        (planned(2, first=2), "in/d", 0),
    ]
    after = None
    for batches, cursor, ignored in steps:
        for _ in range(2):
            assert ledger.record_plan(job.job_id, batches, after=after, cursor=cursor, ignored=ignored)
        after = cursor
    assert (counts(ledger, job).scanned, counts(ledger, job).ignored) == (9, 3)
    assert ledger.get_job(job.job_id).planned_batches == 3


@pytest.mark.parametrize(
    ("before", "cursor"),
    [("in/b", "in/a"), ("in/a", "in/Z"), ("in/\U0001f600", "in/\uef80"), ("in/ab", "in/a")],
)
def test_the_cursor_never_moves_back_in_byte_order(
    ledger: SqlLedger, job: Job, before: str, cursor: str
) -> None:
    assert ledger.record_plan(job.job_id, planned(4), cursor=before, ignored=0)
    present = ledger.get_job(job.job_id)
    with pytest.raises(PictorError, match="the listing is out of order"):
        ledger.record_plan(job.job_id, planned(4, first=1), after=before, cursor=cursor, ignored=1)
    assert ledger.get_job(job.job_id) == present
    assert ledger.record_plan(job.job_id, planned(4, first=1), after=before, cursor=before + "!", ignored=1)


@pytest.mark.parametrize("after", [None, "in/a", "in/c"])
def test_a_planner_that_another_has_overtaken_writes_nothing(
    ledger: SqlLedger, job: Job, after: str | None
) -> None:
    """Wherever its own stretch ends: some of its keys are in the other's batches."""
    ledger.record_plan(job.job_id, planned(4), cursor="in/b", ignored=0)
    before = ledger.get_job(job.job_id)
    for cursor in ("in/a", "in/b", "in/z"):
        assert not ledger.record_plan(job.job_id, planned(4, first=7), after=after, cursor=cursor, ignored=1)
    assert ledger.get_job(job.job_id) == before


def test_a_path_that_is_taken_is_refused_and_nothing_is_written(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(4), cursor="in/b", ignored=0)
    before = ledger.get_job(job.job_id)
    with pytest.raises(PictorError, match="00000000"):
        ledger.record_plan(job.job_id, planned(4, 4), after="in/b", cursor="in/d", ignored=3)
    assert ledger.get_job(job.job_id) == before


def test_the_end_of_planning_is_counted_once(ledger: SqlLedger, job: Job) -> None:
    ledger.finish_planning(job.job_id, ignored=3)
    ledger.finish_planning(job.job_id, ignored=3)
    assert counts(ledger, job).ignored == 3


def test_more_batches_than_a_page_are_all_pending_in_order_while_some_are_reported(
    ledger: SqlLedger, job: Job
) -> None:
    batches = planned(*[1] * 200)
    ledger.record_plan(job.job_id, batches, cursor="z", ignored=0)
    seen = []
    for batch in ledger.pending(job.job_id):
        seen.append(batch)
        ledger.report(reported(job, batch.path, indexed=1))
    assert seen == batches
    assert ledger.outstanding(job.job_id) == 0


# Reports


def test_a_report_moves_its_items_from_pending_to_their_ends(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(6, 4), cursor="z", ignored=0)
    assert ledger.report(reported(job, "00000000", indexed=3, unchanged=1, failed=("in/a", "in/b")))
    assert counts(ledger, job) == JobCounts(
        scanned=10, indexed=3, unchanged=1, failed=2, pending=4, ignored=0
    )
    assert paths(ledger.pending(job.job_id)) == ["00000001"]
    assert ledger.seconds(job.job_id) == {"fetch": 0.25, "embed": 1.0}


def test_a_batch_counts_once_however_often_it_is_reported(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(2), cursor="z", ignored=0)
    assert ledger.report(reported(job, "00000000", indexed=1, failed=("in/a",)))
    before, kept = ledger.get_job(job.job_id), list(ledger.failures(job.job_id))
    assert not ledger.report(reported(job, "00000000", indexed=1, failed=("in/a",)))
    assert not ledger.report(reported(job, "00000000", indexed=0, failed=("in/b", "in/c")))
    assert (ledger.get_job(job.job_id), list(ledger.failures(job.job_id))) == (before, kept)


def test_a_report_that_does_not_add_up_is_refused(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(4), cursor="z", ignored=0)
    with pytest.raises(PictorError, match="3 items given, 4 planned"):
        ledger.report(reported(job, "00000000", indexed=2, failed=("in/a",)))
    assert counts(ledger, job).pending == 4
    assert list(ledger.failures(job.job_id)) == []


def test_a_report_for_an_unknown_batch_is_a_message_error(ledger: SqlLedger, job: Job) -> None:
    with pytest.raises(MessageError, match="00000007"):
        ledger.report(reported(job, "00000007", indexed=1))


def test_failures_come_back_whole_and_in_byte_order_of_their_keys(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(len(ODD_KEYS)), cursor="z", ignored=0)
    ledger.report(reported(job, "00000000", failed=ODD_KEYS))
    in_order = sorted(ODD_KEYS, key=lambda key: key.encode())
    assert list(ledger.failures(job.job_id)) == [
        Failure(ref=gone.ref, batch_path="00000000", stage=gone.stage, reason=gone.reason, detail=gone.detail)
        for gone in rejected(*in_order)
    ]
    assert [ledger.find_failure(job.job_id, id_) for id_ in image_ids(*in_order)] == list(
        ledger.failures(job.job_id)
    )
    assert ledger.find_failure(job.job_id, "0" * 32) is None


def test_failures_go_on_behind_any_key(ledger: SqlLedger, job: Job) -> None:
    keys = sorted(["a", "a b", "ä", "B", "z/1"], key=str.encode)
    ledger.record_plan(job.job_id, planned(len(keys)), cursor="z", ignored=0)
    ledger.report(reported(job, "00000000", failed=keys))
    for place, key in enumerate(keys):
        behind = [failure.ref.key for failure in ledger.failures(job.job_id, start_after=key)]
        assert behind == keys[place + 1 :]


def test_a_second_failure_of_an_image_replaces_the_first(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(1, 1), cursor="z", ignored=0)
    ledger.report(reported(job, "00000000", failed=("in/a",)))
    second = BatchReport(
        job_id=job.job_id,
        path="00000001",
        indexed=0,
        unchanged=0,
        rejected=rejected("in/a", reason=Reason.TIMEOUT),
    )
    ledger.report(second)
    assert [(gone.batch_path, gone.reason) for gone in ledger.failures(job.job_id)] == [
        ("00000001", Reason.TIMEOUT)
    ]


def test_eight_threads_that_report_everything_twice_count_everything_once(
    ledger: SqlLedger, job: Job
) -> None:
    batches = planned(*[3] * 64)
    ledger.record_plan(job.job_id, batches, cursor="z", ignored=0)
    ledger.finish_planning(job.job_id, ignored=0)
    start = threading.Barrier(8, timeout=30)

    def work(thread: int) -> int:
        start.wait()
        mine = batches[thread % 4 :: 4]  # each batch has two threads
        fresh = 0
        for batch in mine:
            fresh += ledger.report(reported(job, batch.path, indexed=1, unchanged=1, failed=(batch.path,)))
            ledger.finish_if_done(job.job_id)
        return fresh

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(work, range(8))) == 64
    after = ledger.get_job(job.job_id)
    assert after.counts == JobCounts(scanned=192, indexed=64, unchanged=64, failed=64, pending=0, ignored=0)
    assert after.state is JobState.COMPLETED
    assert len(list(ledger.failures(job.job_id))) == 64


def test_eight_threads_that_plan_at_once_wait_for_one_another(ledger: SqlLedger) -> None:
    jobs = [ledger.create_job(REQUEST, driver=WORKERS) for _ in range(8)]
    start = threading.Barrier(8, timeout=30)

    def plan(job: Job) -> int:
        start.wait()
        cursors = [None, *(f"{number:02d}" for number in range(25))]
        return sum(
            ledger.record_plan(job.job_id, planned(1, first=n), after=after, cursor=cursor or "", ignored=0)
            for n, (after, cursor) in enumerate(itertools.pairwise(cursors))
        )

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(plan, jobs)) == [25] * 8
    assert [counts(ledger, job).pending for job in jobs] == [25] * 8


def test_eight_threads_that_submit_under_one_id_get_one_job(ledger: SqlLedger) -> None:
    start = threading.Barrier(8, timeout=30)

    def submit(thread: int) -> list[Job]:
        start.wait()
        wanted = dataclasses.replace(REQUEST, prefix=f"{thread}/")
        return [ledger.create_job(wanted, driver=WORKERS, job_id=f"same-{n}") for n in range(10)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(submit, range(8)))
    assert all(answer == answers[0] for answer in answers)


# Splitting


def test_two_halves_stand_in_the_place_of_a_split_batch(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(5, 1), cursor="z", ignored=0)
    halves = [PlannedBatch(path=f"00000000.{n}", items=2 + n, body=b"half") for n in (0, 1)]
    before = counts(ledger, job)
    assert ledger.split_batch(job.job_id, "00000000", halves)
    assert counts(ledger, job) == before
    assert paths(ledger.pending(job.job_id)) == ["00000000.0", "00000000.1", "00000001"]
    assert not ledger.split_batch(job.job_id, "00000000", halves)
    assert not ledger.report(reported(job, "00000000", indexed=5)), "the halves count, not the whole"
    assert ledger.report(reported(job, "00000000.1", indexed=3))
    assert counts(ledger, job) == JobCounts(scanned=6, indexed=3, unchanged=0, failed=0, pending=3, ignored=0)


def test_halves_that_lose_an_image_are_refused(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(5), cursor="z", ignored=0)
    with pytest.raises(PictorError, match="4 items given, 5 planned"):
        ledger.split_batch(job.job_id, "00000000", planned(2, 2, first=10))
    assert paths(ledger.pending(job.job_id)) == ["00000000"]


def test_a_reported_batch_cannot_be_split(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(2), cursor="z", ignored=0)
    ledger.report(reported(job, "00000000", indexed=2))
    assert not ledger.split_batch(job.job_id, "00000000", planned(1, 1, first=10))
    assert ledger.outstanding(job.job_id) == 0


# Messages that come twice


def test_a_batch_is_closed_once_it_is_reported_or_split(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(1, 2, 1), cursor="z", ignored=0)
    ledger.report(reported(job, "00000000", indexed=1))
    ledger.split_batch(job.job_id, "00000001", planned(1, 1, first=11))
    status = {
        path: ledger.find_batch(job.job_id, path).status for path in ("00000000", "00000001", "00000002", "x")
    }
    assert status == {
        "00000000": BatchStatus.CLOSED,
        "00000001": BatchStatus.CLOSED,
        "00000002": BatchStatus.OPEN,
        "x": BatchStatus.UNKNOWN,
    }
    assert ledger.find_batch("no-job", "00000002").status is BatchStatus.UNKNOWN


def test_an_open_batch_comes_with_its_planned_message_and_its_driver(ledger: SqlLedger, job: Job) -> None:
    [batch] = planned(1)
    ledger.record_plan(job.job_id, [batch], cursor="z", ignored=0)
    found = ledger.find_batch(job.job_id, batch.path)
    assert found == BatchRecord(
        status=BatchStatus.OPEN, body=batch.body, driver=job.driver, job_state=JobState.RUNNING
    )
    ledger.report(reported(job, batch.path, indexed=1))
    assert ledger.find_batch(job.job_id, batch.path) == dataclasses.replace(
        found, status=BatchStatus.CLOSED, body=b""
    )


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (JobState.RUNNING, BatchStatus.OPEN),
        (JobState.PAUSED, BatchStatus.OPEN),
        (JobState.CANCELLED, BatchStatus.CLOSED),
        (JobState.FAILED, BatchStatus.OPEN),  # its planning failed; what is planned can still be done
    ],
)
def test_only_a_cancelled_job_closes_its_pending_batches(
    ledger: SqlLedger, job: Job, state: JobState, status: BatchStatus
) -> None:
    ledger.record_plan(job.job_id, planned(1), cursor="z", ignored=0)
    ledger.set_state(job.job_id, state)
    assert ledger.find_batch(job.job_id, "00000000").status is status


# Retries and the end


def test_retried_failures_are_pending_again_and_no_other_number_moves(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(3, 2), cursor="z", ignored=0)
    ledger.finish_planning(job.job_id, ignored=0)
    ledger.report(reported(job, "00000000", indexed=1, failed=("in/a", "in/b")))
    ledger.report(reported(job, "00000001", unchanged=1, failed=("in/c",)))
    assert ledger.finish_if_done(job.job_id)
    again = [PlannedBatch(path="retry1-00000000", items=2, body=b"again")]
    for _ in range(2):  # the second call is a repetition and changes nothing
        ledger.retry_failures(job.job_id, again, image_ids("in/a", "in/c"))
        after = ledger.get_job(job.job_id)
        assert after.counts == JobCounts(scanned=5, indexed=1, unchanged=1, failed=1, pending=2, ignored=0)
        assert (after.state, after.planned, after.finished_at) == (JobState.RUNNING, True, None)
    assert [gone.ref.key for gone in ledger.failures(job.job_id)] == ["in/b"]
    assert list(ledger.pending(job.job_id)) == again
    ledger.report(reported(job, "retry1-00000000", indexed=1, failed=("in/c",)))
    assert ledger.finish_if_done(job.job_id)
    assert counts(ledger, job) == JobCounts(scanned=5, indexed=2, unchanged=1, failed=2, pending=0, ignored=0)


@pytest.mark.parametrize(
    ("items", "keys"),
    [(2, ("in/a",)), (1, ("in/a", "in/b")), (2, ("in/a", "in/never")), (1, ()), (0, ("in/a",))],
)
def test_a_retry_that_does_not_add_up_writes_nothing(
    ledger: SqlLedger, job: Job, items: int, keys: tuple[str, ...]
) -> None:
    ledger.record_plan(job.job_id, planned(2), cursor="z", ignored=0)
    ledger.finish_planning(job.job_id, ignored=0)
    ledger.report(reported(job, "00000000", failed=("in/a", "in/b")))
    ledger.finish_if_done(job.job_id)
    before, kept = ledger.get_job(job.job_id), list(ledger.failures(job.job_id))
    with pytest.raises(PictorError, match=f"retry batches of {items} items"):
        ledger.retry_failures(job.job_id, planned(items, first=9) if items else [], image_ids(*keys))
    assert (ledger.get_job(job.job_id), list(ledger.failures(job.job_id))) == (before, kept)


def test_a_job_is_complete_when_the_listing_and_every_batch_are_at_their_end(
    ledger: SqlLedger, job: Job
) -> None:
    ledger.record_plan(job.job_id, planned(1), cursor="z", ignored=0)
    ledger.report(reported(job, "00000000", indexed=1))
    assert not ledger.finish_if_done(job.job_id), "the listing is not at its end"
    ledger.record_plan(job.job_id, planned(1, first=1), after="z", cursor="zz", ignored=0)
    ledger.finish_planning(job.job_id, ignored=0)
    assert not ledger.finish_if_done(job.job_id), "one batch has no report"
    ledger.report(reported(job, "00000001", indexed=1))
    assert ledger.finish_if_done(job.job_id)
    finished = ledger.get_job(job.job_id)
    assert (finished.state, finished.finished_at is not None) == (JobState.COMPLETED, True)
    assert ledger.finish_if_done(job.job_id)
    assert ledger.get_job(job.job_id) == finished
    assert ledger.find_unfinished(REQUEST, driver=WORKERS) is None


@pytest.mark.parametrize("state", [JobState.PAUSED, JobState.CANCELLED, JobState.FAILED])
def test_a_stopped_job_is_not_completed_by_its_last_report(
    ledger: SqlLedger, job: Job, state: JobState
) -> None:
    ledger.record_plan(job.job_id, planned(1), cursor="z", ignored=0)
    ledger.finish_planning(job.job_id, ignored=0)
    ledger.set_state(job.job_id, state)
    assert ledger.report(reported(job, "00000000", indexed=1))
    assert not ledger.finish_if_done(job.job_id)
    assert ledger.get_job(job.job_id).state is state


# The outbox


def test_a_running_job_looks_different_after_each_move_and_the_same_while_it_stands_still(
    ledger: SqlLedger, job: Job
) -> None:
    looks: list[object] = []

    def look() -> None:
        looks.append(ledger.running_looks()[job.job_id])

    look()
    ledger.record_plan(job.job_id, planned(2, 2), cursor="b", ignored=0)
    look()
    ledger.report(reported(job, "00000000", indexed=2))
    look()
    ledger.record_plan(job.job_id, planned(2, first=2), after="b", cursor="c", ignored=0)
    look()  # as many are pending as two looks ago
    ledger.finish_planning(job.job_id, ignored=0)
    look()
    assert len(set(looks)) == len(looks)
    ledger.claim_step(job.job_id, 1, "n")  # a planner that finds nothing to do is no progress
    ledger.mark_published(job.job_id, ["00000001"])
    assert ledger.running_looks() == {job.job_id: looks[-1]}


def test_only_running_jobs_are_looked_at(ledger: SqlLedger, job: Job) -> None:
    ledger.set_state(job.job_id, JobState.PAUSED)
    assert ledger.running_looks() == {}


def test_a_batch_leaves_the_outbox_when_it_is_published_reported_or_split(
    ledger: SqlLedger, job: Job
) -> None:
    ledger.record_plan(job.job_id, planned(1, 2, 1, 1), cursor="z", ignored=0)
    assert paths(ledger.unpublished(job.job_id, 2)) == ["00000000", "00000001"]
    for _ in range(2):
        ledger.mark_published(job.job_id, ["00000000"])
    ledger.split_batch(job.job_id, "00000001", planned(1, 1, first=11))
    ledger.report(reported(job, "00000002", indexed=1))
    assert ledger.unpublished(job.job_id, 10) == [*planned(1, first=3), *planned(1, 1, first=11)]
    assert ledger.outstanding(job.job_id) == 4


# The invariant

Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["plan", "report", "split", "retry", "finish", "pause"]),
        st.integers(0, 7),
        st.integers(0, 7),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def file_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlLedger]:
    with (
        empty_database("sqlite", Path(tmp_path_factory.mktemp("property"))) as url,
        open_ledger(url) as ledger,
    ):
        yield ledger


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_counts_add_up_after_any_sequence_of_operations(file_ledger: SqlLedger, steps: list[Step]) -> None:
    job = file_ledger.create_job(REQUEST, driver=WORKERS)
    expected = 0
    for number, (name, choice, size) in enumerate(steps):
        expected += take_step(file_ledger, job, number, name, choice, size)
        now = file_ledger.get_job(job.job_id).counts
        assert now.scanned == now.indexed + now.unchanged + now.failed + now.pending == expected
        assert now.failed == len(list(file_ledger.failures(job.job_id)))
        assert now.pending == sum(batch.items for batch in file_ledger.pending(job.job_id))


def take_step(ledger: SqlLedger, job: Job, number: int, name: str, choice: int, size: int) -> int:
    """Do one thing that is possible now. Returns how many new objects were planned."""
    waiting = list(ledger.pending(job.job_id))
    batch = waiting[choice % len(waiting)] if waiting else None
    failed = list(ledger.failures(job.job_id))[:size]
    if name == "plan":
        recorded = ledger.record_plan(
            job.job_id,
            planned(size, choice, first=10 * number),
            after=ledger.get_job(job.job_id).cursor,
            cursor=f"{number:04d}",
            ignored=1,
        )
        return size + choice if recorded else 0
    if name == "report" and batch:
        keys = [f"{batch.path}/{index}" for index in range(min(size, batch.items))]
        ledger.report(reported(job, batch.path, indexed=batch.items - len(keys), failed=keys))
    elif name == "split" and batch:
        half = batch.items // 2
        ledger.split_batch(job.job_id, batch.path, planned(half, batch.items - half, first=10 * number))
    elif name == "retry" and failed and ledger.get_job(job.job_id).state in RETRIED_FROM:
        ids = [failure.ref.image_id for failure in failed]
        ledger.retry_failures(job.job_id, planned(len(failed), first=10 * number), ids)
    elif name == "finish":
        ledger.finish_planning(job.job_id, ignored=0)
        ledger.finish_if_done(job.job_id)
    elif name == "pause":
        ledger.set_state(job.job_id, JobState.PAUSED if choice % 2 else JobState.RUNNING)
    return 0

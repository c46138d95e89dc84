"""Which plan or removal decides over an object, in SQLite and in PostgreSQL."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from typing_extensions import override

from pipeline.adapters.ledger import schema as tables
from pipeline.adapters.ledger.precedence import GRACE_S
from pipeline.adapters.ledger.rows import batch_values
from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.errors import ConflictError
from pipeline.ports import NO_FINDINGS, VersionBook
from pipeline.types import (
    WORKERS,
    BatchReport,
    FailedAt,
    Findings,
    Job,
    JobRequest,
    JobState,
    ObjectRef,
    PlannedBatch,
    Reason,
    Rejected,
    VersionEntry,
    VersionState,
    generation_of,
    indexed_version,
)

REQUEST = JobRequest(
    location="s3://shop/",
    bucket="shop",
    prefix="",
    collection="images",
    model_name="builtin",
    fingerprint="ab" * 32,
)
GENERATION = generation_of("images", "ab" * 32)
A_WHILE = timedelta(seconds=GRACE_S + 60)


def change(ledger: SqlLedger, *statements: sa.Executable) -> None:
    """Behind the ledger's back."""
    with ledger._writer.begin() as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def book(ledger: SqlLedger) -> VersionBook:
    return ledger.book


def ref_of(key: str, etag: str = "e1") -> ObjectRef:
    return ObjectRef(bucket="shop", key=key, etag=etag, size_bytes=7, modified_ms=3)


def ids_of(*keys: str) -> list[str]:
    return [ref_of(key).image_id for key in keys]


def plan(
    ledger: SqlLedger, *refs: ObjectRef, job: Job | None = None, findings: Findings = NO_FINDINGS
) -> Job:
    """A job with one batch, 00000000, of these objects."""
    job = job or ledger.create_job(REQUEST, driver=WORKERS)
    batch = PlannedBatch(path="00000000", items=len(refs), body=b"body")
    findings = replace(findings, planned=refs)
    assert ledger.record_plan(job.job_id, [batch], cursor="z", ignored=0, findings=findings)
    ledger.finish_planning(job.job_id, ignored=0)
    return job


def report(ledger: SqlLedger, job: Job, *versions: VersionEntry, path: str = "00000000") -> bool:
    rejected = [
        Rejected(ref=version.ref, stage=FailedAt.DECODE, reason=Reason.TRUNCATED, detail="")
        for version in versions
        if version.state is VersionState.FAILED
    ]
    return ledger.report(
        BatchReport(
            job_id=job.job_id,
            path=path,
            indexed=len(versions) - len(rejected),
            unchanged=0,
            rejected=tuple(rejected),
            versions=versions,
        )
    )


def entry_of(book: VersionBook, key: str) -> VersionEntry:
    [entry] = book.find(GENERATION, ids_of(key))
    return entry


def overtaken(book: VersionBook, job: Job, *keys: str, path: str = "00000000") -> list[str]:
    entries = book.overtaken(GENERATION, ids_of(*keys), job_id=job.job_id, path=path)
    return sorted(entry.ref.key for entry in entries)


# Plans


def test_a_later_plan_decides_and_an_older_batch_is_late(ledger: SqlLedger, book: VersionBook) -> None:
    older = plan(ledger, ref_of("a", "e1"), ref_of("b", "e1"))
    assert overtaken(book, older, "a", "b") == []
    newer = plan(ledger, ref_of("a", "e2"))
    assert (overtaken(book, older, "a", "b"), overtaken(book, newer, "a")) == (["a"], [])
    assert entry_of(book, "a").ref == ref_of("a", "e2")
    report(ledger, newer, indexed_version(ref_of("a", "e2")))
    assert overtaken(book, older, "a", "b") == ["a"], "also after its report"


def test_a_late_report_changes_no_entry_that_a_newer_plan_decides_over(
    ledger: SqlLedger, book: VersionBook
) -> None:
    older = plan(ledger, ref_of("a", "e1"), ref_of("b", "e1"))
    newer = plan(ledger, ref_of("a", "e2"))
    report(ledger, newer, indexed_version(ref_of("a", "e2")))
    assert report(ledger, older, indexed_version(ref_of("a", "e1")), indexed_version(ref_of("b", "e1")))
    assert entry_of(book, "a") == indexed_version(ref_of("a", "e2"))
    assert entry_of(book, "b") == indexed_version(ref_of("b", "e1"))
    assert ledger.get_job(older.job_id).counts.indexed == 2, "it counts all the same"


def test_a_plan_that_is_written_late_does_not_take_back_what_a_newer_one_decided(
    ledger: SqlLedger, book: VersionBook
) -> None:
    """Numbers are given before the long transaction, and transactions end in any order."""
    newer = plan(ledger, ref_of("a", "e2"))
    sequence = entry_of(book, "a").sequence

    class Slow(SqlLedger):
        @override
        def _two_numbers(self, job_id: str) -> tuple[int, int]:
            return sequence - 2, sequence - 1

    older = plan(Slow(ledger._engine), ref_of("a", "e1"), ref_of("b", "e1"))
    assert entry_of(book, "a").ref == ref_of("a", "e2")
    assert (overtaken(book, older, "a", "b"), overtaken(book, newer, "a")) == (["a"], [])


def test_a_plan_that_listed_before_others_decided_leaves_the_answer_to_the_store(
    ledger: SqlLedger, book: VersionBook
) -> None:
    since = book.last_sequence(GENERATION)
    newer = plan(ledger, ref_of("a", "e2"), ref_of("b"), ref_of("c"))
    [removal] = book.claim(GENERATION, [entry_of(book, "c")]).values()
    book.begin_removal(GENERATION, ids_of("c"), removal)
    late = plan(ledger, *map(ref_of, "abcd"), findings=Findings(since=since))
    assert [entry_of(book, key).ref.etag for key in "abcd"] == ["", "e1", "", "e1"]
    assert (overtaken(book, newer, *"abc"), overtaken(book, late, *"abcd")) == (["a", "b", "c"], ["a", "c"])


def test_a_listing_from_before_takes_back_no_mark_and_no_time(ledger: SqlLedger, book: VersionBook) -> None:
    since = book.last_sequence(GENERATION)
    report(ledger, plan(ledger, ref_of("a")), indexed_version(ref_of("a")))
    first = mark(ledger, "a")
    seen = replace(ref_of("a"), modified_ms=1)
    plan(ledger, findings=Findings(noted=(seen,), missing=tuple(ids_of("a")), since=since))
    assert (entry_of(book, "a").missing_in, entry_of(book, "a").ref.modified_ms) == (first.job_id, 3)


def test_a_batch_whose_object_a_later_listing_did_not_show_ends_with_a_look(
    ledger: SqlLedger, book: VersionBook
) -> None:
    job = plan(ledger, ref_of("a"))
    mark(ledger, "a")
    with pytest.raises(ConflictError, match="claimed"):
        report(ledger, job, indexed_version(ref_of("a")))
    assert overtaken(book, job, "a") == ["a"]


def test_halves_are_as_late_as_their_batch_and_a_retry_is_new(ledger: SqlLedger, book: VersionBook) -> None:
    older = plan(ledger, ref_of("a"), ref_of("b"))
    plan(ledger, ref_of("a", "e2"))
    halves = [PlannedBatch(path=f"00000000.{half}", items=1, body=b"half") for half in (0, 1)]
    assert ledger.split_batch(older.job_id, "00000000", halves)
    assert overtaken(book, older, "a", path="00000000.0") == ["a"]
    bad = VersionEntry(
        ref=ref_of("b"),
        state=VersionState.FAILED,
        vectors=0,
        stage=FailedAt.DECODE,
        reason=Reason.TRUNCATED,
    )
    report(ledger, older, bad, path="00000000.1")
    again = [PlannedBatch(path="retry1-00000000", items=1, body=b"again")]
    ledger.retry_failures(older.job_id, again, ids_of("b"))
    assert overtaken(book, older, "b", path="retry1-00000000") == []
    assert overtaken(book, older, "b", path="00000000.1") == ["b"]


def test_a_retry_of_what_a_newer_plan_decides_over_leaves_the_answer_to_the_store(
    ledger: SqlLedger, book: VersionBook
) -> None:
    bad = VersionEntry(
        ref=ref_of("a"),
        state=VersionState.FAILED,
        vectors=0,
        stage=FailedAt.DECODE,
        reason=Reason.TRUNCATED,
    )
    older = plan(ledger, ref_of("a"))
    report(ledger, older, bad)
    ledger.finish_if_done(older.job_id)
    newer = plan(ledger, ref_of("a", "e2"))
    again = [PlannedBatch(path="retry1-00000000", items=1, body=b"again")]
    ledger.retry_failures(older.job_id, again, ids_of("a"))
    assert entry_of(book, "a").ref.etag == ""
    assert overtaken(book, older, "a", path="retry1-00000000") == overtaken(book, newer, "a") == ["a"]


def test_numbers_rise_whatever_the_clock_does_and_whoever_asks(ledger: SqlLedger, database: str) -> None:
    future_us = 10**15 * 9
    plan(ledger, ref_of("a"))
    change(ledger, tables.book.update().values(sequence=future_us))  # a machine's clock was far ahead
    found: list[int] = []

    def ask_often() -> None:
        with open_ledger(database) as other:
            found.extend(other.book.sequence_at(GENERATION, datetime.now(UTC) + A_WHILE) for _ in range(20))

    threads = [threading.Thread(target=ask_often) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 40
    assert (min(found), max(found)) == (future_us + 1, future_us + 40)


def test_a_book_that_is_forgotten_goes_on_counting(ledger: SqlLedger, book: VersionBook) -> None:
    before = book.sequence_at(GENERATION, datetime.now(UTC) + A_WHILE)
    book.forget_generation(GENERATION)
    assert book.sequence_at(GENERATION, datetime.now(UTC) + A_WHILE) > before


# Claims


def test_a_claim_makes_every_older_plan_late_and_leaves_the_version_open(
    ledger: SqlLedger, book: VersionBook
) -> None:
    older = plan(ledger, ref_of("a", "e1"))
    claimed = book.claim(GENERATION, [entry_of(book, "a")])
    entry = entry_of(book, "a")
    assert (entry.ref.etag, entry.state) == ("", VersionState.PLANNED)
    assert claimed == {entry.ref.image_id: entry.sequence}
    assert overtaken(book, older, "a") == ["a"]
    mine = replace(indexed_version(ref_of("a", "e3")), sequence=entry.sequence)
    assert report(ledger, older, mine)
    assert entry_of(book, "a") == mine


def test_only_one_of_two_claims_of_the_same_entry_holds(ledger: SqlLedger, book: VersionBook) -> None:
    plan(ledger, ref_of("a"))
    seen = entry_of(book, "a")
    assert book.claim(GENERATION, [seen])
    assert book.claim(GENERATION, [seen]) == {}


# What is taken out by key


def remove(book: VersionBook, at: datetime, *keys: str) -> Sequence[VersionEntry]:
    sequence = book.sequence_at(GENERATION, at)
    newer = book.begin_removal(GENERATION, ids_of(*keys), sequence)
    book.end_removal(GENERATION, ids_of(*keys), sequence)
    return newer


def test_what_is_taken_out_is_remembered_and_an_older_batch_does_not_bring_it_back(
    ledger: SqlLedger, book: VersionBook
) -> None:
    older = plan(ledger, ref_of("a"))
    assert remove(book, datetime.now(UTC), "a", "never") == []
    assert (entry_of(book, "a").state, entry_of(book, "a").vectors) == (VersionState.REMOVED, 0)
    assert overtaken(book, older, "a") == ["a"]
    report(ledger, older, indexed_version(ref_of("a")))
    assert entry_of(book, "a").state is VersionState.REMOVED
    assert not book.holds_rows(GENERATION)
    newer = plan(ledger, ref_of("a"))
    assert report(ledger, newer, indexed_version(ref_of("a")))
    assert entry_of(book, "a") == indexed_version(ref_of("a"))


def test_a_removal_that_is_run_late_leaves_alone_what_was_planned_after_its_moment(
    ledger: SqlLedger, book: VersionBook
) -> None:
    report(ledger, plan(ledger, ref_of("a"), ref_of("b")), *(indexed_version(ref_of(key)) for key in "ab"))
    meant_at = datetime.now(UTC)
    report(ledger, plan(ledger, ref_of("a", "e2")), indexed_version(ref_of("a", "e2")))
    for _ in range(2):
        assert [entry.ref.key for entry in remove(book, meant_at, "a", "b")] == ["a"]
        assert entry_of(book, "a") == indexed_version(ref_of("a", "e2"))
        assert entry_of(book, "b").state is VersionState.REMOVED


def test_a_removal_of_this_moment_reaches_what_a_clock_that_was_ahead_has_planned(
    ledger: SqlLedger, book: VersionBook
) -> None:
    hour_us = 3_600_000_000
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    plan(ledger, ref_of("a"))
    change(ledger, tables.book.update().values(sequence=now_us + hour_us))
    report(ledger, plan(ledger, ref_of("a")), indexed_version(ref_of("a")))
    assert remove(book, datetime.now(UTC), "a") == []
    assert entry_of(book, "a").state is VersionState.REMOVED


def test_what_was_taken_out_is_forgotten_when_no_older_batch_is_left(
    ledger: SqlLedger, book: VersionBook
) -> None:
    older = plan(ledger, ref_of("a"), ref_of("b"))
    remove(book, datetime.now(UTC), "a")
    age_everything(ledger)
    newer = plan(ledger, ref_of("c"))
    report(ledger, newer, indexed_version(ref_of("c")))
    assert ledger.finish_if_done(newer.job_id)
    assert entry_of(book, "a").state is VersionState.REMOVED, "an older batch is pending"
    report(ledger, older, *(indexed_version(ref_of(key)) for key in "ab"))
    assert ledger.finish_if_done(older.job_id)
    assert book.find(GENERATION, ids_of("a")) == []
    assert entry_of(book, "b") == indexed_version(ref_of("b"))


def test_a_batch_of_a_cancelled_job_holds_nothing_for_ever(ledger: SqlLedger, book: VersionBook) -> None:
    cancelled = plan(ledger, ref_of("a"))
    remove(book, datetime.now(UTC), "a")
    ledger.set_state(cancelled.job_id, JobState.CANCELLED)
    for is_forgotten in (False, True):  # a worker may have it in hand for a while
        done = plan(ledger, ref_of("c"))
        report(ledger, done, indexed_version(ref_of("c")))
        assert ledger.finish_if_done(done.job_id)
        assert (book.find(GENERATION, ids_of("a")) == []) == is_forgotten
        age_everything(ledger)


def age_everything(ledger: SqlLedger) -> None:
    """As if an hour had passed."""
    long_ago = datetime.now(UTC) - A_WHILE
    has_ended = tables.job.c.finished_at.is_not(None)
    change(
        ledger,
        tables.version.update().values(at=long_ago),
        tables.job.update().where(has_ended).values(finished_at=long_ago),
    )


# What a job found missing


def mark(ledger: SqlLedger, *keys: str) -> Job:
    job = ledger.create_job(REQUEST, driver=WORKERS)
    ledger.record_plan(job.job_id, [], cursor="z", ignored=0, findings=Findings(missing=tuple(ids_of(*keys))))
    ledger.finish_planning(job.job_id, ignored=0)
    return job


def test_a_removal_makes_older_batches_late_before_anything_is_deleted(
    ledger: SqlLedger, book: VersionBook
) -> None:
    older = plan(ledger, ref_of("a"))
    job = mark(ledger, "a", "b")
    sequence = ledger.begin_removal(job.job_id, ids_of("a"))
    assert overtaken(book, older, "a") == ["a"]
    assert ledger.get_job(job.job_id).removing == tuple(ids_of("a"))
    assert [entry.ref.key for entry in ledger.missing(job.job_id, limit=9)] == ["a"]
    for _ in range(2):
        ledger.record_removal(job.job_id, ids_of("a"), sequence)
    assert entry_of(book, "a").state is VersionState.REMOVED, "the older batch is pending"
    assert ledger.missing(job.job_id, limit=9) == []
    ledger.forget_removing(job.job_id)
    assert ledger.get_job(job.job_id).removing == ()


def test_a_removal_takes_only_what_nobody_has_planned_since(ledger: SqlLedger, book: VersionBook) -> None:
    report(ledger, plan(ledger, ref_of("a"), ref_of("b")), *(indexed_version(ref_of(key)) for key in "ab"))
    job = mark(ledger, "a", "b")
    sequence = ledger.begin_removal(job.job_id, ids_of("a", "b"))
    newer = plan(ledger, ref_of("b", "e2"))
    ledger.record_removal(job.job_id, ids_of("a", "b"), sequence)
    assert book.find(GENERATION, ids_of("a")) == [], "no older batch is left that could bring it back"
    assert entry_of(book, "b").ref.etag == "e2"
    assert overtaken(book, newer, "b") == []
    assert ledger.get_job(job.job_id).counts.removed == 1


def test_more_batches_of_a_running_job_decide_from_then_on(ledger: SqlLedger, book: VersionBook) -> None:
    older = plan(ledger, ref_of("a"))
    job = mark(ledger)
    again = [PlannedBatch(path="again1-00000000", items=1, body=b"again")]
    for _ in range(2):
        assert ledger.plan_again(job.job_id, again, [ref_of("a", "e2")])
    assert (overtaken(book, older, "a"), entry_of(book, "a").ref.etag) == (["a"], "e2")
    assert overtaken(book, job, "a", path="again1-00000000") == []
    assert (ledger.outstanding(job.job_id), ledger.get_job(job.job_id).counts.scanned) == (1, 1)
    ledger.set_state(job.job_id, JobState.CANCELLED)
    assert not ledger.plan_again(job.job_id, [replace(again[0], path="again2-00000000")], [ref_of("a", "e3")])
    assert entry_of(book, "a").ref.etag == "e2"


# From before


def test_what_a_planner_of_the_version_before_writes_is_late_for_all_that_is_numbered(
    ledger: SqlLedger, book: VersionBook
) -> None:
    report(ledger, plan(ledger, ref_of("a", "e2")), indexed_version(ref_of("a", "e2")))
    old = ledger.create_job(REQUEST, driver=WORKERS)
    values = batch_values(old.job_id, PlannedBatch(path="00000000", items=2, body=b"b"), datetime.now(UTC))
    change(ledger, tables.batch.insert().values(values))  # as that one does, which names no sequence
    assert overtaken(book, old, "a", "never seen") == ["a"]

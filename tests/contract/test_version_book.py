"""What every version book keeps to, in SQLite and in PostgreSQL, and what reports and plans write into it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.ports import MAX_ETAG_BYTES, MAX_PATH_BYTES, VersionBook
from pipeline.types import (
    WORKERS,
    BatchReport,
    FailedAt,
    Findings,
    Job,
    JobCounts,
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
from tests.limit_texts import LETTERS, text_of

REQUEST = JobRequest(
    location="s3://shop/in/",
    bucket="shop",
    prefix="in/",
    collection="images",
    model_name="builtin",
    fingerprint="ab" * 32,
    batch_items=4,
)
GENERATION = generation_of("images", "ab" * 32)
# Where orders of languages, of UTF-16 and of bytes differ, and keys longer than an index entry may be.
ODD_KEYS = (
    "a",
    "Z",
    "a b",
    "a-b",
    "a/b",
    "a.jpg",
    "in/'\";--.jpg",
    "in/line\nbreak.jpg",
    "in/\U0001f600.jpg",
    "in/\uef80.jpg",
    "in/é",
    "in/%_\\",
    "l" * 512,
    "l" * 512 + "a",
    "l" * 512 + "Z",
    "l" * 3000,
    "\U0001f600" * 900,
    "\U0001f600" * 900 + "x",
)


@pytest.fixture
def book(ledger: SqlLedger) -> VersionBook:
    return ledger.book


@pytest.fixture
def job(ledger: SqlLedger) -> Job:
    return ledger.create_job(REQUEST, driver=WORKERS)


def ref_of(key: str, etag: str = "e1", *, bucket: str = "shop", modified_ms: int | None = None) -> ObjectRef:
    return ObjectRef(bucket=bucket, key=key, etag=etag, size_bytes=5 * 2**40, modified_ms=modified_ms)


def indexed(key: str, etag: str = "e1") -> VersionEntry:
    return indexed_version(ref_of(key, etag))


def failed(key: str, etag: str = "e1", reason: Reason = Reason.TRUNCATED) -> VersionEntry:
    return VersionEntry(
        ref=ref_of(key, etag),
        state=VersionState.FAILED,
        vectors=0,
        stage=FailedAt.DECODE,
        reason=reason,
        detail=f"{key} ends early",
    )


def keys(entries: Iterator[VersionEntry]) -> list[str]:
    return [entry.ref.key for entry in entries]


def entry_of(book: VersionBook, key: str) -> VersionEntry:
    [entry] = [one for one in book.list_versions(GENERATION, "shop", key) if one.ref.key == key]
    return entry


def planned(*items: int, first: int = 0) -> list[PlannedBatch]:
    return [
        PlannedBatch(path=f"{number:08d}", items=count, body=b"body")
        for number, count in enumerate(items, first)
    ]


def report(ledger: SqlLedger, job: Job, path: str, *entries: VersionEntry) -> bool:
    bad = tuple(
        Rejected(ref=entry.ref, stage=FailedAt.DECODE, reason=Reason.TRUNCATED, detail=entry.detail)
        for entry in entries
        if entry.state is VersionState.FAILED
    )
    return ledger.report(
        BatchReport(
            job_id=job.job_id,
            path=path,
            indexed=len(entries) - len(bad),
            unchanged=0,
            rejected=bad,
            versions=entries,
        )
    )


# Lists


def test_entries_come_back_as_they_were_written(book: VersionBook) -> None:
    entries = [
        replace(indexed("a"), ref=ref_of("a", modified_ms=1_790_000_000_123)),
        failed("b"),
        replace(failed("c", reason=Reason.TIMEOUT), vectors=1),
        replace(indexed("d"), state=VersionState.NOTHING_FOUND, vectors=0),
    ]
    for _ in range(2):
        book.write(GENERATION, entries)
    found = list(book.list_versions(GENERATION, "shop"))
    assert found == [entries[0], *(replace(e, attempts=2) for e in entries[1:3]), entries[3]]
    assert found[0].ref.modified_ms == 1_790_000_000_123


def test_keys_are_listed_in_the_order_of_their_bytes_from_any_key_on(book: VersionBook) -> None:
    book.write(GENERATION, [indexed(key) for key in Random(1).sample(ODD_KEYS, len(ODD_KEYS))])
    in_order = sorted(ODD_KEYS, key=str.encode)
    assert keys(book.list_versions(GENERATION, "shop")) == in_order
    for place, key in enumerate(in_order):
        assert keys(book.list_versions(GENERATION, "shop", start_after=key)) == in_order[place + 1 :]
    for prefix in ("in/", "a", "l" * 512, "l" * 513, "\U0001f600", "nothing"):
        assert keys(book.list_versions(GENERATION, "shop", prefix)) == [
            key for key in in_order if key.startswith(prefix)
        ]
        assert keys(book.list_versions(GENERATION, "shop", prefix, start_after="a")) == [
            key for key in in_order if key.startswith(prefix) and key > "a"
        ]


@pytest.mark.parametrize("letter", LETTERS.values())
def test_the_longest_texts_are_held(book: VersionBook, letter: str) -> None:
    bucket = text_of(MAX_PATH_BYTES, letter, start="/")
    ref = ref_of(text_of(MAX_PATH_BYTES, letter), text_of(MAX_ETAG_BYTES, letter), bucket=bucket)
    book.record_fill(GENERATION, [indexed_version(ref)], filled_to=None)
    assert [entry.ref for entry in book.list_versions(GENERATION, bucket)] == [ref]


def test_long_lists_come_in_pages_without_a_gap(book: VersionBook) -> None:
    names = [f"{number:05d}" for number in range(2500)]
    book.write(GENERATION, [indexed(name) for name in names])
    assert keys(book.list_versions(GENERATION, "shop")) == names
    by_id = list(book.list_by_id(GENERATION))
    assert [entry.ref.image_id for entry in by_id] == sorted(ref_of(name).image_id for name in names)


def test_entries_may_be_written_and_lose_their_rows_while_a_list_is_read(book: VersionBook) -> None:
    names = [f"{number:05d}" for number in range(2500)]
    book.write(GENERATION, [indexed(name) for name in names])
    listing = book.list_versions(GENERATION, "shop")
    first = next(listing).ref
    book.lose_rows(GENERATION, {first.image_id: 0, ref_of("02000").image_id: 0})
    book.write(GENERATION, [indexed("02499x")])
    assert keys(listing) == [*names[1:], "02499x"]


def test_generations_and_buckets_are_apart(book: VersionBook) -> None:
    book.write(GENERATION, [indexed("a"), indexed_version(ref_of("b", bucket="/home/me/" + "x" * 4000))])
    book.write("images__00000000", [indexed("c")])
    assert keys(book.list_versions(GENERATION, "shop")) == ["a"]
    assert keys(book.list_versions(GENERATION, "/home/me/" + "x" * 4000)) == ["b"]
    assert sorted(keys(book.list_by_id(GENERATION))) == ["a", "b"]
    book.forget_generation(GENERATION)
    assert list(book.list_by_id(GENERATION)) == []
    assert keys(book.list_versions("images__00000000", "shop")) == ["c"]


def test_what_has_lost_its_rows_is_planned_in_no_version_and_keeps_its_number(book: VersionBook) -> None:
    book.write(
        GENERATION, [replace(indexed("a"), sequence=5), replace(indexed("b"), sequence=5), failed("c")]
    )
    for _ in range(2):
        book.lose_rows(GENERATION, {ref_of("a").image_id: 5, ref_of("b").image_id: 4})
    a = entry_of(book, "a")
    assert (a.state, a.ref.etag, a.vectors, a.sequence) == (VersionState.PLANNED, "", 0, 5)
    assert entry_of(book, "b") == replace(indexed("b"), sequence=5), "reported since it was read"
    book.lose_rows(GENERATION)
    assert not book.holds_rows(GENERATION)
    assert entry_of(book, "c") == failed("c")
    book.write(GENERATION, [replace(indexed("a"), sequence=4)])
    assert entry_of(book, "a") == a, "a late batch stays late"


def test_what_was_taken_out_is_remembered_when_all_rows_are_lost(book: VersionBook) -> None:
    book.write(GENERATION, [indexed("a"), indexed("b")])
    image_ids = [ref_of("a").image_id]
    book.begin_removal(GENERATION, image_ids, 7)
    book.end_removal(GENERATION, image_ids, 7)
    book.lose_rows(GENERATION)
    assert (entry_of(book, "a").state, entry_of(book, "a").sequence) == (VersionState.REMOVED, 7)
    assert entry_of(book, "b").state is VersionState.PLANNED


def test_the_index_by_key_serves_a_page_of_a_list(tmp_path: Path) -> None:
    """In SQLite; PostgreSQL chooses by the size of a table."""
    asked: list[tuple[str, tuple[object, ...]]] = []
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger, ledger._engine.connect() as connection:
        sa.event.listen(ledger._engine, "before_cursor_execute", lambda *args: asked.append(args[2:4]))
        list(ledger.book.list_versions(GENERATION, "shop", "in/", start_after="in/a"))
        statement, values = asked[-1]
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any("version_by_key (generation=? AND bucket_id=? AND <expr>>?)" in step for step in plan), plan
    assert not any("TEMP B-TREE FOR ORDER BY" in step for step in plan), plan


# Filling


def test_a_book_is_filled_from_where_it_was_left_and_knows_when_it_is_full(book: VersionBook) -> None:
    assert book.filled_to(GENERATION) == ""
    book.record_fill(GENERATION, [indexed("a")], filled_to="0a")
    assert book.filled_to(GENERATION) == "0a"
    book.record_fill(GENERATION, [], filled_to=None)
    assert book.filled_to(GENERATION) is None
    book.forget_generation(GENERATION)
    assert book.filled_to(GENERATION) == ""


def test_filling_leaves_alone_what_a_report_has_written(book: VersionBook) -> None:
    book.write(GENERATION, [failed("a", "e2")])
    for _ in range(2):
        book.record_fill(GENERATION, [indexed("a", "e1"), indexed("b")], filled_to="x")
    assert entry_of(book, "a") == failed("a", "e2")
    assert entry_of(book, "b") == indexed("b")


def test_whether_anything_is_in_the_index(book: VersionBook) -> None:
    assert not book.holds_rows(GENERATION)
    book.write(GENERATION, [failed("a")])
    assert not book.holds_rows(GENERATION)
    book.write(GENERATION, [indexed("b")])
    assert book.holds_rows(GENERATION)


def test_copies_are_found_among_what_is_indexed(book: VersionBook) -> None:
    book.write(
        GENERATION, [indexed("a", "same"), indexed("b", "same"), failed("c", "bad"), indexed("d", "other")]
    )
    book.write("images__00000000", [indexed("e", "elsewhere")])
    found = book.find_copies(GENERATION, ["same", "bad", "elsewhere", "unknown", "same"])
    assert found in ([ref_of("a").image_id], [ref_of("b").image_id])
    assert book.find_copies(GENERATION, []) == []


# Reports


def test_a_report_writes_its_versions_and_one_that_comes_again_writes_none(
    ledger: SqlLedger, job: Job
) -> None:
    ledger.record_plan(job.job_id, planned(2), cursor="z", ignored=0)
    assert report(ledger, job, "00000000", indexed("a"), failed("b"))
    assert not report(ledger, job, "00000000", indexed("a", "e2"), indexed("c"))
    assert list(ledger.book.list_versions(GENERATION, "shop")) == [indexed("a"), failed("b")]


def test_a_report_of_a_worker_that_knows_no_book_changes_no_entry(ledger: SqlLedger, job: Job) -> None:
    ledger.record_plan(job.job_id, planned(1), cursor="z", ignored=0)
    ledger.report(BatchReport(job_id=job.job_id, path="00000000", indexed=1, unchanged=0, rejected=()))
    assert list(ledger.book.list_by_id(GENERATION)) == []


def test_attempts_count_how_often_one_version_was_tried(ledger: SqlLedger, job: Job) -> None:
    findings = Findings(planned=(ref_of("a"),))
    ledger.record_plan(job.job_id, planned(1, 1, 1), cursor="z", ignored=0, findings=findings)
    for path, attempts in (("00000000", 1), ("00000001", 2)):
        report(ledger, job, path, failed("a"))
        assert entry_of(ledger.book, "a").attempts == attempts
    report(ledger, job, "00000002", failed("a", "e2"))
    assert entry_of(ledger.book, "a").attempts == 1


# Plans


def test_what_a_planner_settles_counts_at_once_and_once(ledger: SqlLedger, job: Job) -> None:
    known = Rejected(ref=ref_of("in/b"), stage=FailedAt.DECODE, reason=Reason.EMPTY, detail="0 bytes")
    findings = Findings(unchanged=5, known=(known,), held=6, lost=1)
    for _ in range(2):  # the second call is a repetition
        assert ledger.record_plan(job.job_id, planned(3), cursor="in/c", ignored=2, findings=findings)
        assert ledger.get_job(job.job_id).counts == JobCounts(
            scanned=9, indexed=0, unchanged=5, failed=1, pending=3, ignored=2
        )
    more = Findings(unchanged=10_000)
    assert ledger.record_plan(job.job_id, [], after="in/c", cursor="in/d", ignored=0, findings=more)
    after = ledger.get_job(job.job_id)
    assert (after.counts.unchanged, after.planned_batches, after.held, after.lost) == (10_005, 1, 6, 1)
    [failure] = ledger.failures(job.job_id)
    assert (failure.ref, failure.reason, failure.detail) == (known.ref, known.reason, known.detail)
    assert [batch.path for batch in ledger.pending(job.job_id)] == ["00000000"]
    assert ledger.unpublished(job.job_id, 10) == planned(3)


def test_a_planner_of_a_stopped_job_settles_nothing(ledger: SqlLedger, job: Job) -> None:
    ledger.book.write(GENERATION, [indexed("in/a")])
    ledger.set_state(job.job_id, JobState.PAUSED)
    findings = Findings(unchanged=1, missing=(ref_of("in/a").image_id,), held=2, lost=1)
    assert not ledger.record_plan(job.job_id, [], cursor="in/b", ignored=0, findings=findings)
    after = ledger.get_job(job.job_id)
    assert (after.counts.scanned, after.held, after.removals_due) == (0, 0, False)
    assert entry_of(ledger.book, "in/a").missing_in == ""


def test_known_failures_can_be_retried_like_those_of_a_batch(ledger: SqlLedger, job: Job) -> None:
    known = tuple(
        Rejected(ref=ref_of(key), stage=FailedAt.DECODE, reason=Reason.EMPTY, detail="") for key in ("a", "b")
    )
    ledger.book.write(GENERATION, [failed("a"), failed("b")])
    findings = Findings(unchanged=3, known=known)
    ledger.record_plan(job.job_id, [], cursor="z", ignored=0, findings=findings)
    ledger.finish_planning(job.job_id, ignored=0)
    again = [PlannedBatch(path="retry1-00000000", items=1, body=b"again")]
    ledger.retry_failures(job.job_id, again, [ref_of("a").image_id])
    assert ledger.get_job(job.job_id).counts == JobCounts(
        scanned=5, indexed=0, unchanged=3, failed=1, pending=1, ignored=0
    )
    assert entry_of(ledger.book, "a").state is VersionState.PLANNED
    assert entry_of(ledger.book, "b").state is VersionState.FAILED


def test_what_is_planned_is_entered_before_any_vector_can_be_written(ledger: SqlLedger, job: Job) -> None:
    ledger.book.write(GENERATION, [indexed("in/b", "e0")])
    refs = (ref_of("in/a", modified_ms=7), ref_of("in/b", "e1"), ref_of("in/\U0001f600'\n\"\\", "e1"))
    ledger.record_plan(job.job_id, planned(3), cursor="z", ignored=0, findings=Findings(planned=refs))
    new, known, odd = ledger.book.list_versions(GENERATION, "shop")
    assert (new.ref, new.ref.modified_ms, new.state, new.vectors) == (refs[0], 7, VersionState.PLANNED, 0)
    assert (known.ref.etag, known.state, known.vectors) == ("e1", VersionState.PLANNED, 1)
    assert odd.ref == refs[2]
    report(ledger, job, "00000000", *(indexed_version(ref) for ref in refs))
    assert {entry.state for entry in ledger.book.list_by_id(GENERATION)} == {VersionState.INDEXED}
    assert [entry.attempts for entry in ledger.book.list_by_id(GENERATION)] == [1, 1, 1]


def test_what_a_planner_notes_is_known_the_next_time(ledger: SqlLedger, job: Job) -> None:
    ledger.book.write(GENERATION, [indexed("in/a"), indexed("in/b", "e2")])
    noted = (ref_of("in/a", modified_ms=9), ref_of("in/b", "e1", modified_ms=9))
    ledger.record_plan(job.job_id, [], cursor="z", ignored=0, findings=Findings(unchanged=2, noted=noted))
    assert entry_of(ledger.book, "in/a").ref.modified_ms == 9
    assert entry_of(ledger.book, "in/b").ref.modified_ms is None, "reported meanwhile in another version"


# Removal


def mark(ledger: SqlLedger, job: Job, *names: str, cursor: str = "z") -> None:
    missing = tuple(ref_of(name).image_id for name in names)
    ledger.record_plan(job.job_id, [], cursor=cursor, ignored=0, findings=Findings(missing=missing))


def test_what_is_missing_keeps_its_job_from_ending_until_it_is_removed(ledger: SqlLedger, job: Job) -> None:
    ledger.book.write(GENERATION, [indexed("in/a"), failed("in/b"), indexed("in/c")])
    mark(ledger, job, "in/a", "in/b")
    ledger.finish_planning(job.job_id, ignored=0)
    assert ledger.get_job(job.job_id).removals_due
    assert not ledger.finish_if_done(job.job_id)
    missing = ledger.missing(job.job_id, limit=10)
    assert sorted(entry.ref.key for entry in missing) == ["in/a", "in/b"]
    assert len(ledger.missing(job.job_id, limit=1)) == 1
    image_ids = [entry.ref.image_id for entry in missing]
    sequence = ledger.begin_removal(job.job_id, image_ids)
    for _ in range(2):
        ledger.record_removal(job.job_id, image_ids, sequence)
        assert ledger.get_job(job.job_id).counts.removed == 1, "what failed was never in the index"
    ledger.finish_removals(job.job_id)
    assert ledger.finish_if_done(job.job_id)
    assert keys(ledger.book.list_versions(GENERATION, "shop")) == ["in/c"]


def test_a_refusal_is_said_by_a_job_that_is_done(ledger: SqlLedger, job: Job) -> None:
    ledger.book.write(GENERATION, [indexed("in/a")])
    mark(ledger, job, "in/a")
    ledger.finish_planning(job.job_id, ignored=0)
    ledger.finish_removals(job.job_id, error="too many")
    assert ledger.finish_if_done(job.job_id)
    done = ledger.get_job(job.job_id)
    assert (done.state, done.error, done.counts.removed) == (JobState.COMPLETED, "too many", 0)


def test_what_is_seen_or_written_again_is_not_missing_any_more(ledger: SqlLedger, job: Job) -> None:
    ledger.book.write(GENERATION, [indexed(key) for key in ("in/a", "in/b", "in/c", "in/d")])
    mark(ledger, job, "in/a", "in/b", "in/c", "in/d")
    other = ledger.create_job(REQUEST, driver=WORKERS)
    findings = Findings(unchanged=1, noted=(ref_of("in/a"),), planned=(ref_of("in/b"),))
    ledger.record_plan(other.job_id, planned(1), cursor="z", ignored=0, findings=findings)
    report(ledger, other, "00000000", indexed("in/c"))
    assert keys(iter(ledger.missing(job.job_id, limit=10))) == ["in/d"]


def test_what_is_there_after_all_is_not_missing_any_more(ledger: SqlLedger, job: Job) -> None:
    ledger.book.write(GENERATION, [indexed("in/a"), indexed("in/b")])
    mark(ledger, job, "in/a", "in/b")
    for _ in range(2):  # safe to repeat
        ledger.note_present(job.job_id, [ref_of("in/a").image_id])
    assert keys(iter(ledger.missing(job.job_id, limit=10))) == ["in/b"]
    assert keys(ledger.book.list_versions(GENERATION, "shop")) == ["in/a", "in/b"]


def test_options_of_a_job_are_kept_and_can_be_changed(ledger: SqlLedger) -> None:
    asked = replace(REQUEST, keep_missing=True, max_delete_share=0.5, retry_failed=True)
    job = ledger.create_job(asked, driver=WORKERS)
    assert ledger.get_job(job.job_id).request == asked
    ledger.set_sync(job.job_id, REQUEST)
    assert ledger.get_job(job.job_id).request == REQUEST

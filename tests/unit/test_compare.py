"""Each pair of a listed object and a book entry has one meaning."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.compare import Change, compare_versions
from pipeline.types import (
    FailedAt,
    JobRequest,
    ObjectRef,
    Reason,
    VersionEntry,
    VersionState,
    indexed_version,
)
from tests.unit.fakes import ref_of, request_of


def failed(ref: ObjectRef, reason: Reason = Reason.TRUNCATED) -> VersionEntry:
    return VersionEntry(
        ref=ref,
        state=VersionState.FAILED,
        vectors=0,
        stage=FailedAt.DECODE,
        reason=reason,
        detail="cut short",
    )


def changes(
    listed: list[ObjectRef], entries: list[VersionEntry], request: JobRequest | None = None
) -> list[tuple[str, Change]]:
    found = compare_versions(listed, iter(entries), request or request_of())
    return [(one.ref.key, one.change) for one in found]


def change(listed: ObjectRef, entry: VersionEntry, request: JobRequest | None = None) -> Change:
    [(_, found)] = changes([listed], [entry], request)
    return found


REF = ref_of("a.jpg", etag="e1", size_bytes=10)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (indexed_version(REF), Change.UNCHANGED),
        (indexed_version(replace(REF, etag="e0")), Change.CHANGED),
        (indexed_version(replace(REF, size_bytes=11)), Change.CHANGED),
        (replace(indexed_version(REF), state=VersionState.PLANNED), Change.CHANGED),
        (replace(indexed_version(REF), state=VersionState.NOTHING_FOUND, vectors=0), Change.UNCHANGED),
        (replace(indexed_version(REF), missing_in="job"), Change.NOTED),
        (failed(REF), Change.KNOWN_FAILURE),
        (failed(replace(REF, etag="e0")), Change.CHANGED),
        (failed(REF, Reason.NOT_AN_IMAGE), Change.KNOWN_FAILURE),
        (failed(REF, Reason.WORKER_CRASH), Change.KNOWN_FAILURE),
        (failed(REF, Reason.TIMEOUT), Change.AGAIN),
        (failed(REF, Reason.ACCESS_DENIED), Change.AGAIN),
        (failed(REF, Reason.OUT_OF_MEMORY), Change.AGAIN),
        (failed(REF, Reason.NOT_FOUND), Change.AGAIN),  # it is there again
        (failed(REF, Reason.CHANGED), Change.AGAIN),
    ],
)
def test_a_listed_object_is_judged_by_what_the_book_knows_of_it(
    entry: VersionEntry, expected: Change
) -> None:
    assert change(REF, entry) is expected


@pytest.mark.parametrize(
    ("listed_ms", "known_ms", "expected"),
    [
        (1, 1, Change.UNCHANGED),
        (2, 1, Change.REWRITTEN),
        (1, 2, Change.REWRITTEN),  # a clock that was set back, or a version that was restored
        (1, None, Change.NOTED),  # the book comes to know it
        (None, 1, Change.NOTED),
        (None, None, Change.UNCHANGED),
    ],
)
def test_an_object_copied_onto_itself_is_told_by_its_time(
    listed_ms: int | None, known_ms: int | None, expected: Change
) -> None:
    entry = indexed_version(replace(REF, modified_ms=known_ms))
    assert change(replace(REF, modified_ms=listed_ms), entry) is expected


def test_known_failures_are_tried_again_when_somebody_asks_for_it() -> None:
    assert change(REF, failed(REF), replace(request_of(), retry_failed=True)) is Change.AGAIN


def test_an_object_without_an_etag_is_never_called_unchanged() -> None:
    ref = replace(REF, etag="")
    assert change(ref, indexed_version(ref)) is Change.CHANGED


def test_both_streams_are_merged_in_order_of_the_keys() -> None:
    listed = [ref_of(key) for key in ("b.jpg", "c.jpg", "d.txt")]
    entries = [indexed_version(ref_of(key)) for key in ("a.jpg", "c.jpg", "d.txt", "z.jpg")]
    assert changes(listed, entries) == [
        ("a.jpg", Change.MISSING),
        ("b.jpg", Change.NEW),
        ("c.jpg", Change.UNCHANGED),
        ("d.txt", Change.IGNORED),
        ("z.jpg", Change.MISSING),
    ]


def test_what_a_job_does_not_choose_is_not_its_to_remove() -> None:
    entries = [indexed_version(ref_of(key)) for key in ("a.jpg", "b.png", "c.jpg")]
    request = request_of(include=("*.jpg",), exclude=("c*",))
    assert changes([], entries, request) == [
        ("a.jpg", Change.MISSING),
        ("b.png", Change.KEPT),
        ("c.jpg", Change.KEPT),
    ]
    listed = [ref_of("b.png"), ref_of("c.jpg")]
    assert changes(listed, entries, request)[1:] == [("b.png", Change.IGNORED), ("c.jpg", Change.IGNORED)]


def test_nothing_is_missing_when_all_is_to_be_kept() -> None:
    entries = [indexed_version(ref_of("a.jpg"))]
    assert changes([], entries, replace(request_of(), keep_missing=True)) == [("a.jpg", Change.KEPT)]


@pytest.mark.parametrize("exclude", [(), ("b/",)])
def test_what_a_folder_holds_that_cannot_be_read_is_not_missing(exclude: tuple[str, ...]) -> None:
    entries = [indexed_version(ref_of(key)) for key in ("a.jpg", "b/1.jpg", "b/c/2.jpg", "b0.jpg")]
    found = changes([ref_of("b/", etag="", size_bytes=0)], entries, request_of(exclude=exclude))
    assert [one for one in found if one[0] != "b/"] == [
        ("a.jpg", Change.MISSING),
        ("b/1.jpg", Change.KEPT),
        ("b/c/2.jpg", Change.KEPT),
        ("b0.jpg", Change.MISSING),
    ]


keys = st.lists(st.text("ab/é😀.", min_size=1, max_size=4), unique=True, max_size=20).map(sorted)


@given(listed=keys, known=keys)
def test_every_key_of_either_side_comes_out_once_and_in_order(listed: list[str], known: list[str]) -> None:
    found = changes([ref_of(key) for key in listed], [indexed_version(ref_of(key)) for key in known])
    assert [key for key, _ in found] == sorted({*listed, *known})
    assert {key for key, one in found if one in (Change.MISSING, Change.KEPT)} == {*known} - {*listed}

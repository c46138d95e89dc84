"""One batch, start to end: the index in step with the objects."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.errors import ImageError, TransientError
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    BatchReport,
    CollectionRef,
    EmbedBatch,
    FetchedObject,
    IndexRow,
    ObjectRef,
    Reason,
)
from tests.index_rows import ids_in
from tests.unit.fakes import (
    BLACK,
    BUCKET,
    COLLECTION,
    CONCURRENCY,
    GREEN,
    LIMITS,
    RED,
    SPEC,
    TARGET,
    FakeEmbedder,
    distinct_png,
    indexed_keys,
    is_dark,
    jpeg,
    png,
    ref_of,
)

# What may pass or is the reader's fault says nothing of the object: what the index holds of it stays.
PASSING_REASONS = {Reason.CHANGED, Reason.ACCESS_DENIED, Reason.TIMEOUT, Reason.OUT_OF_MEMORY}


class CountingStore(MemoryStore):
    """Counts reads, and can fail the read of one key."""

    def __init__(self) -> None:
        super().__init__(BUCKET)
        self.reads = 0
        self.faults: dict[str, ImageError] = {}

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        self.reads += 1
        if ref.key in self.faults:
            raise self.faults[ref.key]
        return super().get(ref, max_bytes=max_bytes)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


def batch_of(refs: Sequence[ObjectRef]) -> EmbedBatch:
    return EmbedBatch(
        job_id="j", path="00000000", collection=COLLECTION, fingerprint=SPEC.fingerprint, refs=tuple(refs)
    )


def run(deps: Deps) -> BatchReport:
    return run_batch(batch_of(list(deps.store.list_objects(BUCKET))), deps, LIMITS)


def rows_of(deps: Deps) -> dict[str, IndexRow]:
    rows = deps.index.get_rows(TARGET, ids_in(deps.index, TARGET))
    return {row.ref.key: row for row in rows}


def counts(report: BatchReport) -> tuple[int, int, int]:
    return report.indexed, report.unchanged, len(report.rejected)


def reasons(report: BatchReport) -> dict[str, Reason]:
    return {rejected.ref.key: rejected.reason for rejected in report.rejected}


def test_new_images_are_indexed_with_all_that_is_known_of_them(deps: Deps, store: CountingStore) -> None:
    store.put(BUCKET, "in/a.jpg", jpeg(RED, width=40, height=30), {"camera": "7"})
    started = datetime.now(UTC)
    report = run(deps)
    assert counts(report) == (1, 0, 0)
    assert (report.job_id, report.path) == ("j", "00000000")
    [row] = rows_of(deps).values()
    assert row.id == store.stat(BUCKET, "in/a.jpg").image_id
    assert row.ref == store.stat(BUCKET, "in/a.jpg")
    assert (row.width, row.height) == (40, 30)
    assert row.metadata == {"camera": "7"}
    assert started <= row.indexed_at <= datetime.now(UTC)
    assert row.vector.shape == (SPEC.dim,)


def test_each_row_holds_the_vector_of_its_own_image(deps: Deps, store: CountingStore) -> None:
    for number in range(7):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    run(deps)
    for key, row in rows_of(deps).items():
        alone = Deps(
            store=store,
            index=MemoryIndex(),
            embedder=deps.embedder,
            ledger=deps.ledger,
            concurrency=CONCURRENCY,
        )
        alone.index.create_collection(COLLECTION, SPEC)
        run_batch(batch_of([store.stat(BUCKET, key)]), alone, LIMITS)
        assert row.vector == pytest.approx(rows_of(alone)[key].vector)


def test_what_is_indexed_in_its_present_version_is_neither_read_nor_embedded(
    deps: Deps, store: CountingStore, embedder: FakeEmbedder
) -> None:
    store.put(BUCKET, "a.jpg", jpeg(RED))
    store.put(BUCKET, "b.jpg", jpeg(GREEN))
    run(deps)
    before, reads, calls = rows_of(deps), store.reads, len(embedder.calls)
    assert counts(run(deps)) == (0, 2, 0)
    assert (store.reads, len(embedder.calls)) == (reads, calls)
    assert rows_of(deps) == before


def test_a_new_version_is_embedded_again_and_takes_the_place_of_the_old(
    deps: Deps, store: CountingStore
) -> None:
    store.put(BUCKET, "a.jpg", jpeg(RED))
    store.put(BUCKET, "b.jpg", jpeg(GREEN))
    run(deps)
    before = rows_of(deps)
    store.put(BUCKET, "a.jpg", jpeg(GREEN, width=99))
    assert counts(run(deps)) == (1, 1, 0)
    after = rows_of(deps)
    assert indexed_keys(deps) == ["a.jpg", "b.jpg"]
    assert after["a.jpg"].ref == store.stat(BUCKET, "a.jpg")
    assert after["a.jpg"].width == 99
    assert after["a.jpg"].vector == pytest.approx(after["b.jpg"].vector, abs=0.05)
    assert after["b.jpg"] is before["b.jpg"]


def test_the_same_batch_twice_leaves_the_same_index(deps: Deps, store: CountingStore) -> None:
    store.put(BUCKET, "a.jpg", jpeg(RED))
    store.put(BUCKET, "b.jpg", b"no picture, but a text of some length")
    batch = batch_of(list(store.list_objects(BUCKET)))
    assert counts(run_batch(batch, deps, LIMITS)) == (1, 0, 1)
    before = rows_of(deps)
    assert counts(run_batch(batch, deps, LIMITS)) == (0, 1, 1)
    assert rows_of(deps) == before


def test_a_run_that_was_cut_off_before_it_wrote_is_made_good_by_the_next(
    deps: Deps, store: CountingStore
) -> None:
    class AwayOnce(MemoryIndex):
        away = True

        def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
            if self.away:
                self.away = False
                raise TransientError("the index is away")
            super().replace_images(ref, images)

    index = AwayOnce()
    index.create_collection(COLLECTION, SPEC)
    deps = replace(deps, index=index)
    store.put(BUCKET, "a.jpg", jpeg(RED))
    with pytest.raises(TransientError):
        run(deps)
    assert counts(run(deps)) == (1, 0, 0)
    assert indexed_keys(deps) == ["a.jpg"]


def test_one_bad_image_costs_one_image(deps: Deps, store: CountingStore, embedder: FakeEmbedder) -> None:
    embedder.answer_with(float("nan"), is_dark)
    good = [f"good-{number}.png" for number in range(5)]
    for number, key in enumerate(good):
        store.put(BUCKET, key, distinct_png(number))
    store.put(BUCKET, "cut.jpg", jpeg(width=64, height=64)[:-200])
    store.put(BUCKET, "empty.jpg", b"")
    store.put(BUCKET, "text.jpg", b"no picture, but a text of some length")
    store.put(BUCKET, "dark.png", png(BLACK))
    store.put(BUCKET, "pixel.png", png(width=1, height=1))
    store.put(BUCKET, "gone.jpg", jpeg())
    store.put(BUCKET, "overwritten.jpg", jpeg())
    refs = list(store.list_objects(BUCKET))
    store.delete(BUCKET, "gone.jpg")
    store.put(BUCKET, "overwritten.jpg", jpeg(GREEN))
    report = run_batch(batch_of(refs), deps, LIMITS)
    assert indexed_keys(deps) == good
    assert report.indexed == len(good)
    assert reasons(report) == {
        "cut.jpg": Reason.TRUNCATED,
        "dark.png": Reason.NOT_FINITE,
        "empty.jpg": Reason.EMPTY,
        "gone.jpg": Reason.NOT_FOUND,
        "overwritten.jpg": Reason.CHANGED,
        "pixel.png": Reason.TOO_SMALL,
        "text.jpg": Reason.NOT_AN_IMAGE,
    }


@pytest.mark.parametrize("reason", Reason)
def test_a_former_vector_goes_when_the_present_content_is_bad_and_stays_when_the_reading_failed(
    deps: Deps, store: CountingStore, reason: Reason
) -> None:
    store.put(BUCKET, "a.jpg", jpeg(RED))
    store.put(BUCKET, "b.jpg", jpeg(RED))
    run(deps)
    store.put(BUCKET, "a.jpg", jpeg(GREEN))
    store.faults["a.jpg"] = ImageError(reason, "as the store words it")
    report = run(deps)
    assert reasons(report) == {"a.jpg": reason}
    assert indexed_keys(deps) == (["a.jpg", "b.jpg"] if reason in PASSING_REASONS else ["b.jpg"])


def test_an_image_without_a_direction_loses_its_former_vector(
    deps: Deps, store: CountingStore, embedder: FakeEmbedder
) -> None:
    store.put(BUCKET, "a.png", png(RED))
    run(deps)
    embedder.answer_with(float("nan"), is_dark)
    store.put(BUCKET, "a.png", png(BLACK))
    assert reasons(run(deps)) == {"a.png": Reason.NOT_FINITE}
    assert indexed_keys(deps) == []


def test_a_batch_without_a_good_image_changes_nothing(deps: Deps, store: CountingStore) -> None:
    report = run_batch(batch_of([ref_of("a.jpg"), ref_of("b.jpg")]), deps, LIMITS)
    assert counts(report) == (0, 0, 2)
    assert indexed_keys(deps) == []


def test_time_is_reported_by_stage(deps: Deps, store: CountingStore) -> None:
    store.put(BUCKET, "a.jpg", jpeg(RED))
    assert run(deps).seconds.keys() == {"lookup", "fetch", "decode", "wait", "device", "write"}


BODIES = {
    "good": jpeg(GREEN),
    "other": png(RED),
    "dark": png(BLACK),
    "text": b"no picture, but a text of some length",
    "empty": b"",
}


@hypothesis_settings(max_examples=25)
@given(
    before=st.dictionaries(st.integers(0, 5), st.sampled_from(list(BODIES)), max_size=6),
    after=st.dictionaries(st.integers(0, 5), st.sampled_from(list(BODIES)), min_size=1, max_size=6),
)
def test_the_index_holds_the_good_images_and_the_counts_add_up(
    before: dict[int, str], after: dict[int, str]
) -> None:
    store, index, embedder = CountingStore(), MemoryIndex(), FakeEmbedder()
    embedder.answer_with(float("nan"), is_dark)
    index.create_collection(COLLECTION, SPEC)
    empty_book = SimpleNamespace(  # all that is asked of the ledger
        find_copies=lambda _generation, _etags: [],
        overtaken=lambda _generation, _image_ids, **_of_batch: [],
    )
    ledger: Any = SimpleNamespace(book=empty_book)
    deps = Deps(store=store, index=index, embedder=embedder, ledger=ledger, concurrency=CONCURRENCY)
    for objects in (before, after):
        for number in range(6):
            store.delete(BUCKET, f"{number}.jpg")
        for number, kind in objects.items():
            store.put(BUCKET, f"{number}.jpg", BODIES[kind])
        everything = [ref_of(f"{number}.jpg") for number in range(6)]
        present = {ref.key: ref for ref in store.list_objects(BUCKET)}
        batch = batch_of([present.get(ref.key, ref) for ref in everything])
        report = run_batch(batch, deps, LIMITS)
        assert report.indexed + report.unchanged + len(report.rejected) == len(everything)
        good = [f"{number}.jpg" for number, kind in sorted(objects.items()) if kind in ("good", "other")]
        assert indexed_keys(deps) == good
        assert {row.ref.etag for row in rows_of(deps).values()} == {present[key].etag for key in good}

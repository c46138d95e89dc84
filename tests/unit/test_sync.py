"""Whole jobs in one process: a collection follows its source, and nothing is removed by mistake."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.adapters.folder.store import FolderStore
from pipeline.embedded import DriverOptions, run_job
from pipeline.errors import ImageError, PictorError, TransientError
from pipeline.ingest.compare import Change
from pipeline.ingest.plan import make_batch
from pipeline.ingest.sync import preview, refusal
from pipeline.ports import Deps
from pipeline.service.access import local_caller
from pipeline.service.delete import delete_objects
from pipeline.service.retry import retry_failures
from pipeline.service.submit import open_job
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    WORKERS,
    CollectionRef,
    FetchedObject,
    Findings,
    IndexRow,
    Job,
    JobRequest,
    JobState,
    ObjectRef,
    Reason,
    VersionState,
    generation_of,
    image_id_of,
)
from tests.accountable import NO_LOG
from tests.histories import check_adds_up
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    HERE,
    LIMITS,
    SPEC,
    TARGET,
    FakeEmbedder,
    distinct_png,
    failed_reasons,
    indexed_keys,
    request_of,
)

TEXT = b"no picture, but a text of some length"
GENERATION = generation_of(COLLECTION, SPEC.fingerprint)
KEYS = [f"{number:02d}.png" for number in range(20)]
ALL_MAY_GO = {"max_delete_share": 1.0}


class BreakingStore(MemoryStore):
    """Its listing breaks off before the key `breaks_at`, and counts what is read."""

    def __init__(self) -> None:
        super().__init__(BUCKET)
        self.breaks_at = ""
        self.read: list[str] = []

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        for ref in super().list_objects(bucket, prefix, start_after):
            if ref.key == self.breaks_at:
                raise TransientError("the listing broke off")
            yield ref

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        self.read.append(ref.key)
        return super().get(ref, max_bytes=max_bytes)


@pytest.fixture
def store() -> BreakingStore:
    store = BreakingStore()
    for number, key in enumerate(KEYS):
        store.put(BUCKET, key, distinct_png(number))
    return store


def ingest(deps: Deps, **asked: object) -> Job:
    request: JobRequest = replace(request_of(batch_items=4), **asked)  # type: ignore[arg-type]
    job, _ = open_job(request, deps, driver=HERE)
    done = run_job(job, deps, LIMITS, DriverOptions(retry_delays_s=()), on_progress=check_adds_up)
    check_adds_up(done)
    return done


def delete(store: MemoryStore, *keys: str) -> None:
    for key in keys:
        store.delete(BUCKET, key)


def booked(deps: Deps) -> dict[str, VersionState]:
    return {entry.ref.key: entry.state for entry in deps.ledger.book.list_versions(GENERATION, BUCKET)}


def test_what_has_vanished_is_removed_and_counted(deps: Deps, store: BreakingStore) -> None:
    ingest(deps)
    delete(store, "03.png", "07.png")
    job = ingest(deps)
    assert (job.state, job.error) == (JobState.COMPLETED, "")
    assert (job.counts.scanned, job.counts.unchanged, job.counts.removed) == (18, 18, 2)
    assert (
        indexed_keys(deps) == sorted(booked(deps)) == [key for key in KEYS if key not in ("03.png", "07.png")]
    )


def test_unchanged_objects_cost_no_message_and_no_look_into_the_index(
    deps: Deps, store: BreakingStore, embedder: FakeEmbedder
) -> None:
    ingest(deps)
    store.read.clear()
    embedder.calls.clear()
    job = ingest(deps)
    assert (job.counts.unchanged, job.planned_batches, store.read, embedder.calls) == (20, 0, [], [])


def test_a_renamed_object_is_found_by_its_new_name_alone(deps: Deps, store: BreakingStore) -> None:
    ingest(deps)
    body = distinct_png(0)
    delete(store, "00.png")
    store.put(BUCKET, "zero.png", body)
    job = ingest(deps)
    assert (job.counts.indexed, job.counts.removed) == (1, 1)
    assert indexed_keys(deps) == sorted([*KEYS[1:], "zero.png"])


# Failures


def test_a_known_failure_is_not_read_again_and_stays_a_failure_with_its_reason(
    deps: Deps, store: BreakingStore
) -> None:
    store.put(BUCKET, "bad.jpg", TEXT)
    assert ingest(deps).counts.failed == 1
    store.read.clear()
    job = ingest(deps)
    assert (job.counts.failed, job.counts.unchanged, store.read) == (1, 20, [])
    assert failed_reasons(deps, job.job_id) == {"bad.jpg": Reason.NOT_AN_IMAGE}


def test_a_known_failure_is_tried_again_when_asked_for_and_when_it_changes(
    deps: Deps, store: BreakingStore
) -> None:
    store.put(BUCKET, "bad.jpg", TEXT)
    ingest(deps)
    store.read.clear()
    assert ingest(deps, retry_failed=True).counts.failed == 1
    assert store.read == ["bad.jpg"]
    [entry] = [e for e in deps.ledger.book.list_versions(GENERATION, BUCKET) if e.ref.key == "bad.jpg"]
    assert entry.attempts == 2
    store.put(BUCKET, "bad.jpg", distinct_png(99))
    assert ingest(deps).counts.indexed == 1


def test_known_failures_of_a_job_can_be_retried_and_then_count_as_indexed(
    deps: Deps, store: BreakingStore, embedder: FakeEmbedder
) -> None:
    embedder.answer_with(float("nan"), lambda pixels: bool(pixels.max() < 10))
    store.put(BUCKET, "dark.png", _black())
    ingest(deps)
    job = ingest(deps)
    assert failed_reasons(deps, job.job_id) == {"dark.png": Reason.NOT_FINITE}
    embedder.answer_with(float("nan"), lambda _pixels: False)
    assert retry_failures(job.job_id, deps.ledger, deps.store, local_caller()) == 1
    again = run_job(deps.ledger.get_job(job.job_id), deps, LIMITS, DriverOptions(), on_progress=check_adds_up)
    assert (again.counts.scanned, again.counts.indexed, again.counts.failed) == (21, 1, 0)
    assert booked(deps)["dark.png"] is VersionState.INDEXED


def test_a_known_failure_that_vanishes_leaves_the_book_and_is_no_removed_image(
    deps: Deps, store: BreakingStore
) -> None:
    store.put(BUCKET, "bad.jpg", TEXT)
    ingest(deps)
    delete(store, "bad.jpg")
    assert ingest(deps).counts.removed == 0
    assert "bad.jpg" not in booked(deps)


# Metadata


def test_new_metadata_of_the_same_bytes_reaches_the_index(deps: Deps, store: BreakingStore) -> None:
    ingest(deps)
    store.put(BUCKET, "05.png", distinct_png(5), {"camera": "7"})
    job = ingest(deps)
    assert (job.counts.indexed, job.counts.unchanged) == (1, 19)
    [row] = deps.index.get_rows(TARGET, [image_id_of(BUCKET, "05.png")])
    assert row.metadata == {"camera": "7"}
    assert ingest(deps).counts.unchanged == 20


# Moved and copied


def test_moved_content_is_neither_read_nor_embedded_and_takes_its_vector_along(
    deps: Deps, store: BreakingStore, embedder: FakeEmbedder
) -> None:
    ingest(deps)
    before = row_of(deps, "05.png")
    delete(store, "05.png")
    store.put(BUCKET, "moved/05.png", distinct_png(5), {"album": "7"})
    store.read.clear()
    embedder.calls.clear()
    job = ingest(deps)
    assert (job.counts.indexed, job.counts.removed, store.read, embedder.calls) == (1, 1, [], [])
    after = row_of(deps, "moved/05.png")
    assert after.vector == pytest.approx(before.vector)
    assert (after.width, after.height) == (before.width, before.height)
    assert (after.ref, after.metadata) == (store.stat(BUCKET, "moved/05.png"), {"album": "7"})
    assert "05.png" not in indexed_keys(deps)


def test_new_metadata_under_the_same_key_is_read_all_the_same(deps: Deps, store: BreakingStore) -> None:
    store.put(BUCKET, "copy.png", distinct_png(5))
    ingest(deps)
    store.read.clear()
    store.put(BUCKET, "copy.png", distinct_png(5), {"camera": "7"})
    ingest(deps)
    assert store.read == ["copy.png"]
    assert row_of(deps, "copy.png").metadata == {"camera": "7"}


@pytest.mark.parametrize("etag", ["d41d8cd98f00b204e9800998ecf8427e-2", "18f2c0-64", ""])
def test_only_an_etag_that_is_a_hash_of_the_content_stands_for_it(
    deps: Deps, store: BreakingStore, etag: str
) -> None:
    class OtherEtags(BreakingStore):
        def list_objects(
            self, bucket: str, prefix: str = "", start_after: str | None = None
        ) -> Iterator[ObjectRef]:
            return (replace(ref, etag=etag) for ref in store.list_objects(bucket, prefix, start_after))

        def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
            return store.get(store.stat(ref.bucket, ref.key), max_bytes=max_bytes)

    delete(store, *KEYS[2:])
    ingest(replace(deps, store=OtherEtags()))
    store.put(BUCKET, "copy.png", distinct_png(0))
    store.read.clear()
    ingest(replace(deps, store=OtherEtags()))
    assert "copy.png" in store.read


def test_an_object_that_changes_before_its_metadata_is_read_goes_the_usual_way(
    deps: Deps, store: BreakingStore
) -> None:
    ingest(deps)
    store.put(BUCKET, "copy.png", distinct_png(5))

    class Changing(BreakingStore):
        def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
            raise ImageError(Reason.CHANGED, "another version is there")

        def list_objects(
            self, bucket: str, prefix: str = "", start_after: str | None = None
        ) -> Iterator[ObjectRef]:
            return store.list_objects(bucket, prefix, start_after)

        def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
            return store.get(ref, max_bytes=max_bytes)

    store.read.clear()
    assert ingest(replace(deps, store=Changing())).counts.indexed == 1
    assert store.read == ["copy.png"]


def test_a_copy_that_the_book_has_and_the_index_has_not_is_embedded(deps: Deps, store: BreakingStore) -> None:
    ingest(deps)
    deps.index.delete_images(TARGET, [image_id_of(BUCKET, "05.png")])
    store.put(BUCKET, "copy.png", distinct_png(5))
    store.read.clear()
    assert ingest(deps).counts.indexed == 1
    assert store.read == ["copy.png"]


def row_of(deps: Deps, key: str) -> IndexRow:
    [row] = deps.index.get_rows(TARGET, [image_id_of(BUCKET, key)])
    return row


# What must not be removed


def test_a_listing_that_breaks_off_removes_nothing(deps: Deps, store: BreakingStore) -> None:
    ingest(deps)
    delete(store, "03.png")
    store.breaks_at = "10.png"
    with pytest.raises(TransientError):
        ingest(deps, **ALL_MAY_GO)
    assert indexed_keys(deps) == KEYS
    store.breaks_at = ""
    assert ingest(deps, **ALL_MAY_GO).counts.removed == 1


@pytest.mark.parametrize("state", [JobState.PAUSED, JobState.CANCELLED])
def test_a_job_that_is_stopped_while_it_lists_removes_nothing(
    deps: Deps, store: BreakingStore, state: JobState
) -> None:
    ingest(deps)
    delete(store, *KEYS[:10])

    class Stopped(BreakingStore):
        def list_objects(
            self, bucket: str, prefix: str = "", start_after: str | None = None
        ) -> Iterator[ObjectRef]:
            for ref in store.list_objects(bucket, prefix, start_after):
                if ref.key == "15.png":
                    deps.ledger.set_state(deps.ledger.list_jobs(limit=1)[0].job_id, state)
                yield ref

    store.put(BUCKET, "10b.png", distinct_png(50))  # so that a step is recorded before the job is stopped
    job = ingest(replace(deps, store=Stopped()), **ALL_MAY_GO, batch_items=1)
    assert (job.state, job.counts.removed) == (state, 0)
    assert set(KEYS) <= set(indexed_keys(deps))


def test_too_many_at_once_are_not_removed_and_the_job_says_so(deps: Deps, store: BreakingStore) -> None:
    ingest(deps)
    delete(store, *KEYS[:5])
    store.put(BUCKET, "new.png", distinct_png(30))
    job = ingest(deps)
    assert (job.state, job.counts.removed, job.counts.indexed) == (JobState.COMPLETED, 0, 1)
    assert job.error == (
        "5 of 20 indexed objects of s3://photos/ are gone, more than the share of 0.2 that may be removed: "
        "nothing was removed; if they are meant to be gone, run it again with --max-delete-share 1"
    )
    assert indexed_keys(deps) == sorted([*KEYS, "new.png"])
    again = ingest(deps, max_delete_share=0.25)
    assert (again.counts.removed, again.error) == (5, "")
    assert indexed_keys(deps) == sorted([*KEYS[5:], "new.png"])


def test_an_emptied_source_is_asked_about_however_few_it_held(deps: Deps, store: BreakingStore) -> None:
    delete(store, *KEYS[2:])
    ingest(deps)
    delete(store, *KEYS[:2])
    job = ingest(deps)
    assert "the source is empty: nothing was removed; is it mounted?" in job.error
    assert indexed_keys(deps) == KEYS[:2]
    assert ingest(deps, **ALL_MAY_GO).counts.removed == 2


@pytest.mark.parametrize(
    ("share", "scanned", "held", "lost", "is_refused"),
    [
        (None, 100, 100, 20, False),
        (None, 79, 100, 21, True),
        (None, 6, 10, 4, False),  # a handful is always meant
        (None, 5, 10, 5, True),
        (None, 0, 1, 1, True),
        (None, 0, 0, 0, False),
        (0.0, 9, 10, 1, True),  # what was asked for is kept to the letter
        (0.0, 10, 10, 0, False),
        (0.5, 5, 10, 5, False),
        (0.5, 4, 10, 6, True),
        (1.0, 0, 10, 10, False),
    ],
)
def test_the_share_that_may_go(
    share: float | None, scanned: int, held: int, lost: int, is_refused: bool
) -> None:
    request = replace(request_of(), max_delete_share=share)
    assert bool(refusal(request, scanned=scanned, held=held, lost=lost)) == is_refused


def test_what_is_to_be_kept_is_kept(deps: Deps, store: BreakingStore) -> None:
    ingest(deps)
    delete(store, "03.png")
    assert ingest(deps, keep_missing=True).counts.removed == 0
    assert indexed_keys(deps) == KEYS
    assert ingest(deps).counts.removed == 1, "the book still knows of it"


class DyingIndex(MemoryIndex):
    """Ends its process, so to speak, at the first removal."""

    dies = True

    def delete_images(self, ref: CollectionRef, ids: Sequence[str]) -> None:
        if self.dies:
            self.dies = False
            raise PictorError("killed")
        super().delete_images(ref, ids)


def stopped_before_removal(deps: Deps, store: BreakingStore) -> Deps:
    """Five of twenty have vanished, the listing is whole, and the process died before it removed one."""
    index = DyingIndex()
    index.create_collection(COLLECTION, SPEC)
    deps = replace(deps, index=index)
    ingest(deps)
    delete(store, *KEYS[:5])
    with pytest.raises(PictorError, match="killed"):
        ingest(deps, **ALL_MAY_GO)
    return deps


def test_who_resumes_a_job_may_still_say_that_nothing_is_removed(deps: Deps, store: BreakingStore) -> None:
    deps = stopped_before_removal(deps, store)
    job = ingest(deps, keep_missing=True)
    assert (job.state, job.counts.removed, indexed_keys(deps)) == (JobState.COMPLETED, 0, KEYS)
    assert ingest(deps, **ALL_MAY_GO).counts.removed == 5


def test_an_object_that_came_back_while_the_job_was_stopped_is_not_removed(
    deps: Deps, store: BreakingStore
) -> None:
    deps = stopped_before_removal(deps, store)
    store.put(BUCKET, KEYS[2], distinct_png(2))
    job = ingest(deps, **ALL_MAY_GO)
    assert (job.state, job.counts.removed) == (JobState.COMPLETED, 4)
    assert indexed_keys(deps) == [KEYS[2], *KEYS[5:]]
    again = ingest(deps)
    assert (again.counts.scanned, again.counts.failed, again.counts.removed) == (16, 0, 0)


def test_sources_that_overlap_and_filters_remove_only_what_is_theirs(
    deps: Deps, store: BreakingStore
) -> None:
    for number, key in enumerate(("cam1/a.png", "cam1/b.png", "cam10/a.png")):
        store.put(BUCKET, key, distinct_png(100 + number))
    ingest(deps)
    delete(store, "cam1/a.png", "cam1/b.png", "cam10/a.png", "00.png")
    assert ingest(deps, prefix="cam1/", include=("b*",), **ALL_MAY_GO).counts.removed == 1
    assert indexed_keys(deps) == sorted([*KEYS, "cam1/a.png", "cam10/a.png"])
    assert ingest(deps, prefix="cam1/", **ALL_MAY_GO).counts.removed == 1
    assert indexed_keys(deps) == sorted([*KEYS, "cam10/a.png"])
    assert ingest(deps, exclude=("00*",)).counts.removed == 1
    assert indexed_keys(deps) == KEYS
    assert ingest(deps).counts.removed == 1


def test_an_object_that_is_listed_and_not_chosen_stays(deps: Deps, store: BreakingStore) -> None:
    ingest(deps)
    job = ingest(deps, exclude=("0*",))
    assert (job.counts.ignored, job.counts.removed) == (10, 0)
    assert indexed_keys(deps) == KEYS


def test_collections_do_not_touch_each_other(deps: Deps, store: BreakingStore) -> None:
    deps.index.create_collection("others", SPEC)
    ingest(deps)
    ingest(deps, collection="others")
    delete(store, "00.png")
    ingest(deps)
    assert deps.index.get_collection("others").rows == 20  # type: ignore[union-attr]


def test_a_folder_that_cannot_be_read_keeps_what_it_held(deps: Deps, tmp_path: Path) -> None:
    class Locked(FolderStore):
        def list_objects(
            self, bucket: str, prefix: str = "", start_after: str | None = None
        ) -> Iterator[ObjectRef]:
            yield ObjectRef(bucket=bucket, key="inner/", etag="", size_bytes=0)

    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    for number in range(3):
        (folder / "inner" / f"{number}.png").write_bytes(distinct_png(number))
    asked = {"bucket": str(folder), "location": f"file://{folder}", **ALL_MAY_GO}
    ingest(replace(deps, store=FolderStore()), **asked)
    job = ingest(replace(deps, store=Locked()), **asked)
    assert (job.counts.failed, job.counts.removed) == (1, 0)
    assert indexed_keys(deps) == ["inner/0.png", "inner/1.png", "inner/2.png"]


# The book and its index


def test_a_collection_from_before_the_book_is_entered_and_nothing_is_embedded_again(
    deps: Deps, store: BreakingStore, embedder: FakeEmbedder
) -> None:
    ingest(deps)
    deps.ledger.book.forget_generation(GENERATION)
    embedder.calls.clear()
    delete(store, "03.png")
    job = ingest(deps)
    assert (job.counts.unchanged, job.counts.removed, embedder.calls) == (19, 1, [])
    assert indexed_keys(deps) == sorted(booked(deps)) == [key for key in KEYS if key != "03.png"]
    assert ingest(deps).counts.unchanged == 19


def test_a_collection_that_was_dropped_and_made_anew_is_filled_again(deps: Deps, index: MemoryIndex) -> None:
    ingest(deps)
    index.drop_collection(COLLECTION)
    index.create_collection(COLLECTION, SPEC)
    assert ingest(deps).counts.indexed == 20
    assert indexed_keys(deps) == KEYS


def test_what_was_deleted_by_hand_comes_back_while_it_is_in_the_source(deps: Deps) -> None:
    ingest(deps)
    delete_objects(
        BUCKET,
        ["03.png"],
        collection=COLLECTION,
        index=deps.index,
        ledger=deps.ledger,
        answers_to=NO_LOG,
        caller=local_caller(),
        meant_at=datetime.now(UTC),
        driver=WORKERS,
    )
    assert "03.png" not in indexed_keys(deps)
    assert ingest(deps).counts.indexed == 1
    assert indexed_keys(deps) == KEYS


def test_a_run_that_fails_between_index_and_book_is_finished_by_the_next(
    deps: Deps, store: BreakingStore
) -> None:
    ingest(deps)
    delete(store, "03.png", "04.png")

    class Dying(MemoryIndex):
        def delete_images(self, ref: CollectionRef, ids: object) -> None:
            deps.index.delete_images(ref, ids)  # type: ignore[arg-type]
            raise TransientError("gone after the deletion")

        def __getattribute__(self, name: str) -> object:
            own = name in ("delete_images", "__class__")
            return object.__getattribute__(self, name) if own else getattr(deps.index, name)

    with pytest.raises(PictorError):
        ingest(replace(deps, index=Dying()))
    job = ingest(deps)
    assert (job.counts.removed, job.state) == (2, JobState.COMPLETED)
    assert sorted(booked(deps)) == indexed_keys(deps)


# A dry run


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(deps: Deps, store: BreakingStore) -> None:
    ingest(deps)
    delete(store, "03.png")
    store.put(BUCKET, "04.png", distinct_png(50))
    store.put(BUCKET, "new.png", distinct_png(51))
    jobs = len(deps.ledger.list_jobs())
    outlook = preview(request_of(), store, deps.ledger.book, first=5)
    assert {change: count for change, count in outlook.counts.items() if count} == {
        Change.NEW: 1,
        Change.CHANGED: 1,
        Change.MISSING: 1,
        Change.UNCHANGED: 18,
    }
    assert outlook.first_keys[Change.NEW] == ["new.png"]
    assert outlook.first_keys[Change.MISSING] == ["03.png"]
    assert (outlook.scanned, outlook.held, outlook.lost) == (20, 20, 1)
    assert (len(deps.ledger.list_jobs()), indexed_keys(deps)) == (jobs, KEYS)


def _black() -> bytes:
    from tests.unit.fakes import BLACK, png

    return png(BLACK)


def test_a_dry_run_calls_new_what_was_planned_and_never_indexed(deps: Deps, store: BreakingStore) -> None:
    job, _ = open_job(request_of(batch_items=4), deps, driver=HERE)
    refs = list(store.list_objects(BUCKET))
    planned = [make_batch(refs, job_id=job.job_id, request=job.request, path="00000000")]
    findings = Findings(planned=tuple(refs))
    deps.ledger.record_plan(job.job_id, planned, cursor=KEYS[-1], ignored=0, findings=findings)
    outlook = preview(request_of(), store, deps.ledger.book, first=1)
    assert (outlook.counts[Change.NEW], outlook.counts[Change.CHANGED]) == (20, 0)

"""A collection moves to another model: filled, promoted, dropped, and each step twice."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.embedded import DriverOptions, run_job
from pipeline.errors import (
    ArgumentError,
    ConflictError,
    DeniedError,
    ModelMismatchError,
    NotFoundError,
    TargetError,
)
from pipeline.location import parse_location
from pipeline.ports import Deps
from pipeline.search.query import Bytes
from pipeline.service.access import Caller, Permission, local_caller
from pipeline.service.delete import delete_objects, drop_collection
from pipeline.service.drop_generation import drop_generation, find_droppable
from pipeline.service.models import LoadedOnDemand, ResidentModel
from pipeline.service.promote import promote_generation
from pipeline.service.search import SearchAnswer, SearchPorts, SearchRequest, search_images
from pipeline.service.show import list_generations
from pipeline.service.submit import Submission, submit_embedded
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_persons import MemoryPersonBook
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import WORKERS, CollectionRef, Job, VersionState
from tests.accountable import NO_LOG, accountability
from tests.index_rows import ids_in
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    CONCURRENCY,
    HERE,
    LIMITS,
    OTHER_SPEC,
    SPEC,
    TARGET,
    FakeEmbedder,
    distinct_png,
    error_of,
)

ME = local_caller()
WANTED = Submission(
    location=parse_location(f"s3://{BUCKET}/"), collection=COLLECTION, batch_items=4, new_generation=True
)
SECOND = CollectionRef(name=COLLECTION, fingerprint=OTHER_SPEC.fingerprint)


class OtherEmbedder(FakeEmbedder):
    """Its vectors say nothing to the first model."""

    def __init__(self) -> None:
        super().__init__(OTHER_SPEC)

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return -super().embed_images(pixels)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(BUCKET)
    for number in range(10):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    return store


@pytest.fixture
def other(deps: Deps) -> Deps:
    return replace(deps, embedder=OtherEmbedder())


def ingest(deps: Deps, wanted: Submission = WANTED) -> Job:
    job, _ = submit_embedded(wanted, deps, NO_LOG, ME, driver=HERE)
    return run_job(job, deps, LIMITS, DriverOptions(retry_delays_s=()), on_progress=lambda _: None)


def search(deps: Deps, index: MemoryIndex, number: int = 3) -> SearchAnswer:
    ports = SearchPorts(
        store=deps.store,
        index=index,
        answers_to=accountability(index),
        models=LoadedOnDemand(index, load, requested="", precision="auto"),
        concurrency=CONCURRENCY,
    )
    query = Bytes(text="q", body=distinct_png(number))
    [answer] = search_images([query], SearchRequest(collection=COLLECTION, k=1), ports, LIMITS, ME)
    return answer


def load(address: str, _precision: str) -> FakeEmbedder:
    return OtherEmbedder() if address == OTHER_SPEC.address else FakeEmbedder()


def test_another_model_is_refused_and_the_message_names_the_way(other: Deps) -> None:
    said = error_of(lambda: ingest(other, replace(WANTED, new_generation=False)), ModelMismatchError)
    assert f"`pictor ingest SOURCE --collection {COLLECTION} --model MODEL --new-generation`" in said
    assert other.ledger.list_jobs() == []


def test_a_second_generation_is_filled_counted_and_kept_as_a_collection_of_its_own(
    deps: Deps, other: Deps, store: MemoryStore, index: MemoryIndex
) -> None:
    ingest(deps)
    store.put(BUCKET, "9.png", b"no picture, but a text of some length")
    first = ingest(other).counts
    assert (first.scanned, first.indexed, first.unchanged, first.failed) == (10, 9, 0, 1)
    again = ingest(other).counts
    assert (again.indexed, again.unchanged, again.failed) == (0, 9, 1), "it has its own entries in the book"
    assert [(info.rows, info.live) for info in index.list_generations(COLLECTION)] == [(9, False), (10, True)]
    store.delete(BUCKET, "0.png")
    assert ingest(other).counts.removed == 1
    assert [info.rows for info in index.list_generations(COLLECTION)] == [8, 10]
    changed = ingest(deps).counts
    assert (changed.removed, changed.unchanged) == (1, 8)


def test_searches_follow_the_promotion(deps: Deps, other: Deps, index: MemoryIndex) -> None:
    ingest(deps)
    ingest(other)
    assert [hit.key for hit in search(deps, index).hits] == ["3.png"]
    former, chosen = promote_generation(COLLECTION, OTHER_SPEC.fingerprint[:8], index, ME)
    assert (former and former.ref, chosen.ref, chosen.rows) == (TARGET, SECOND, 10)
    assert [(hit.key, hit.score) for hit in search(deps, index).hits] == [("3.png", 1.0)]
    assert index.live(COLLECTION) == SECOND
    assert promote_generation(COLLECTION, OTHER_SPEC.fingerprint, index, ME)[1].ref == SECOND
    promote_generation(COLLECTION, SPEC.fingerprint[:4], index, ME)
    assert index.live(COLLECTION) == TARGET


class LateIndex(MemoryIndex):
    """Believes in the generation that was live when it was made until it is asked for the latest."""

    def __init__(self, like: MemoryIndex) -> None:
        super().__init__()
        self._generations, self._live = like._generations, like._live
        self._believed = super().live(COLLECTION)
        self.latest_asked = 0

    def live(self, name: str, *, latest: bool = False) -> CollectionRef:
        if latest:
            self.latest_asked += 1
            self._believed = super().live(name)
        return self._believed


def test_a_search_that_meets_a_dropped_generation_goes_on_with_the_live_one(
    deps: Deps, other: Deps, index: MemoryIndex
) -> None:
    ingest(deps)
    ingest(other)
    late = LateIndex(index)
    promote_generation(COLLECTION, OTHER_SPEC.fingerprint, index, ME)
    assert [hit.key for hit in search(deps, late).hits] == ["3.png"], "the former is there"
    assert late.latest_asked == 0
    drop_generation(COLLECTION, SPEC.fingerprint, index, deps.ledger.book, NO_LOG, ME)
    assert [hit.key for hit in search(deps, late).hits] == ["3.png"]
    assert (late.latest_asked, late.live(COLLECTION)) == (1, SECOND)
    drop_collection(COLLECTION, index, deps.ledger.book, MemoryPersonBook(), NO_LOG, ME)
    with pytest.raises(TargetError, match="does not exist"):
        search(deps, late)


def test_a_process_of_one_model_answers_for_its_generation_alone(index: MemoryIndex) -> None:
    index.open_generation(COLLECTION, OTHER_SPEC)
    resident = ResidentModel(FakeEmbedder(), index)
    assert resident.answering(TARGET).spec == SPEC
    said = error_of(lambda: resident.answering(SECOND), ModelMismatchError)
    assert "model 'other' (0e0e0e0e), not of 'fake' (f0f0f0f0)" in said


def test_dropping_forgets_the_book_and_is_finished_by_the_next_call(
    deps: Deps, other: Deps, index: MemoryIndex, ledger: SqlLedger
) -> None:
    ingest(deps)
    ingest(other)
    book = ledger.book

    def entries(ref: CollectionRef) -> int:
        return len(list(book.list_by_id(ref.generation)))

    digits = SECOND.fingerprint[:8]
    assert drop_generation(COLLECTION, digits, index, book, NO_LOG, ME).rows == 10
    assert (entries(SECOND), entries(TARGET)) == (0, 10)
    ingest(other)
    index.drop_generation(SECOND)  # and then it was killed
    assert entries(SECOND) == 10
    said = error_of(lambda: drop_generation(COLLECTION, digits, index, book, NO_LOG, ME), NotFoundError)
    assert said == "collection 'images' has no generation '0e0e0e0e'; there are: f0f0f0f0 (fake)"
    assert (entries(SECOND), entries(TARGET)) == (0, 10)
    assert ingest(other).counts.indexed == 10


def test_the_live_one_is_not_dropped_nor_is_an_empty_one_promoted(deps: Deps, index: MemoryIndex) -> None:
    ingest(deps)
    index.open_generation(COLLECTION, OTHER_SPEC)
    book = deps.ledger.book
    asked = error_of(lambda: find_droppable(COLLECTION, "f0", index, book, ME), ConflictError)
    said = error_of(lambda: drop_generation(COLLECTION, "f0", index, book, NO_LOG, ME), ConflictError)
    assert asked == said, "nobody is asked to confirm what will be refused"
    assert "is live; promote another one first, or drop the whole collection" in said
    assert len(list(book.list_by_id(TARGET.generation))) == 10
    said = error_of(lambda: promote_generation(COLLECTION, "0e", index, ME), ConflictError)
    assert "has no rows yet: searches would find nothing" in said
    assert index.live(COLLECTION) == TARGET


def test_digits_that_are_wrong_or_too_few_name_what_is_there(index: MemoryIndex) -> None:
    alike = replace(OTHER_SPEC, fingerprint="f1" * 32, name="alike")
    index.open_generation(COLLECTION, alike)
    there = "there are: f0f0f0f0 (fake), f1f1f1f1 (alike)"
    for digits in ("", "7", "f0f0f0f1"):
        promote = partial(promote_generation, COLLECTION, digits, index, ME)
        said = error_of(promote, NotFoundError)
        assert said == f"collection 'images' has no generation {digits!r}; {there}"
    said = error_of(lambda: promote_generation(COLLECTION, "f", index, ME), ArgumentError)
    assert said == "2 generations of collection 'images' begin with f; give more digits"
    said = error_of(lambda: promote_generation("nowhere", "f", index, ME), NotFoundError)
    assert said == "collection 'nowhere' does not exist; there are: images"


def test_an_object_that_is_deleted_leaves_all_generations(
    deps: Deps, other: Deps, index: MemoryIndex, ledger: SqlLedger
) -> None:
    ingest(deps)
    ingest(other)
    delete_objects(
        BUCKET,
        ["3.png"],
        collection=COLLECTION,
        index=index,
        ledger=ledger,
        answers_to=NO_LOG,
        caller=ME,
        meant_at=datetime.now(UTC),
        driver=WORKERS,
    )
    for ref in (TARGET, SECOND):
        states = [entry.state for entry in ledger.book.list_by_id(ref.generation)]
        assert len(ids_in(index, ref)) == states.count(VersionState.INDEXED) == 9
        assert states.count(VersionState.REMOVED) == 1, "remembered, so that no late batch brings it back"


def test_dropping_the_collection_forgets_the_books_of_all(
    deps: Deps, other: Deps, index: MemoryIndex, ledger: SqlLedger
) -> None:
    ingest(deps)
    ingest(other)
    drop_collection(COLLECTION, index, ledger.book, MemoryPersonBook(), NO_LOG, ME)
    for ref in (TARGET, SECOND):
        assert list(ledger.book.list_by_id(ref.generation)) == []


@pytest.mark.parametrize(
    ("permission", "use_case"),
    [
        (Permission.OPERATE, lambda i, _, c: promote_generation(COLLECTION, "f0", i, c)),
        (Permission.OPERATE, lambda i, d, c: drop_generation(COLLECTION, "0e", i, d.ledger.book, NO_LOG, c)),
        (Permission.READ, lambda i, _, c: list_generations(COLLECTION, i, c)),
    ],
)
def test_each_use_case_asks_for_its_permission(
    index: MemoryIndex, deps: Deps, permission: Permission, use_case: Callable[[Any, Deps, Caller], object]
) -> None:
    index.open_generation(COLLECTION, OTHER_SPEC)
    with pytest.raises(DeniedError, match=f"permission {permission} is needed"):
        use_case(index, deps, Caller(who="ann", permissions=frozenset(Permission) - {permission}))
    assert len(index.list_generations(COLLECTION)) == 2
    use_case(index, deps, Caller(who="ann", permissions=frozenset({permission})))

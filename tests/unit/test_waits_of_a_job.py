"""When a job asks its index what takes a server 0.3 s, because it first shows all writes (decision 0194)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.ingest.plan import plan_job
from pipeline.ingest.sync import prepare_book
from pipeline.location import parse_location
from pipeline.ports import Deps
from pipeline.service.access import local_caller
from pipeline.service.submit import Submission, submit_to_workers
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    CollectionInfo,
    CollectionRef,
    IndexedImage,
    IndexRow,
    ModelBeside,
    ModelSpec,
    image_id_of,
)
from tests.accountable import NO_LOG
from tests.index_rows import put
from tests.unit.fakes import BUCKET, COLLECTION, OTHER_SPEC, SPEC, TARGET, FakeEmbedder, distinct_png, ref_of

NOW = datetime.now(UTC)
VECTOR = np.ones(SPEC.dim, dtype=np.float32) / np.sqrt(np.float32(SPEC.dim))
WANTED = Submission(location=parse_location(f"s3://{BUCKET}/"), collection=COLLECTION, batch_items=4)


class AskedIndex(MemoryIndex):
    """Keeps which of the questions that wait it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        self.asked.append("create")
        return super().create_collection(name, model)

    def list_images(self, ref: CollectionRef, *, start_after: str = "") -> Iterator[IndexedImage]:
        self.asked.append("list")
        return super().list_images(ref, start_after=start_after)


@pytest.fixture
def index() -> AskedIndex:
    return AskedIndex()


def asked_by_a_job(deps: Deps, index: AskedIndex) -> list[str]:
    """From its submission to its first plan."""
    index.asked.clear()
    job = submit_to_workers(WANTED, deps, NO_LOG, local_caller())
    assert prepare_book(job, deps, lambda: True)
    assert deps.ledger.book.filled_to(TARGET.generation) is None
    (step,) = plan_job(job, deps.store, deps.ledger.book)
    assert step.batch
    assert deps.ledger.record_plan(
        job.job_id, [step.batch], cursor=step.cursor, ignored=0, findings=step.findings
    )
    return index.asked


@pytest.fixture(autouse=True)
def picture(store: MemoryStore) -> None:
    store.put(BUCKET, "a.png", distinct_png(0))


def test_nothing_is_waited_for_where_nobody_wrote(deps: Deps, index: AskedIndex) -> None:
    index.create_collection(COLLECTION, SPEC)
    assert asked_by_a_job(deps, index) == []


def test_a_collection_that_is_not_there_is_made(deps: Deps, index: AskedIndex) -> None:
    assert asked_by_a_job(deps, index) == ["create"]


def test_lookups_see_what_the_job_before_has_written(deps: Deps, index: AskedIndex) -> None:
    index.create_collection(COLLECTION, SPEC)
    asked_by_a_job(deps, index)
    assert asked_by_a_job(deps, index) == ["create"]


def test_rows_from_before_the_book_are_entered(deps: Deps, index: AskedIndex) -> None:
    index.create_collection(COLLECTION, SPEC)
    row = IndexRow(
        id=image_id_of(BUCKET, "b.png"), ref=ref_of("b.png"), vector=VECTOR, width=1, height=1, indexed_at=NOW
    )
    put(index, TARGET, [row])
    assert asked_by_a_job(deps, index) == ["list"]
    assert deps.ledger.book.holds_rows(TARGET.generation)


def test_rows_of_another_embedding_are_looked_for_where_the_first_has_none(
    deps: Deps, index: AskedIndex
) -> None:
    """Whoever made the collection may have been killed before it had made all of its parts."""
    spec = replace(SPEC, beside=(ModelBeside(name="copies", spec=OTHER_SPEC),))
    index.create_collection(COLLECTION, spec)
    deps = replace(deps, embedder=FakeEmbedder(spec))
    assert asked_by_a_job(deps, index) == ["create", "list"]

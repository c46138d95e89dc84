"""A model that looks at parts of an image, from the store to the index and the book."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.embedded import DriverOptions, run_job
from pipeline.errors import ErrorCode, ModelError
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.run_batch import run_batch, stage_batch
from pipeline.ingest.verify import Difference, verify_collection
from pipeline.ports import Deps, ViewFinder
from pipeline.ports.embedder import check_finder, never_late, require_capability
from pipeline.ports.model_binding import find_generation
from pipeline.search.query import Bytes, Stored
from pipeline.service.access import local_caller
from pipeline.service.models import ResidentModel
from pipeline.service.search import SearchAnswer, SearchPorts, SearchRequest, search_images
from pipeline.service.submit import open_job
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    BatchReport,
    Box,
    Capability,
    CollectionRef,
    Job,
    Prepared,
    VersionState,
    View,
    image_id_of,
)
from tests.accountable import accountability
from tests.index_rows import etags_in, ids_in, put
from tests.unit.fakes import (
    BLACK,
    BLUE,
    BUCKET,
    COLLECTION,
    CONCURRENCY,
    GREEN,
    HERE,
    LIMITS,
    RED,
    SIDE,
    SPEC,
    WHITE,
    FakeEmbedder,
    error_of,
    four_quarters,
    plan_one_batch,
    png,
    request_of,
)

FACES = replace(SPEC, name="faces", fingerprint="fa" * 32, capabilities=(Capability.IMAGES, Capability.VIEWS))
TARGET = CollectionRef(name=COLLECTION, fingerprint=FACES.fingerprint)
COLOURS = [RED, GREEN, BLUE, WHITE]


class QuarterFinder:
    """A view for each quarter of a picture that is not dark, in reading order."""

    min_side_px = 2 * SIDE

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def find_views(
        self, rgb: NDArray[np.uint8], *, check_time: Callable[[], None] = never_late
    ) -> Sequence[View]:
        check_time()
        self.seen.append(rgb.shape)
        height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
        boxes = [
            Box(left=left, top=top, width=width, height=height) for top in (0, height) for left in (0, width)
        ]
        parts = [rgb[b.top : b.top + height, b.left : b.left + width] for b in boxes]
        views = [View(pixels=plain(part), box=box) for box, part in zip(boxes, parts, strict=True)]
        return [view for view in views if view.pixels.max() > 10]


def plain(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colour = rgb.mean(axis=(0, 1)).astype(np.uint8)
    return np.broadcast_to(colour[:, None, None], (3, SIDE, SIDE))


@pytest.fixture
def index() -> MemoryIndex:
    index = MemoryIndex()
    index.create_collection(COLLECTION, FACES)
    return index


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder(FACES)


@pytest.fixture
def deps(deps: Deps) -> Deps:
    return replace(deps, finder=QuarterFinder(), staging_bucket="blocks")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(BUCKET, "blocks")
    store.put(BUCKET, "four.png", four_quarters(COLOURS))
    store.put(BUCKET, "two.png", four_quarters([RED, BLACK, BLACK, BLUE]))
    store.put(BUCKET, "none.png", png(BLACK, 40, 30))
    store.put(BUCKET, "bad.png", b"no picture, but a text of some length")
    return store


def ingest(deps: Deps) -> Job:
    job, _ = open_job(request_of(spec=FACES), deps, driver=HERE)
    return run_job(job, deps, LIMITS, DriverOptions(retry_delays_s=()), on_progress=lambda _: None)


def ingest_staged(deps: Deps) -> BatchReport:
    batch = plan_one_batch(deps, spec=FACES)
    assert stage_batch(batch, deps, LIMITS, PhaseClock()) is None
    embed_tier = replace(deps, finder=None)  # the crops are in the block
    report = run_batch(replace(batch, staged=True), embed_tier, LIMITS)
    deps.ledger.report(report)
    return report


def rows(deps: Deps) -> dict[str, int]:
    return {image.ref.key: image.rows for image in deps.index.list_images(TARGET)}


def booked(deps: Deps) -> dict[str, tuple[VersionState, int]]:
    entries = deps.ledger.book.list_versions(TARGET.generation, BUCKET)
    return {entry.ref.key: (entry.state, entry.vectors) for entry in entries}


BOOKED = {
    "bad.png": (VersionState.FAILED, 0),
    "four.png": (VersionState.INDEXED, 4),
    "none.png": (VersionState.NOTHING_FOUND, 0),
    "two.png": (VersionState.INDEXED, 2),
}


def test_each_view_is_a_row_and_an_image_without_one_is_not_looked_at_again(
    deps: Deps, store: MemoryStore, embedder: FakeEmbedder
) -> None:
    counts = ingest(deps).counts
    assert (counts.scanned, counts.indexed, counts.failed) == (4, 3, 1)
    assert rows(deps) == {"four.png": 4, "two.png": 2}
    assert booked(deps) == BOOKED
    four = image_id_of(BUCKET, "four.png")
    assert [row.id for row in deps.index.get_images(TARGET, [four])[four]] == [
        f"{four}:{place:02}" for place in range(4)
    ]
    assert isinstance(deps.finder, QuarterFinder)
    deps.finder.seen.clear()
    embedder.calls.clear()
    again = ingest(deps).counts
    assert (again.indexed, again.unchanged, again.failed) == (0, 3, 1)
    assert (deps.finder.seen, embedder.calls) == ([], [])


def test_a_staged_batch_ends_as_an_embedded_one(deps: Deps) -> None:
    report = ingest_staged(deps)
    assert (report.indexed, report.unchanged, len(report.rejected)) == (3, 0, 1)
    assert rows(deps) == {"four.png": 4, "two.png": 2}
    assert booked(deps) == BOOKED


@pytest.mark.parametrize("staged", [False, True])
def test_an_image_that_shows_less_than_before_has_fewer_rows(
    deps: Deps, store: MemoryStore, staged: bool
) -> None:
    ingest(deps)
    store.put(BUCKET, "four.png", four_quarters([WHITE, BLACK, BLACK, BLACK]))
    store.put(BUCKET, "two.png", png(BLACK, 40, 30))
    ingest_staged(deps) if staged else ingest(deps)
    assert rows(deps) == {"four.png": 1}
    assert booked(deps) == BOOKED | {
        "four.png": (VersionState.INDEXED, 1),
        "two.png": (VersionState.NOTHING_FOUND, 0),
    }
    store.put(BUCKET, "four.png", b"no picture, but a text of some length")
    ingest(deps)
    assert rows(deps) == {}


def test_a_batch_that_is_delivered_twice_keeps_its_counts_of_views(deps: Deps) -> None:
    batch = plan_one_batch(deps, spec=FACES)
    first = run_batch(batch, deps, LIMITS)
    second = run_batch(batch, deps, LIMITS)
    assert (first.indexed, second.indexed, second.unchanged) == (3, 1, 2), "only the empty one is read again"
    assert {entry.ref.key: entry.vectors for entry in second.versions} == {
        key: vectors for key, (_, vectors) in BOOKED.items()
    }


def test_a_copy_takes_over_all_vectors_and_reads_nothing(deps: Deps, store: MemoryStore) -> None:
    ingest(deps)
    assert isinstance(deps.finder, QuarterFinder)
    deps.finder.seen.clear()
    store.put(BUCKET, "again.png", four_quarters(COLOURS))
    assert ingest(deps).counts.indexed == 1
    assert (rows(deps)["again.png"], deps.finder.seen) == (4, [])
    assert booked(deps)["again.png"] == (VersionState.INDEXED, 4)


def test_a_staged_copy_keeps_its_count_in_the_book(deps: Deps, store: MemoryStore) -> None:
    ingest(deps)
    store.put(BUCKET, "again.png", four_quarters(COLOURS))
    store.put(BUCKET, "new.png", four_quarters([BLUE, WHITE, RED, GREEN]))
    batch = plan_one_batch(deps, "again.png", "new.png", "two.png", spec=FACES)
    assert stage_batch(batch, deps, LIMITS, PhaseClock()) is None
    report = run_batch(replace(batch, staged=True), deps, LIMITS)
    assert (report.indexed, report.unchanged) == (2, 1)
    assert {entry.ref.key: entry.vectors for entry in report.versions} == {
        "again.png": 4,
        "new.png": 4,
        "two.png": 2,
    }


def test_what_a_killed_writer_left_of_two_versions_is_done_again(deps: Deps, index: MemoryIndex) -> None:
    ingest(deps)
    four = image_id_of(BUCKET, "four.png")
    newest = index.get_images(TARGET, [four])[four]
    older = [replace(row, ref=replace(row.ref, etag="older")) for row in newest]
    put(index, TARGET, [*newest[:2], *older[2:]])
    assert etags_in(index, TARGET, [four]) == {four: ""}
    report = run_batch(plan_one_batch(deps, "four.png", spec=FACES), deps, LIMITS)
    assert (report.indexed, etags_in(index, TARGET, [four])) == (1, {four: newest[0].ref.etag})


def test_verify_counts_the_rows_of_an_image(deps: Deps, index: MemoryIndex) -> None:
    ingest(deps)
    info, book = find_generation(TARGET, index), deps.ledger.book
    assert verify_collection(info, index, book, repair=False, first=1).differences == 0
    four = image_id_of(BUCKET, "four.png")
    put(index, TARGET, index.get_images(TARGET, [four])[four][:3])
    found = verify_collection(info, index, book, repair=True, first=1)
    assert (found.counts[Difference.OTHER_VERSION], found.differences) == (1, 1)
    assert booked(deps)["four.png"] == (VersionState.INDEXED, 3)
    assert verify_collection(info, index, book, repair=False, first=1).differences == 0


def test_a_collection_from_before_the_book_is_entered_with_its_counts(deps: Deps) -> None:
    ingest(deps)
    deps.ledger.book.forget_generation(TARGET.generation)
    deps.ledger.book.record_fill(TARGET.generation, [], filled_to="")
    assert ingest(deps).counts.unchanged == 2, "that nothing was found in the third, the index cannot say"
    assert booked(deps) == BOOKED


def test_boxes_are_in_pixels_of_the_upright_original(deps: Deps, store: MemoryStore) -> None:
    from pipeline.ingest.prepare import prepare_all

    store.put(BUCKET, "large.jpg", four_quarters(COLOURS, side=640, kind="JPEG"))
    finder = QuarterFinder()
    refs = [ref for ref in store.list_objects(BUCKET) if ref.key == "large.jpg"]
    [outcome] = prepare_all(
        refs, store, FACES.preprocessing, LIMITS, PhaseClock(), concurrency=CONCURRENCY, finder=finder
    )
    assert isinstance(outcome, Prepared)
    assert max(finder.seen[0]) < 640, "it was decoded smaller, as the finder allows"
    assert (outcome.width, outcome.height) == (640, 640)
    assert [view.box for view in outcome.views] == [
        Box(left=left, top=top, width=320, height=320) for top in (0, 320) for left in (0, 320)
    ]


def search(deps: Deps, query: Bytes | Stored) -> SearchAnswer:
    ports = SearchPorts(
        store=deps.store,
        index=deps.index,
        answers_to=accountability(deps.index),
        models=ResidentModel(deps.embedder, deps.index, deps.finder),
        concurrency=CONCURRENCY,
    )
    request = SearchRequest(collection=COLLECTION, k=2)
    [answer] = search_images([query], request, ports, LIMITS, local_caller())
    return answer


def test_a_search_asks_for_the_best_view_of_a_picture_or_for_a_stored_one(deps: Deps) -> None:
    ingest(deps)
    four, two = (image_id_of(BUCKET, key) for key in ("four.png", "two.png"))
    red = search(deps, Bytes(text="q", body=four_quarters([RED, BLUE, BLUE, BLUE])))
    assert {hit.id for hit in red.hits} == {f"{four}:00", f"{two}:00"}
    blue = search(deps, Stored(text="q", id=f"{two}:01"))
    assert {hit.id for hit in blue.hits} == {f"{four}:02", f"{two}:01"}
    nothing = search(deps, Bytes(text="q", body=png(BLACK, 40, 30)))
    assert (nothing.hits, nothing.code) == ((), ErrorCode.INVALID_ARGUMENT.value)
    assert "finds nothing in this picture" in nothing.error


def test_a_model_is_asked_only_for_what_it_has(deps: Deps) -> None:
    said = error_of(lambda: require_capability(FACES, Capability.TEXT), ModelError)
    assert said == "model 'faces' cannot be asked for text; it has: images, views"
    batch = plan_one_batch(deps, spec=FACES)
    for spec, finder in ((SPEC, deps.finder), (FACES, None)):
        without = replace(deps, embedder=FakeEmbedder(spec), finder=finder)
        with pytest.raises(ModelError, match=f"model '{spec.name}'"):
            run_batch(batch, without, LIMITS)
    assert ids_in(deps.index, TARGET) == []
    finder_of_faces: ViewFinder | None = deps.finder
    check_finder(FACES, finder_of_faces)

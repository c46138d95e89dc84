"""Two models in one collection: each image is read and decoded once, and has a vector of each, or none."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

import pipeline.image.decode
from pipeline.adapters.beside.index import BesideIndex
from pipeline.errors import ModelError
from pipeline.image.decode.cuda_jpeg import JpegBatcher
from pipeline.ingest.block import pack_block, unpack_block
from pipeline.ingest.handle import handle_embed, handle_prepare
from pipeline.ingest.message import encode_batch
from pipeline.ingest.one_image import decode_object
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps, ImageLimits
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import (
    WORKERS,
    CollectionRef,
    EmbedBatch,
    FetchedObject,
    IndexRow,
    JobState,
    ObjectRef,
    Prepared,
    Preprocessing,
    Reason,
    Verdict,
)
from tests.image_files import encode
from tests.unit.fakes import (
    BLACK,
    BUCKET,
    COLLECTION,
    GREEN,
    LIMITS,
    RED,
    SIDE,
    distinct_png,
    is_dark,
    jpeg,
    plan_one_batch,
)
from tests.unit.memory_broker import MemoryBroker
from tests.unit.test_colour_profiles import GOOD
from tests.unit.test_cuda_jpeg import CpuBatches
from tests.unit.test_face_workers import ONE_THREAD, STAGING, CountingStore, Killed, Workers
from tests.unit.two_models import (
    COPIES,
    COPIES_SIDE,
    COPIES_SPEC,
    TWO_SPEC,
    TWO_TARGET,
    CopyEmbedder,
    deps_of_two,
    rows_of_two,
    vectors_of_two,
)
from workers.process.context import Context

KEYS = [f"{number}.png" for number in range(5)]


@pytest.fixture
def store() -> CountingStore:
    store = CountingStore(BUCKET, STAGING)
    for number, key in enumerate(KEYS):
        store.put(BUCKET, key, distinct_png(number))
    return store


@pytest.fixture
def deps(deps: Deps) -> Deps:
    return replace(deps_of_two(deps), concurrency=ONE_THREAD)


def batch_of(deps: Deps, *keys: str) -> EmbedBatch:
    return plan_one_batch(deps, *keys, spec=TWO_SPEC)


def copies_of(deps: Deps) -> CopyEmbedder:
    embedder = deps.beside[COPIES]
    assert isinstance(embedder, CopyEmbedder)
    return embedder


def test_each_image_is_read_once_and_has_the_vector_of_each_model(deps: Deps, store: CountingStore) -> None:
    report = run_batch(batch_of(deps), deps, LIMITS)
    assert (report.indexed, report.rejected) == (5, ())
    assert sorted(store.read) == KEYS
    rows = rows_of_two(deps)
    assert sorted(rows) == KEYS
    for number, key in enumerate(KEYS):
        ref, fetched = store.stat(BUCKET, key), FetchedObject(body=distinct_png(number))
        alone = decode_object(ref, fetched, COPIES_SPEC.preprocessing, LIMITS).views[0].pixels
        [vector] = CopyEmbedder().embed_images(alone[None])
        assert rows[key].beside[COPIES] == pytest.approx(vector)
    assert len({tuple(row.beside[COPIES]) for row in rows.values()}) == len(KEYS)


def test_both_models_see_the_same_groups(deps: Deps) -> None:
    run_batch(batch_of(deps), deps, LIMITS)
    assert copies_of(deps).calls == deps.embedder.calls == [4, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer", [math.nan, math.inf, 0.0])
def test_an_image_that_one_model_cannot_answer_is_rejected_and_the_embedding_named(
    deps: Deps, store: CountingStore, answer: float
) -> None:
    store.put(BUCKET, "dark.jpg", jpeg(BLACK))
    copies_of(deps).answer_with(answer, is_dark)
    [rejected] = run_batch(batch_of(deps), deps, LIMITS).rejected
    assert (rejected.ref.key, rejected.reason) == ("dark.jpg", Reason.NOT_FINITE)
    assert (
        rejected.detail == "the model's answer for this image for embedding 'copies' is NaN, infinite or zero"
    )
    assert sorted(rows_of_two(deps)) == KEYS


def test_a_changed_image_that_one_model_cannot_answer_is_in_the_index_no_more(
    deps: Deps, store: CountingStore
) -> None:
    run_batch(batch_of(deps), deps, LIMITS)
    store.put(BUCKET, KEYS[0], jpeg(BLACK))
    copies_of(deps).answer_with(math.nan, is_dark)
    run_batch(batch_of(deps), deps, LIMITS)
    assert sorted(rows_of_two(deps)) == KEYS[1:]


def test_a_changed_image_gets_both_vectors_anew(deps: Deps, store: CountingStore) -> None:
    run_batch(batch_of(deps), deps, LIMITS)
    before = vectors_of_two(deps)
    store.put(BUCKET, KEYS[0], jpeg(RED))
    run_batch(batch_of(deps), deps, LIMITS)
    after = vectors_of_two(deps)
    assert before.pop(KEYS[0])[0] != after[KEYS[0]][0]
    assert run_batch(batch_of(deps), deps, LIMITS).unchanged == 5
    assert {key: after[key] for key in before} == before


def test_content_that_is_known_under_another_key_takes_both_vectors_along(
    deps: Deps, store: CountingStore
) -> None:
    run_batch(first := batch_of(deps), deps, LIMITS)
    deps.ledger.report(run_batch(first, deps, LIMITS))
    store.put(BUCKET, "copy.png", distinct_png(0))
    store.read.clear()
    run_batch(batch_of(deps, "copy.png"), deps, LIMITS)
    vectors = vectors_of_two(deps)
    assert (vectors["copy.png"], store.read) == (vectors[KEYS[0]], [])


def test_a_row_that_lacks_an_embedding_is_nothing_to_copy(deps: Deps, store: CountingStore) -> None:
    batch = batch_of(deps)
    deps.ledger.report(run_batch(batch, deps, LIMITS))
    [image_id] = [ref.image_id for ref in batch.refs if ref.key == KEYS[0]]
    [row] = deps.index.get_images(TWO_TARGET, [image_id])[image_id]
    deps = replace(deps, index=Poorer(deps.index, image_id, [replace(row, beside={})]))  # type: ignore[arg-type]
    store.put(BUCKET, "copy.png", distinct_png(0))
    store.read.clear()
    run_batch(batch_of(deps, "copy.png"), deps, LIMITS)
    assert store.read == ["copy.png"]


class Poorer:
    """An index that has other rows of one image than it should."""

    def __init__(self, index: MemoryIndex, image_id: str, rows: Sequence[IndexRow]) -> None:
        self._index, self._found = index, {image_id: rows}

    def __getattr__(self, name: str) -> object:
        return getattr(self._index, name)

    def get_images(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, Sequence[IndexRow]]:
        return {**self._index.get_images(ref, image_ids, latest=latest), **self._found}


def test_a_batch_without_one_of_the_models_is_not_begun(deps: Deps) -> None:
    alone = replace(deps, beside={})
    with pytest.raises(ModelError, match="model 'two' has an embedding 'copies', whose model is not here"):
        run_batch(batch_of(deps), alone, LIMITS)
    assert rows_of_two(deps) == {}


class Dying(MemoryIndex):
    """An index of single vectors whose process is killed at one of its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left: int | None = None

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        if self.writes_left == 0:
            self.writes_left = None
            raise Killed
        if self.writes_left is not None:
            self.writes_left -= 1
        super().replace_images(ref, images)


@pytest.mark.parametrize("writes", [0, 1], ids=["before both writes", "between them"])
@pytest.mark.parametrize("goes_back", [False, True], ids=["the object stays", "the object goes back"])
def test_a_kill_between_the_writes_of_two_embeddings_is_made_good_by_the_next_delivery(
    deps: Deps, store: CountingStore, writes: int, goes_back: bool
) -> None:
    below = Dying()
    deps = replace(deps, index=BesideIndex(below))
    deps.index.create_collection(COLLECTION, TWO_SPEC)
    run_batch(batch_of(deps), deps, LIMITS)
    store.put(BUCKET, KEYS[0], jpeg(RED))
    store.put(BUCKET, "new.jpg", jpeg(GREEN))
    batch, below.writes_left = batch_of(deps), writes
    with pytest.raises(Killed):
        run_batch(batch, deps, LIMITS)
    if goes_back:
        store.put(BUCKET, KEYS[0], distinct_png(0))
        batch = batch_of(deps)
    run_batch(batch, deps, LIMITS)
    whole = deps_of_two(deps)
    run_batch(batch_of(whole), whole, LIMITS)
    assert vectors_of_two(deps) == vectors_of_two(whole)
    assert run_batch(batch_of(deps), deps, LIMITS).unchanged == len(KEYS) + 1


# The decode.

SMALL = Preprocessing(resize=40, crop=32, mean=(0, 0, 0), std=(1, 1, 1))
LARGE = Preprocessing(resize=300, crop=288, mean=(0, 0, 0), std=(1, 1, 1), interpolation="bicubic")


def inputs(
    body: bytes, first: Preprocessing, jpeg_device: str = "", **beside: Preprocessing
) -> list[np.ndarray]:
    ref = ObjectRef(bucket="b", key="k", etag="e", size_bytes=len(body))
    fetched = FetchedObject(body=body)
    made = decode_object(ref, fetched, first, ImageLimits(), jpeg_device=jpeg_device, beside=beside)
    [view] = made.views
    return [view.pixels, *(view.beside[name] for name in beside)]


def photograph(kind: str, **options: object) -> bytes:
    y, x = np.mgrid[:1600, :1200]
    smooth = np.dstack([100 + x // 12, 180 - y // 20, (x + y) % 250]).astype(np.uint8)
    return encode(smooth, kind, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_larger_input_is_what_it_would_be_alone_whichever_model_is_first(kind: str) -> None:
    body = photograph(kind)
    [alone] = inputs(body, LARGE)
    small, large = inputs(body, SMALL, large=LARGE)
    np.testing.assert_array_equal(large, alone)
    for found, wanted in zip(inputs(body, LARGE, small=SMALL), (large, small), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert (small.shape, large.shape) == ((3, 32, 32), (3, 288, 288))


def test_colours_are_converted_for_each_model_and_on_a_gpu_s_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = CpuBatches()
    batcher = JpegBatcher(batches)
    monkeypatch.setattr(pipeline.image.decode, "batcher_on", lambda _device: batcher)
    body = photograph("JPEG", icc_profile=GOOD)
    here = inputs(body, SMALL, large=LARGE)
    there = inputs(body, SMALL, "cuda:0", large=LARGE)
    assert batches.sizes == [1], "one decode for both"
    for found, wanted, alone in zip(there, here, (None, inputs(body, LARGE)[0]), strict=True):
        np.testing.assert_array_equal(found, wanted)
        if alone is not None:
            np.testing.assert_array_equal(found, alone)
    plain = inputs(photograph("JPEG"), SMALL, large=LARGE)
    assert all(np.abs(one.astype(int) - other).mean() > 1 for one, other in zip(here, plain, strict=True))


# Through the queues.


@pytest.fixture(params=["inline", "staged"])
def workers(request: pytest.FixtureRequest, deps: Deps, context: Context, broker: MemoryBroker) -> Workers:
    staged = request.param == "staged"
    deps = replace(deps, driver=WORKERS, staging_bucket=STAGING if staged else "")
    return Workers(replace(context, deps=deps), broker, deps.embedder, staged=staged)


def test_workers_write_what_one_process_writes(workers: Workers, deps: Deps) -> None:
    job = workers.ingest()
    assert (job.state, job.counts.indexed, job.counts.failed) == (JobState.COMPLETED, 5, 0)
    here = deps_of_two(deps)
    run_batch(batch_of(here), here, LIMITS)
    assert vectors_of_two(workers.deps) == vectors_of_two(here)
    assert list(workers.deps.store.list_objects(STAGING)) == []


def test_what_one_model_could_not_answer_is_retried(workers: Workers, store: CountingStore) -> None:
    store.put(BUCKET, "dark.jpg", jpeg(BLACK))
    copies_of(workers.deps).answer_with(math.nan, is_dark)
    job = workers.ingest()
    assert (job.state, job.counts.indexed, job.counts.failed) == (JobState.COMPLETED, 5, 1)
    copies_of(workers.deps).answer_with(math.nan, lambda _pixels: False)
    job = workers.retry(job.job_id)
    assert (job.state, job.counts.indexed, job.counts.failed) == (JobState.COMPLETED, 6, 0)
    assert "dark.jpg" in rows_of_two(workers.deps)


# Blocks.


@pytest.fixture
def staged(deps: Deps) -> Deps:
    return replace(deps, staging_bucket=STAGING)


def prepare(deps: Deps) -> tuple[EmbedBatch, bytes]:
    batch = batch_of(deps)
    handled = handle_prepare(encode_batch(batch), deps, LIMITS)
    assert handled.forward is not None
    return batch, encode_batch(handled.forward)


def block_of(deps: Deps) -> tuple[str, bytes]:
    [ref] = deps.store.list_objects(STAGING)
    return ref.key, deps.store.get(ref, max_bytes=10**6).body


def test_a_block_carries_the_inputs_of_all_models(staged: Deps, store: CountingStore) -> None:
    batch, forward = prepare(staged)
    _, body = block_of(staged)
    for outcome in unpack_block(batch, body).outcomes:
        [view] = outcome.views  # type: ignore[union-attr]
        assert view.beside[COPIES].shape == (3, COPIES_SIDE, COPIES_SIDE)
        assert not view.beside[COPIES].flags.owndata
    store.read.clear()
    assert handle_embed(forward, staged, LIMITS).verdict is Verdict.ACK
    assert (sorted(rows_of_two(staged)), store.read) == (KEYS, [])


@pytest.mark.parametrize("beside", [{}, {COPIES: SIDE}, {"other": COPIES_SIDE}], ids=str)
def test_a_block_with_inputs_of_other_models_is_made_up_for(
    staged: Deps, store: CountingStore, beside: Mapping[str, int]
) -> None:
    """Such as one of the version before, which knew no model beside another."""
    batch, forward = prepare(staged)
    key, body = block_of(staged)
    inputs = {name: np.zeros((3, side, side), np.uint8) for name, side in beside.items()}
    made = unpack_block(batch, body)
    outcomes = tuple(
        replace(outcome, views=(replace(outcome.views[0], beside=inputs),))
        for outcome in made.outcomes
        if isinstance(outcome, Prepared)
    )
    store.put(STAGING, key, pack_block(batch, replace(made, outcomes=outcomes)))
    store.read.clear()
    assert handle_embed(forward, staged, LIMITS).verdict is Verdict.ACK
    assert (sorted(rows_of_two(staged)), sorted(store.read)) == (KEYS, KEYS)

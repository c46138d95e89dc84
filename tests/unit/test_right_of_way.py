"""Searches before jobs of the same process: who waits for whom, and for how long at most."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.adapters.models.torch_embedder import TorchEmbedder
from pipeline.ports import Deps
from pipeline.ports.giving_way import StoreGivingWay
from pipeline.search.micro_batches import MicroBatches
from pipeline.search.query import Bytes
from pipeline.search.right_of_way import RightOfWay
from pipeline.service.access import local_caller
from pipeline.service.search import SearchAnswer, SearchRequest
from pipeline.testing.memory_store import MemoryStore
from tests.unit.api_client import backend_of
from tests.unit.fakes import BUCKET, COLLECTION, FakeEmbedder, distinct_png
from tests.unit.test_micro_batches import DEADLINE_S, HeldEmbedder, wait_until
from tests.unit.test_models_embedder import MeanColour, make_embedder, make_pixels

ENDLESS_S = 600.0


class HandClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def jobs() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def way(clock: HandClock, *, allowance_s: float = ENDLESS_S, wait_share: float = 0.0) -> RightOfWay:
    return RightOfWay(most_wait_s=ENDLESS_S, wait_share=wait_share, allowance_s=allowance_s, clock=clock)


@contextmanager
def held_up(way: RightOfWay, jobs: ThreadPoolExecutor, *, threads: int = 1) -> Iterator[None]:
    """A search is in hand, and threads of a job wait for it; both are over at the end."""
    with way.search():
        waiting: list[Future[None]] = [jobs.submit(way.give_way) for _ in range(threads)]
        wait_until(lambda: way.waiting == threads)
        yield
    for job in waiting:
        job.result(DEADLINE_S)


def test_a_job_waits_for_the_last_of_the_searches_and_goes_on(
    clock: HandClock, jobs: ThreadPoolExecutor
) -> None:
    right_of_way = way(clock)
    right_of_way.give_way()  # nobody searches
    with ExitStack() as first:
        first.enter_context(right_of_way.search())
        with held_up(right_of_way, jobs, threads=3):
            first.close()
            assert right_of_way.waiting == 3
    right_of_way.give_way()


def test_a_search_that_fails_holds_nobody_up(clock: HandClock) -> None:
    right_of_way = way(clock)
    with pytest.raises(ValueError, match="broken"), right_of_way.search():
        raise ValueError("broken")
    right_of_way.give_way()


def test_a_job_that_has_waited_its_share_goes_on_beside_searches(
    clock: HandClock, jobs: ThreadPoolExecutor
) -> None:
    right_of_way = way(clock, allowance_s=1.0)
    with held_up(right_of_way, jobs):
        clock.now_s += 1.0
    with right_of_way.search():
        right_of_way.give_way()  # it would hang here


def test_what_threads_wait_at_the_same_time_counts_once(clock: HandClock, jobs: ThreadPoolExecutor) -> None:
    right_of_way = way(clock, allowance_s=1.0)
    with held_up(right_of_way, jobs, threads=3):
        clock.now_s += 0.6
    with held_up(right_of_way, jobs):  # three times 0.6 s would be more than its share
        clock.now_s += 0.6
    with right_of_way.search():
        right_of_way.give_way()


def test_a_job_earns_its_searches_a_share_of_the_time_that_it_works(
    clock: HandClock, jobs: ThreadPoolExecutor
) -> None:
    right_of_way = way(clock, allowance_s=1.0, wait_share=0.25)
    with held_up(right_of_way, jobs):
        clock.now_s += 1.0
    clock.now_s += 2.0
    with held_up(right_of_way, jobs):
        clock.now_s += 0.5
    with right_of_way.search():
        right_of_way.give_way()


def test_one_step_waits_no_longer_than_its_bound() -> None:
    right_of_way = RightOfWay(most_wait_s=0.0)
    with right_of_way.search():
        right_of_way.give_way()


def test_a_store_asks_before_each_object_that_a_job_reads(tmp_path: Path) -> None:
    store, asked = MemoryStore(BUCKET), []
    store.put(BUCKET, "a.png", distinct_png(1))
    giving = StoreGivingWay(store, lambda: asked.append("asked"))
    [ref] = giving.list_objects(BUCKET)
    assert giving.stat(BUCKET, "a.png") == ref
    assert giving.get(ref, max_bytes=10**6).body == distinct_png(1)
    assert asked == ["asked"]


def test_a_model_asks_before_each_forward_pass() -> None:
    module, spec = MeanColour(), make_embedder(MeanColour()).spec
    passes_before: list[int] = []
    embedder = TorchEmbedder(
        module,
        spec,
        device=torch.device("cpu"),
        group_items=4,
        before_pass=lambda: passes_before.append(len(module.groups)),
    )
    assert np.isfinite(embedder.embed_images(make_pixels(10))).all()
    assert passes_before == [0, 1, 2]


def test_a_job_of_the_service_waits_while_a_picture_is_searched_for(
    deps: Deps, store: MemoryStore, tmp_path: Path, jobs: ThreadPoolExecutor
) -> None:
    model = HeldEmbedder()
    right_of_way = RightOfWay(most_wait_s=ENDLESS_S, allowance_s=ENDLESS_S)
    backend = replace(backend_of(replace(deps, embedder=model), tmp_path), right_of_way=right_of_way)
    store.put(BUCKET, "a.png", distinct_png(1))
    reads = backend.deps_with(FakeEmbedder()).store
    query = Bytes(text="picture", body=distinct_png(2))
    request = SearchRequest(collection=COLLECTION)
    search = jobs.submit(backend.search, [query], request, local_caller())
    assert model.begun.acquire(timeout=DEADLINE_S)
    read = jobs.submit(reads.get, store.stat(BUCKET, "a.png"), max_bytes=10**6)
    wait_until(lambda: right_of_way.waiting == 1)
    assert not read.done()
    model.go_on.set()
    assert read.result(DEADLINE_S).body == distinct_png(1)
    assert [answer.error for answer in search.result(DEADLINE_S)] == [""]


def test_pictures_that_wait_for_their_forward_pass_take_no_place_of_those_that_are_decoded(
    deps: Deps, tmp_path: Path, jobs: ThreadPoolExecutor
) -> None:
    """Else no more pictures could go through the model together than cores decode."""
    model = HeldEmbedder()
    with MicroBatches(model, max_wait_s=0) as batches:
        backend = backend_of(replace(deps, embedder=batches), tmp_path)
        request = SearchRequest(collection=COLLECTION)

        def search(number: int) -> list[SearchAnswer]:
            query = Bytes(text="picture", body=distinct_png(number))
            return backend.search([query], request, local_caller())

        searches = [jobs.submit(search, 0)]
        assert model.begun.acquire(timeout=DEADLINE_S)
        searches += [jobs.submit(search, number) for number in (1, 2, 3)]
        wait_until(lambda: batches.waiting_items == 3)
        model.go_on.set()
        assert [answer.error for found in searches for answer in found.result(DEADLINE_S)] == [""] * 4
    assert model.calls == [1, 3]

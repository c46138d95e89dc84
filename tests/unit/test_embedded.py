"""Whole jobs in one process."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.embedded import DriverOptions, held_job, job_lock, run_job
from pipeline.errors import ConfigError, ConflictError, FatalError, PictorError, TransientError
from pipeline.ports import Deps
from pipeline.service.access import local_caller
from pipeline.service.retry import retry_failures
from pipeline.service.submit import open_job
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    EMBEDDED,
    WORKERS,
    CollectionRef,
    FetchedObject,
    Job,
    JobCounts,
    JobRequest,
    JobState,
    ObjectRef,
    embedded_on,
)
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    HERE,
    LIMITS,
    SPEC,
    FakeEmbedder,
    distinct_png,
    failed_reasons,
    indexed_keys,
    request_of,
)

TEXT = b"no picture, but a text of some length"
KEYS = [f"{number:02d}.png" for number in range(10)]
DEADLINE_S = 20


class WatchedStore(MemoryStore):
    """Notes what is read; `break_listing` breaks it off before a key."""

    def __init__(self) -> None:
        super().__init__(BUCKET)
        self.read: list[str] = []
        self._break: tuple[str, Exception] | None = None

    def break_listing(self, at: str, error: Exception) -> None:
        self._break = (at, error)

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        for ref in super().list_objects(bucket, prefix, start_after):
            if self._break and ref.key == self._break[0]:
                error, self._break = self._break[1], None
                raise error
            yield ref

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        self.read.append(ref.key)
        return super().get(ref, max_bytes=max_bytes)


class GatedEmbedder(FakeEmbedder):
    """Answers when the gate is open, and fails the calls that `fail_calls` names."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Event()  # the first group is here
        self.fail_calls: dict[int, Exception] = {}
        self._numbers = itertools.count()

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        number = next(self._numbers)
        self.arrived.set()
        assert self.gate.wait(DEADLINE_S)
        if error := self.fail_calls.pop(number, None):
            raise error
        return super().embed_images(pixels)


class SettlingIndex(MemoryIndex):
    settled = 0

    def flush(self, ref: CollectionRef) -> None:
        super().flush(ref)
        self.settled += 1


@pytest.fixture
def store() -> WatchedStore:
    store = WatchedStore()
    for number, key in enumerate(KEYS):
        store.put(BUCKET, key, distinct_png(number))
    return store


@pytest.fixture
def embedder() -> GatedEmbedder:
    return GatedEmbedder()


@pytest.fixture
def index() -> SettlingIndex:
    index = SettlingIndex()
    index.create_collection(COLLECTION, SPEC)
    return index


def run(
    job: Job,
    deps: Deps,
    *,
    queue_batches: int = 2,
    batch_threads: int = 2,
    on_progress: Callable[[Job], None] = lambda _job: None,
) -> Job:
    options = DriverOptions(queue_batches=queue_batches, batch_threads=batch_threads, retry_delays_s=(0, 0))
    try:
        return run_job(job, deps, LIMITS, options, on_progress=on_progress)
    finally:
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith(("plan", "batch-"))]
        assert left == [], "a run leaves no thread behind"


def ingest(deps: Deps, request: JobRequest | None = None) -> Job:
    job, _ = open_job(request or request_of(batch_items=4), deps, driver=HERE)
    return run(job, deps)


def adds_up(counts: JobCounts) -> bool:
    return counts.scanned == counts.indexed + counts.unchanged + counts.failed + counts.pending


def test_a_job_indexes_every_good_image_and_accounts_for_every_object(
    deps: Deps, store: WatchedStore
) -> None:
    store.put(BUCKET, "bad.jpg", TEXT)
    store.put(BUCKET, "notes.txt", TEXT)
    store.put(BUCKET, "zz/.hidden.png", TEXT)
    job = ingest(deps)
    assert job.state is JobState.COMPLETED
    assert job.finished_at is not None
    assert job.counts == JobCounts(scanned=11, indexed=10, unchanged=0, failed=1, pending=0, ignored=2)
    assert job.planned_batches == 3
    assert indexed_keys(deps) == KEYS
    assert failed_reasons(deps, job.job_id) == {"bad.jpg": "not_an_image"}


def test_only_what_the_request_names_is_indexed(deps: Deps, store: WatchedStore) -> None:
    store.put(BUCKET, "in/a.png", distinct_png(1))
    store.put(BUCKET, "in/b.png", distinct_png(2))
    store.put(BUCKET, "in/c.png", distinct_png(3))
    job = ingest(deps, request_of(prefix="in/", include=("a*", "b*"), exclude=("b.png",)))
    assert indexed_keys(deps) == ["in/a.png"]
    assert (job.counts.scanned, job.counts.ignored) == (1, 2)


def test_an_empty_bucket_is_a_finished_job(deps: Deps, index: SettlingIndex) -> None:
    job = ingest(deps, request_of(prefix="nothing/"))
    assert job.state is JobState.COMPLETED
    assert job.counts == JobCounts(scanned=0, indexed=0, unchanged=0, failed=0, pending=0, ignored=0)
    assert index.settled == 0


def test_a_second_job_finds_everything_unchanged(
    deps: Deps, store: WatchedStore, embedder: GatedEmbedder, index: SettlingIndex
) -> None:
    first = ingest(deps)
    assert index.settled == 1
    store.read.clear()
    embedder.calls.clear()
    second = ingest(deps)
    assert second.job_id != first.job_id
    assert second.counts == replace(first.counts, indexed=0, unchanged=10)
    assert (store.read, embedder.calls) == ([], [])
    assert index.settled == 1, "nothing was written, so there is nothing to settle"


def test_a_second_job_embeds_only_what_is_new_or_changed(deps: Deps, store: WatchedStore) -> None:
    ingest(deps)
    store.read.clear()
    store.put(BUCKET, "03.png", distinct_png(13))
    store.put(BUCKET, "new.png", distinct_png(14))
    job = ingest(deps)
    assert (job.counts.indexed, job.counts.unchanged) == (2, 9)
    assert sorted(store.read) == ["03.png", "new.png"]


def test_a_service_that_comes_back_costs_nothing_but_time(deps: Deps, embedder: GatedEmbedder) -> None:
    embedder.fail_next(TransientError("away"), times=2)  # one batch at a time, so one batch meets both
    job, _ = open_job(request_of(batch_items=4), deps, driver=HERE)
    done = run(job, deps, batch_threads=1)
    assert done.state is JobState.COMPLETED
    assert done.counts.indexed == 10
    assert indexed_keys(deps) == KEYS


def test_a_service_that_stays_away_stops_the_run_and_the_next_run_goes_on(
    deps: Deps, embedder: GatedEmbedder
) -> None:
    away = TransientError("away")
    embedder.fail_next(away, times=3)  # once and two more tries
    job, _ = open_job(request_of(batch_items=4), deps, driver=HERE)
    with pytest.raises(TransientError) as caught:
        run(job, deps, batch_threads=1)
    assert caught.value is away
    stopped = deps.ledger.get_job(job.job_id)
    assert stopped.state is JobState.RUNNING
    assert stopped.counts.pending > 0
    resumed, is_resumed = open_job(request_of(batch_items=4), deps, driver=HERE)
    assert (resumed.job_id, is_resumed) == (job.job_id, True)
    assert run(resumed, deps).counts.indexed == 10


def test_a_fatal_error_stops_the_run_and_what_is_left_stays_pending(
    deps: Deps, embedder: GatedEmbedder
) -> None:
    embedder.fail_calls = {2: FatalError("the device is gone")}
    job, _ = open_job(request_of(batch_items=2), deps, driver=HERE)
    with pytest.raises(FatalError, match="the device is gone"):
        run(job, deps, batch_threads=1)
    stopped = deps.ledger.get_job(job.job_id)
    assert stopped.state is JobState.RUNNING
    assert stopped.counts.indexed == 4
    assert stopped.counts.pending > 0
    assert adds_up(stopped.counts)
    assert indexed_keys(deps) == KEYS[:4]


def test_a_run_that_was_broken_off_is_resumed_and_nothing_is_done_twice(
    deps: Deps, embedder: GatedEmbedder, store: WatchedStore
) -> None:
    embedder.fail_calls = {2: FatalError("the device is gone")}
    request = request_of(batch_items=2)
    with pytest.raises(FatalError):
        ingest(deps, request)
    done_before = indexed_keys(deps)
    store.read.clear()
    job = ingest(deps, request)
    assert job.state is JobState.COMPLETED
    assert job.counts.scanned == 10
    assert job.counts.indexed + job.counts.unchanged == 10
    assert job.planned_batches == 5
    assert indexed_keys(deps) == KEYS
    assert sorted(store.read) == [key for key in KEYS if key not in done_before]
    assert len(deps.ledger.list_jobs()) == 1


def test_a_job_that_was_read_before_another_process_went_on_with_it_can_be_run(
    deps: Deps, embedder: GatedEmbedder
) -> None:
    stale, _ = open_job(request_of(batch_items=2), deps, driver=HERE)
    embedder.fail_calls = {1: FatalError("the device is gone")}
    with pytest.raises(FatalError):
        run(stale, deps)
    assert deps.ledger.get_job(stale.job_id).cursor != stale.cursor
    assert run(stale, deps).state is JobState.COMPLETED
    assert indexed_keys(deps) == KEYS


def test_ctrl_c_finishes_the_batches_in_hand_and_begins_no_others(
    deps: Deps, embedder: GatedEmbedder, store: WatchedStore
) -> None:
    for number in range(10, 30):
        store.put(BUCKET, f"{number}.png", distinct_png(number))

    def interrupt(_job: Job) -> None:
        assert embedder.arrived.wait(DEADLINE_S)
        embedder.gate.set()
        raise KeyboardInterrupt

    embedder.gate.clear()
    job, _ = open_job(request_of(batch_items=1), deps, driver=HERE)
    with pytest.raises(KeyboardInterrupt):
        run(job, deps, queue_batches=1, on_progress=interrupt)
    stopped = deps.ledger.get_job(job.job_id)
    assert stopped.state is JobState.RUNNING
    assert stopped.counts.pending > 0
    assert adds_up(stopped.counts)
    assert len(indexed_keys(deps)) == stopped.counts.indexed > 0
    assert ingest(deps, request_of(batch_items=1)).counts.indexed == 30


def test_no_more_is_planned_than_the_queue_and_the_workers_hold(deps: Deps, embedder: GatedEmbedder) -> None:
    planned: list[int] = []

    def look(job: Job) -> None:
        planned.append(job.planned_batches)
        if len(planned) == 2:
            embedder.gate.set()

    embedder.gate.clear()
    job, _ = open_job(request_of(batch_items=1), deps, driver=HERE)
    run(job, deps, queue_batches=1, batch_threads=2, on_progress=look)
    in_hand, queued, held_by_planner = 2, 1, 1
    assert planned[0] <= planned[1] <= in_hand + queued + held_by_planner
    assert planned[-1] == 10


def test_progress_is_shown_to_the_end(deps: Deps) -> None:
    shown: list[Job] = []
    job, _ = open_job(request_of(batch_items=4), deps, driver=HERE)
    finished = run(job, deps, on_progress=shown.append)
    assert shown[-1] == finished
    assert all(adds_up(job.counts) for job in shown)


@pytest.mark.parametrize("at", ["00.png", "07.png"])
def test_a_listing_that_breaks_off_is_said_and_the_next_run_goes_on(
    deps: Deps, store: WatchedStore, at: str
) -> None:
    store.break_listing(at, TransientError("the store is away"))
    with pytest.raises(TransientError, match="the store is away"):
        ingest(deps, request_of(batch_items=2))
    job = ingest(deps, request_of(batch_items=2))
    assert job.state is JobState.COMPLETED
    assert job.counts.scanned == 10
    assert indexed_keys(deps) == KEYS


def test_a_bucket_that_does_not_exist_is_said(deps: Deps) -> None:
    with pytest.raises(ConfigError, match="elsewhere"):
        ingest(deps, request_of(bucket="elsewhere"))


def test_an_internal_error_of_the_planner_ends_the_run_instead_of_hanging_it(
    deps: Deps, store: WatchedStore
) -> None:
    store.break_listing("07.png", ZeroDivisionError("a bug"))
    with pytest.raises(PictorError, match="planning stopped by an internal error") as caught:
        ingest(deps)
    assert "a bug" not in str(caught.value)


def test_an_internal_error_of_a_worker_ends_the_run_and_leaves_its_batch_pending(
    deps: Deps, embedder: GatedEmbedder
) -> None:
    embedder.fail_calls = {0: ZeroDivisionError("a bug")}
    with pytest.raises(PictorError, match="internal error"):
        ingest(deps)
    [job] = deps.ledger.list_jobs()
    assert job.state is JobState.RUNNING
    assert job.counts.pending > 0
    assert ingest(deps).counts.indexed == 10


def test_a_job_that_was_cancelled_is_not_run(deps: Deps) -> None:
    job, _ = open_job(request_of(), deps, driver=HERE)
    deps.ledger.set_state(job.job_id, JobState.CANCELLED)
    assert run(job, deps).state is JobState.CANCELLED
    assert indexed_keys(deps) == []


def test_a_job_that_is_cancelled_while_it_runs_stops(deps: Deps, embedder: GatedEmbedder) -> None:
    def cancel(job: Job) -> None:
        if not embedder.gate.is_set():
            deps.ledger.set_state(job.job_id, JobState.CANCELLED)
            embedder.gate.set()

    embedder.gate.clear()
    job, _ = open_job(request_of(batch_items=1), deps, driver=HERE)
    stopped = run(job, deps, queue_batches=1, on_progress=cancel)
    assert stopped.state is JobState.CANCELLED
    assert not stopped.planned
    assert stopped.counts.indexed <= 2, "only what was in hand"


def test_an_unfinished_job_of_the_same_request_is_resumed_and_of_another_is_not(deps: Deps) -> None:
    first, _ = open_job(request_of(prefix="0"), deps, driver=HERE)
    assert open_job(request_of(prefix="0"), deps, driver=HERE) == (first, True)
    for other in (request_of(prefix="1"), request_of(prefix="0", include=("*.png",))):
        job, resumed = open_job(other, deps, driver=HERE)
        assert job.job_id != first.job_id
        assert not resumed


def test_restart_cancels_the_unfinished_job_and_begins_anew(deps: Deps) -> None:
    first, _ = open_job(request_of(), deps, driver=HERE)
    second, resumed = open_job(request_of(), deps, driver=HERE, restart=True)
    assert not resumed
    assert second.job_id != first.job_id
    assert deps.ledger.get_job(first.job_id).state is JobState.CANCELLED
    assert open_job(request_of(), deps, driver=HERE) == (second, True)


def test_only_failures_are_tried_again_and_in_their_present_version(deps: Deps, store: WatchedStore) -> None:
    for key in ("02.png", "05.png", "07.png"):
        store.put(BUCKET, key, TEXT)
    job = ingest(deps)
    assert job.counts.failed == 3
    store.put(BUCKET, "02.png", distinct_png(2))
    store.put(BUCKET, "03.png", distinct_png(13))  # changed, but it had not failed
    store.delete(BUCKET, "07.png")
    store.put(BUCKET, "new.png", distinct_png(14))  # for another job: this one's listing is at its end
    store.read.clear()
    assert retry_failures(job.job_id, deps.ledger, deps.store, local_caller()) == 3
    waiting = deps.ledger.get_job(job.job_id)
    assert waiting.state is JobState.RUNNING
    assert waiting.counts == replace(job.counts, failed=0, pending=3)
    again = run(waiting, deps)
    assert again.state is JobState.COMPLETED
    assert again.counts == replace(job.counts, indexed=8, failed=2)
    assert sorted(store.read) == ["02.png", "05.png", "07.png"]
    assert failed_reasons(deps, job.job_id) == {"05.png": "not_an_image", "07.png": "not_found"}
    assert indexed_keys(deps) == [key for key in KEYS if key not in ("05.png", "07.png")]


def test_failures_can_be_tried_again_and_again(deps: Deps, store: WatchedStore) -> None:
    store.put(BUCKET, "02.png", TEXT)
    job = ingest(deps)
    for _ in range(3):
        assert retry_failures(job.job_id, deps.ledger, deps.store, local_caller()) == 1
        job = run(deps.ledger.get_job(job.job_id), deps)
        assert job.counts == JobCounts(scanned=10, indexed=9, unchanged=0, failed=1, pending=0, ignored=0)


def test_without_failures_there_is_nothing_to_retry(deps: Deps) -> None:
    job = ingest(deps)
    assert retry_failures(job.job_id, deps.ledger, deps.store, local_caller()) == 0
    assert deps.ledger.get_job(job.job_id) == job


def test_a_job_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    with job_lock(folder, "job-1"):
        with (
            pytest.raises(ConflictError, match="job-1 is being run by another process"),
            job_lock(folder, "job-1"),
        ):
            pass
        with job_lock(folder, "job-2"):
            pass
        # A refused one must not have loosened it.
        with pytest.raises(ConflictError), job_lock(folder, "job-1"):
            pass


def test_a_lock_ends_with_its_block_however_that_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyError), job_lock(tmp_path, "job-1"):
        raise KeyError
    with job_lock(tmp_path, "job-1"):
        pass
    with job_lock(tmp_path, "job-1"):
        pass


# Whose job it is


def test_a_run_resumes_jobs_of_its_own_host_and_of_none_noted_and_no_others(deps: Deps) -> None:
    for driver in (WORKERS, embedded_on("elsewhere")):
        other = deps.ledger.create_job(request_of(), driver=driver)
        job, resumed = open_job(request_of(), deps, driver=HERE)
        assert not resumed
        assert (job.job_id == other.job_id, job.driver) == (False, HERE)
        deps.ledger.set_state(job.job_id, JobState.CANCELLED)
    unnoted = deps.ledger.create_job(request_of(), driver=EMBEDDED)
    assert open_job(request_of(), deps, driver=HERE) == (unnoted, True)


def test_a_restart_cancels_no_job_of_another_driver(deps: Deps) -> None:
    other = deps.ledger.create_job(request_of(), driver=WORKERS)
    open_job(request_of(), deps, driver=HERE, restart=True)
    assert deps.ledger.get_job(other.job_id) == other


def hold(deps: Deps, job: Job, folder: Path) -> AbstractContextManager[Job]:
    return held_job(job.job_id, deps.ledger, driver=HERE, lock_folder=folder)


def test_a_held_job_is_this_host_s_and_nobody_else_s(deps: Deps, tmp_path: Path) -> None:
    job = deps.ledger.create_job(request_of(), driver=EMBEDDED)
    with hold(deps, job, tmp_path) as held:
        assert held == replace(job, driver=HERE)
        with pytest.raises(ConflictError, match="is being run by another process"), hold(deps, job, tmp_path):
            pass
    with hold(deps, job, tmp_path):
        pass


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        (embedded_on("elsewhere"), "is run on host elsewhere and cannot be run on this-host"),
        (WORKERS, "is run by the workers"),
    ],
)
def test_a_job_of_another_driver_is_not_held(deps: Deps, tmp_path: Path, driver: str, said: str) -> None:
    job = deps.ledger.create_job(request_of(), driver=driver)
    with pytest.raises(ConflictError, match=said), hold(deps, job, tmp_path):
        pass
    assert deps.ledger.get_job(job.job_id) == job

"""Faces through the queues: a planner, the tasks of both tiers, retries, and kills at each call of a port."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.models.catalogue import load_finder
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Concurrency, Deps, ImageEmbedder
from pipeline.ports.lazy import LazyEmbedder, LazyFinder
from pipeline.service.access import local_caller
from pipeline.service.delete import delete_objects
from pipeline.service.retry import retry_failures
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    WORKERS,
    CollectionRef,
    FetchedObject,
    Job,
    JobState,
    ObjectRef,
    VersionState,
)
from tests.accountable import NO_LOG
from tests.face_models import DrawnFace, picture
from tests.unit import face_world
from tests.unit.face_world import ANNA, BERTA, CLARA, LARGE
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, plan_one_batch, request_of
from tests.unit.memory_broker import MemoryBroker, Message, Settled
from workers.broker.publish import Publisher
from workers.broker.queue_names import model_queue
from workers.broker.queues import declare_queues
from workers.planning.planner import wake_planner
from workers.process.context import Context, make_current

STAGING = "staging"
ONE_THREAD = Concurrency(fetch_threads=1, decode_threads=1, group_items=4)
ROUNDS = 50  # of the queues, until a job that does not end is a failure


class Killed(BaseException):
    """The process ends here, and its message goes back to the queue."""


class Fate:
    """Kills at one call of a port: each counts once before it has an effect, and once after."""

    def __init__(self, dies_at: int = -1) -> None:
        self._moments = itertools.count()
        self._dies_at = dies_at
        self.has_killed = False

    def meet(self) -> None:
        if next(self._moments) == self._dies_at:
            self.has_killed = True
            raise Killed


READS = ("check", "find", "get", "list", "model", "stat")  # a kill there is one before the next write


class Mortal:
    """A port whose writes, and those of its parts, end by a fate."""

    def __init__(self, port: Any, fate: Fate) -> None:
        self._port, self._fate = port, fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name == "book":
            return Mortal(found, self._fate)
        if not callable(found) or name.startswith(READS):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fate.meet()
            answer = found(*args, **kwargs)
            self._fate.meet()
            return answer

        return call


class CountingStore(MemoryStore):
    """Knows which images were read."""

    def __init__(self, *buckets: str) -> None:
        super().__init__(*buckets)
        self.read: list[str] = []

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        if ref.bucket == BUCKET:
            self.read.append(ref.key)
        return super().get(ref, max_bytes=max_bytes)


class Workers:
    """One of each tier. In a staged deployment the first needs no embedder, the second no finder."""

    def __init__(
        self, context: Context, broker: MemoryBroker, embedder: ImageEmbedder, *, staged: bool
    ) -> None:
        self.deps, self.broker, self.staged = context.deps, broker, staged
        publisher = Publisher(broker.app, preparation="staged" if staged else "inline")
        self.context = replace(context, publisher=publisher)
        fingerprint = embedder.spec.fingerprint
        with broker.app.connection_for_write() as connection:
            declare_queues(connection, fingerprint)
        self._queues = ["plan", *(model_queue(tier, fingerprint) for tier in ("prepare", "embed"))]
        for queue in self._queues:
            broker.messages_on(queue)

    def ingest(self, fate: Fate | None = None) -> Job:
        request = replace(request_of(spec=self.deps.embedder.spec), max_delete_share=1.0)
        return self.work_off(self.deps.ledger.create_job(request, driver=WORKERS).job_id, fate)

    def retry(self, job_id: str) -> Job:
        retry_failures(job_id, self.deps.ledger, self.deps.store, local_caller())
        return self.work_off(job_id)

    def work_off(self, job_id: str, fate: Fate | None = None) -> Job:
        wake_planner(job_id, self.deps.ledger, self.context.publisher)  # type: ignore[arg-type]
        for _ in range(ROUNDS):
            messages = [message for queue in self._queues for message in self.broker.messages_on(queue)]
            if not messages:
                return self.deps.ledger.get_job(job_id)
            for message in messages:
                self._deliver(message, fate or Fate())
        raise AssertionError(f"job {job_id} does not end")

    def _deliver(self, message: Message, fate: Fate) -> None:
        """Again if the worker is killed."""
        make_current(replace(self.context, deps=self._deps_for(message, fate)))
        try:
            assert self.broker.deliver(message)[0] is Settled.ACKNOWLEDGED
        except Killed:
            self._deliver(message, fate)

    def _deps_for(self, message: Message, fate: Fate) -> Deps:
        deps, queue = self.deps, message.queue.partition(".")[0]
        if queue == "plan":
            return deps
        ports: dict[str, Any] = {
            name: Mortal(getattr(deps, name), fate) for name in ("store", "index", "ledger")
        }
        deps = replace(deps, **ports)
        if not self.staged:
            return deps
        if queue == "embed":
            return replace(deps, finder=None)
        return replace(deps, embedder=LazyEmbedder(deps.embedder.spec, _not_needed))


def _not_needed() -> ImageEmbedder:
    raise AssertionError("a worker that prepares has no embedder")


model_file, face_embedder = face_world.model_file, face_world.face_embedder


@pytest.fixture
def store() -> CountingStore:
    store = CountingStore(BUCKET, STAGING)
    put(store, "group.png", [ANNA, BERTA, CLARA, LARGE])
    put(store, "one.png", [BERTA])
    put(store, "none.png", [])
    return store


@pytest.fixture
def deps(deps: Deps, model_file: Path, face_embedder: ImageEmbedder) -> Deps:
    index = MemoryIndex()
    index.create_collection(COLLECTION, face_embedder.spec)
    return replace(
        deps,
        index=index,
        embedder=face_embedder,
        finder=LazyFinder(lambda: load_finder(face_embedder.spec, weights_dir=model_file.parent)),
        concurrency=ONE_THREAD,
        driver=WORKERS,
    )


@pytest.fixture(params=["inline", "staged"])
def workers(
    request: pytest.FixtureRequest, context: Context, broker: MemoryBroker, face_embedder: ImageEmbedder
) -> Workers:
    staged = request.param == "staged"
    deps = replace(context.deps, staging_bucket=STAGING if staged else "")
    return Workers(replace(context, deps=deps), broker, face_embedder, staged=staged)


def put(store: MemoryStore, key: str, faces: Sequence[DrawnFace], *, width: int = 320) -> None:
    store.put(BUCKET, key, picture(faces, width=width))


def place_of(face: DrawnFace) -> str:
    return f"{face.left},{face.top},{face.side_px},{face.side_px}"


def target_of(deps: Deps) -> CollectionRef:
    return CollectionRef(name=COLLECTION, fingerprint=deps.embedder.spec.fingerprint)


def rows_of(deps: Deps) -> dict[str, list[str]]:
    """The places of the faces of each image, of all rows that the index holds."""
    target = target_of(deps)
    held = deps.index.get_images(target, [image.ref.image_id for image in deps.index.list_images(target)])
    return {
        rows[0].ref.key: sorted(row.metadata["face_box"] for row in rows) for rows in held.values() if rows
    }


def places(**faces: Sequence[DrawnFace]) -> dict[str, list[str]]:
    """Args: `faces` by the name of the picture, without its ending."""
    return {f"{name}.png": sorted(place_of(face) for face in found) for name, found in faces.items()}


def book_of(deps: Deps) -> dict[str, tuple[VersionState, int]]:
    entries = deps.ledger.book.list_versions(target_of(deps).generation, BUCKET)
    return {entry.ref.key: (entry.state, entry.vectors) for entry in entries}


def blocks(deps: Deps) -> list[str]:
    return [ref.key for ref in deps.store.list_objects(STAGING)]


def counted(job: Job) -> tuple[JobState, int, int, int, int]:
    """Checks that the counts add up. They are of images."""
    counts = job.counts
    assert counts.scanned == counts.indexed + counts.unchanged + counts.failed + counts.pending
    return job.state, counts.indexed, counts.unchanged, counts.failed, counts.removed


def faces_counted(job: Job) -> tuple[int, int]:
    """Faces, and images without one, of what was new or changed."""
    return job.counts.faces_found, job.counts.without_faces


FOUR = [ANNA, BERTA, CLARA, LARGE]


def test_counts_are_of_images_and_of_faces_and_each_face_has_a_row(workers: Workers) -> None:
    job = workers.ingest()
    assert counted(job) == (JobState.COMPLETED, 3, 0, 0, 0)
    assert faces_counted(job) == (5, 1)
    assert rows_of(workers.deps) == places(group=FOUR, one=[BERTA])
    assert book_of(workers.deps) == {
        "group.png": (VersionState.INDEXED, 4),
        "none.png": (VersionState.NOTHING_FOUND, 0),
        "one.png": (VersionState.INDEXED, 1),
    }
    assert blocks(workers.deps) == []
    assert content_of(workers.deps) == content_of(embedded(workers.deps)), "as a single process has them"


def embedded(deps: Deps) -> Deps:
    """The same objects, indexed by one call in an index of its own."""
    index = MemoryIndex()
    index.create_collection(COLLECTION, deps.embedder.spec)
    deps = replace(deps, index=index, driver="", staging_bucket="")
    run_batch(plan_one_batch(deps, spec=deps.embedder.spec), deps, LIMITS)
    return deps


def content_of(deps: Deps) -> dict[str, tuple[Mapping[str, str], bytes]]:
    """Metadata and vector of each row."""
    target = target_of(deps)
    held = deps.index.get_images(target, [image.ref.image_id for image in deps.index.list_images(target)])
    return {row.id: (row.metadata, row.vector.tobytes()) for rows in held.values() for row in rows}


def test_nothing_is_read_again_when_nothing_changed_not_even_a_picture_without_a_face(
    workers: Workers, store: CountingStore
) -> None:
    workers.ingest()
    assert sorted(store.read) == ["group.png", "none.png", "one.png"]
    store.read.clear()
    assert counted(workers.ingest()) == (JobState.COMPLETED, 0, 3, 0, 0)
    assert store.read == []
    assert rows_of(workers.deps) == places(group=FOUR, one=[BERTA])


def test_a_changed_image_leaves_no_face_behind_and_one_that_lost_all_stays_in_the_book(
    workers: Workers, store: CountingStore
) -> None:
    workers.ingest()
    store.read.clear()
    put(store, "group.png", [CLARA])
    put(store, "one.png", [], width=330)
    assert counted(workers.ingest()) == (JobState.COMPLETED, 2, 1, 0, 0)
    assert sorted(store.read) == ["group.png", "one.png"]
    assert rows_of(workers.deps) == places(group=[CLARA])
    assert book_of(workers.deps)["one.png"] == (VersionState.NOTHING_FOUND, 0)
    store.read.clear()
    assert counted(workers.ingest()) == (JobState.COMPLETED, 0, 3, 0, 0)
    assert store.read == []


def test_a_face_that_comes_back_is_found_again(workers: Workers, store: CountingStore) -> None:
    workers.ingest()
    put(store, "none.png", [ANNA, LARGE], width=340)
    assert counted(workers.ingest()) == (JobState.COMPLETED, 1, 2, 0, 0)
    assert rows_of(workers.deps) == places(group=FOUR, one=[BERTA], none=[ANNA, LARGE])


def test_an_image_that_left_the_source_takes_all_its_faces_along(
    workers: Workers, store: CountingStore
) -> None:
    workers.ingest()
    store.delete(BUCKET, "group.png")
    store.delete(BUCKET, "none.png")
    assert counted(workers.ingest()) == (JobState.COMPLETED, 0, 1, 0, 1), (
        "an image without a face had nothing to remove"
    )
    assert rows_of(workers.deps) == places(one=[BERTA])
    assert list(book_of(workers.deps)) == ["one.png"]


def test_a_deletion_takes_all_faces_of_an_image(workers: Workers, store: CountingStore) -> None:
    workers.ingest()
    store.read.clear()
    delete_objects(
        BUCKET,
        ["group.png"],
        collection=COLLECTION,
        index=workers.deps.index,
        ledger=workers.deps.ledger,
        answers_to=NO_LOG,
        caller=local_caller(),
        meant_at=datetime.now(UTC),
        driver=WORKERS,
    )
    assert rows_of(workers.deps) == places(one=[BERTA])
    assert book_of(workers.deps)["group.png"] == (VersionState.REMOVED, 0)
    assert counted(workers.ingest()) == (JobState.COMPLETED, 1, 2, 0, 0)
    assert rows_of(workers.deps) == places(group=FOUR, one=[BERTA])
    assert store.read == ["group.png"], "once: the plan is newer than the removal"


def test_a_retry_reads_what_failed_and_no_other_face(workers: Workers, store: CountingStore) -> None:
    store.put(BUCKET, "late.png", b"no picture yet, but a text of some length")
    job = workers.ingest()
    assert counted(job) == (JobState.COMPLETED, 3, 0, 1, 0)
    store.read.clear()
    put(store, "late.png", [ANNA, CLARA], width=350)
    assert counted(workers.retry(job.job_id)) == (JobState.COMPLETED, 4, 0, 0, 0)
    assert store.read == ["late.png"]
    assert rows_of(workers.deps) == places(group=FOUR, one=[BERTA], late=[ANNA, CLARA])


def test_a_kill_at_any_call_leaves_no_face_twice_and_none_lost(
    workers: Workers, store: CountingStore
) -> None:
    """Each moment with a world as it was: four faces become one, one becomes none, and two are new."""
    for moment in itertools.count():
        fate = Fate(moment)
        put(store, "group.png", FOUR, width=320 + 2 * moment)
        put(store, "one.png", [BERTA], width=320 + 2 * moment)
        store.delete(BUCKET, "new.png")
        workers.ingest()
        assert rows_of(workers.deps) == places(group=FOUR, one=[BERTA])
        put(store, "group.png", [CLARA], width=320 + 2 * moment)
        put(store, "one.png", [], width=320 + 2 * moment)
        put(store, "new.png", [ANNA, LARGE], width=320 + 2 * moment)
        job = workers.ingest(fate)
        assert job.state is JobState.COMPLETED
        assert job.counts.pending == 0
        assert faces_counted(job) == (3, 1)
        assert rows_of(workers.deps) == places(group=[CLARA], new=[ANNA, LARGE]), moment
        assert {key: vectors for key, (_, vectors) in book_of(workers.deps).items()} == {
            "group.png": 1,
            "new.png": 2,
            "none.png": 0,
            "one.png": 0,
        }
        assert blocks(workers.deps) == []
        if not fate.has_killed:
            break
    assert moment >= 6, "before and after the block, the rows and the report"

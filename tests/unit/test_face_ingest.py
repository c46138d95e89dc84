"""Faces from the store to the index, by networks of a few numbers, and never without a policy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.models.catalogue import load_embedder, load_finder
from pipeline.embedded import DriverOptions, run_job
from pipeline.errors import TargetError
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.run_batch import run_batch, stage_batch
from pipeline.location import Location
from pipeline.ports import Deps, PolicyBook
from pipeline.ports.lazy import LazyFinder
from pipeline.search.query import Bytes
from pipeline.service.access import local_caller
from pipeline.service.create import create_collection
from pipeline.service.models import ResidentModel
from pipeline.service.search import SearchPorts, SearchRequest, search_images
from pipeline.service.submit import Submission, open_job, submit_embedded, submit_heard, submit_to_workers
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    CollectionPolicy,
    CollectionRef,
    IndexRow,
    JobState,
    PolicyState,
    VersionState,
    image_id_of,
)
from tests.accountable import NO_LOG, accountability, policy_version
from tests.face_models import DrawnFace, picture, write_face_model
from tests.unit.fakes import BUCKET, COLLECTION, CONCURRENCY, HERE, LIMITS, plan_one_batch, request_of

ANNA, BERTA, CLARA = (DrawnFace(person=n, column=9 * n, row=2) for n in range(3))
LARGE = DrawnFace(person=7, column=9, row=5, stride=16)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_face_model(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def deps(deps: Deps, store: MemoryStore, model_file: Path) -> Deps:
    embedder = load_embedder(str(model_file), weights_dir=model_file.parent, device="cpu", group_items=4)
    index = MemoryIndex()
    index.create_collection(COLLECTION, embedder.spec)
    finder = LazyFinder(lambda: load_finder(embedder.spec, weights_dir=model_file.parent))
    return replace(deps, index=index, embedder=embedder, finder=finder, staging_bucket="blocks")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(BUCKET, "blocks")
    store.put(BUCKET, "group.png", picture([ANNA, BERTA, CLARA, LARGE]), {"camera": "7", "face_box": "mine"})
    store.put(BUCKET, "one.png", picture([BERTA]))
    store.put(BUCKET, "none.png", picture([]))
    store.put(BUCKET, "bad.png", b"no picture, but a text of some length")
    return store


def target_of(deps: Deps) -> CollectionRef:
    return CollectionRef(name=COLLECTION, fingerprint=deps.embedder.spec.fingerprint)


def ingest_inline(deps: Deps) -> None:
    job, _ = open_job(request_of(spec=deps.embedder.spec), deps, driver=HERE)
    run_job(job, deps, LIMITS, DriverOptions(retry_delays_s=()), on_progress=lambda _: None)


def ingest_staged(deps: Deps) -> None:
    batch = plan_one_batch(deps, spec=deps.embedder.spec)
    assert stage_batch(batch, deps, LIMITS, PhaseClock()) is None
    embed_tier = replace(deps, finder=None)  # the crops are in the block
    deps.ledger.report(run_batch(replace(batch, staged=True), embed_tier, LIMITS))


WAYS = pytest.mark.parametrize("ingest", [ingest_inline, ingest_staged])


def rows_of(deps: Deps, key: str) -> list[IndexRow]:
    image_id = image_id_of(BUCKET, key)
    return list(deps.index.get_images(target_of(deps), [image_id]).get(image_id, []))


def booked(deps: Deps) -> dict[str, tuple[VersionState, int]]:
    entries = deps.ledger.book.list_versions(target_of(deps).generation, BUCKET)
    return {entry.ref.key: (entry.state, entry.vectors) for entry in entries}


@WAYS
def test_each_face_is_a_row_that_says_where_it_is_and_how_good(
    deps: Deps, ingest: Callable[[Deps], None]
) -> None:
    ingest(deps)
    assert booked(deps) == {
        "bad.png": (VersionState.FAILED, 0),
        "group.png": (VersionState.INDEXED, 4),
        "none.png": (VersionState.NOTHING_FOUND, 0),
        "one.png": (VersionState.INDEXED, 1),
    }
    rows = rows_of(deps, "group.png")
    boxes = [f"{face.left},{face.top},{face.side_px},{face.side_px}" for face in (LARGE, ANNA, BERTA, CLARA)]
    assert [row.metadata["face_box"] for row in rows] == boxes, "the largest first, then from the left"
    assert {row.metadata["camera"] for row in rows} == {"7"}
    assert {row.metadata["face_confidence"] for row in rows} == {"1.000"}
    assert rows[0].metadata["face_eyes_px"] > rows[1].metadata["face_eyes_px"]
    (again,) = rows_of(deps, "one.png")
    assert float(again.vector @ rows[2].vector) > 0.999, "the same person"
    assert float(again.vector @ rows[1].vector) < 0.9


def test_staged_and_inline_rows_are_the_same(deps: Deps) -> None:
    made = []
    for ingest in (ingest_inline, ingest_staged):
        index = MemoryIndex()
        index.create_collection(COLLECTION, deps.embedder.spec)
        here = replace(deps, index=index)
        here.ledger.book.forget_generation(target_of(here).generation)
        here.ledger.book.record_fill(target_of(here).generation, [], filled_to="")
        ingest(here)
        rows = rows_of(here, "group.png") + rows_of(here, "one.png")
        made.append([(row.id, row.vector.tolist(), dict(row.metadata), row.width) for row in rows])
    assert made[0] == made[1]
    assert len(made[0]) == 5


@WAYS
def test_an_image_with_fewer_faces_leaves_none_behind(
    deps: Deps, store: MemoryStore, ingest: Callable[[Deps], None]
) -> None:
    ingest_inline(deps)
    store.put(BUCKET, "group.png", picture([CLARA]))
    store.put(BUCKET, "one.png", picture([], width=330))
    ingest(deps)
    assert [row.metadata["face_box"] for row in rows_of(deps, "group.png")] == [
        f"{CLARA.left},{CLARA.top},64,64"
    ]
    assert rows_of(deps, "one.png") == []
    assert booked(deps)["one.png"] == (VersionState.NOTHING_FOUND, 0)


def test_a_copy_has_the_faces_of_its_original_and_its_own_metadata(deps: Deps, store: MemoryStore) -> None:
    ingest_inline(deps)
    body = picture([ANNA, BERTA, CLARA, LARGE])
    store.put(BUCKET, "copy.png", body, {"camera": "8", "face_yaw": "mine", "face_mine": "x"})
    ingest_inline(replace(deps, finder=LazyFinder(_not_needed)))
    copies, originals = rows_of(deps, "copy.png"), rows_of(deps, "group.png")
    assert [dict(row.metadata) for row in copies] == [{**row.metadata, "camera": "8"} for row in originals]


def _not_needed() -> LazyFinder:
    raise AssertionError("the content is known")


def test_a_face_is_found_by_another_picture_of_it(deps: Deps) -> None:
    ingest_inline(deps)
    ports = SearchPorts(
        store=deps.store,
        index=deps.index,
        answers_to=accountability(deps.index),
        models=ResidentModel(deps.embedder, deps.index, deps.finder),
        concurrency=CONCURRENCY,
    )
    probe = picture([replace(CLARA, column=2, row=6)], width=200)
    [answer] = search_images(
        [Bytes(text="probe", body=probe)],
        SearchRequest(collection=COLLECTION, k=1),
        ports,
        LIMITS,
        local_caller(),
    )
    [hit] = answer.hits
    assert (hit.key, hit.metadata["face_box"]) == ("group.png", f"{CLARA.left},{CLARA.top},64,64")
    assert hit.score > 0.999


def policies_with(name: str, state: PolicyState) -> PolicyBook:
    book = MemoryPolicyBook()
    book.add(policy_version(name, CollectionPolicy(faces=True), state=state))
    return book


NO_POLICY = (
    "collection 'persons' is for faces (model 'tiny-faces') and has no policy. Set one first: "
    '`pictor policies set persons FILE` with "faces": true in the file, see docs/how-to/faces.md'
)
SUBMISSION = Submission(
    location=Location(url=f"s3://{BUCKET}/", bucket=BUCKET, prefix=""), collection="persons", batch_items=4
)
REFUSING = [
    None,
    MemoryPolicyBook(),
    policies_with("others", PolicyState.IN_FORCE),
    policies_with("persons", PolicyState.PROPOSED),
]


@pytest.mark.parametrize("policies", REFUSING)
def test_a_collection_of_faces_is_made_by_nobody_without_a_policy_in_force(
    deps: Deps, policies: PolicyBook | None
) -> None:
    deps = replace(deps, policies=policies)
    with pytest.raises(TargetError) as embedded:
        submit_embedded(SUBMISSION, deps, NO_LOG, local_caller(), driver=HERE)
    with pytest.raises(TargetError) as again:
        submit_embedded(replace(SUBMISSION, new_generation=True), deps, NO_LOG, local_caller(), driver=HERE)
    with pytest.raises(TargetError) as heard:
        submit_heard(SUBMISSION, deps, NO_LOG, local_caller())
    with pytest.raises(TargetError) as made:
        create_collection(
            "persons", deps.embedder.spec, deps.index, policies or MemoryPolicyBook(), local_caller()
        )
    job = submit_to_workers(SUBMISSION, deps, NO_LOG, local_caller())
    assert (job.state, job.error) == (JobState.FAILED, NO_POLICY)
    assert {str(caught.value) for caught in (embedded, again, heard, made)} == {NO_POLICY}
    assert deps.index.get_collection("persons") is None


def test_with_a_policy_in_force_it_is_made(deps: Deps) -> None:
    policies = policies_with("persons", PolicyState.IN_FORCE)
    deps = replace(deps, policies=policies)
    job, _ = submit_embedded(SUBMISSION, deps, NO_LOG, local_caller(), driver=HERE)
    info = deps.index.get_collection("persons")
    assert info is not None
    assert info.has_views
    assert job.state is JobState.RUNNING
    assert create_collection("persons", deps.embedder.spec, deps.index, policies, local_caller()) == info

"""Faces keep their ids when another model embeds them again, also those that came without a job."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.api.backend import Backend
from pipeline.ingest.compare import Change
from pipeline.ingest.run_batch import run_batch
from pipeline.ingest.same_faces import numbers_of_faces
from pipeline.ingest.sync import preview
from pipeline.ingest.verify import Verification, verify_collection
from pipeline.ports import Deps, ImageEmbedder
from pipeline.ports.image_rows import view_row_id
from pipeline.service.access import local_caller
from pipeline.service.index_faces import EXTERNAL_ID, IMAGE_ID, FacesToIndex, remove_faces
from pipeline.types import CollectionRef, Embedded, IndexRow, ObjectRef
from tests.face_models import DIM, DrawnFace, picture, write_face_model
from tests.unit.api_client import backend_of
from tests.unit.face_world import ANNA, BERTA, CLARA, LARGE, deps_of_faces, embedder_of, index_faces
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, plan_one_batch, request_of

FOLDER = f"uploads/default/faces/{COLLECTION}/"
GROUP = [LARGE, ANNA, BERTA]


@pytest.fixture(scope="module")
def first_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_face_model(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another embedder, behind the same detector."""
    other = f"dim = {DIM}\nmean = [0.1, 0.2, 0.3]"
    return write_face_model(tmp_path_factory.mktemp("second"), name="other-faces", embedder=other)


@pytest.fixture
def deps(deps: Deps, first_model: Path) -> Deps:
    return deps_of_faces(deps, first_model, embedder_of(first_model))


@pytest.fixture
def backend(deps: Deps, tmp_path: Path) -> Backend:
    return backend_of(deps, tmp_path)


@pytest.fixture
def second(second_model: Path) -> ImageEmbedder:
    return embedder_of(second_model)


def come_alone(backend: Backend, *faces: DrawnFace, external: str) -> list[IndexRow]:
    """By a request, without a job."""
    wanted = FacesToIndex(
        collection=COLLECTION, external_id=external, most=100, left_out=lambda _: (), source="shop/x.png"
    )
    return [*backend.index_faces(picture(faces), wanted, local_caller()).rows]


def rows_in(deps: Deps, target: CollectionRef) -> dict[str, IndexRow]:
    image_ids = [image.ref.image_id for image in deps.index.list_images(target)]
    held = deps.index.get_images(target, image_ids)
    return {row.id: row for rows in held.values() for row in rows}


def verified(deps: Deps, target: CollectionRef) -> Verification:
    [info] = [info for info in deps.index.list_generations(COLLECTION) if info.ref == target]
    return verify_collection(info, deps.index, deps.ledger.book, repair=False, first=5)


def move_to(second: ImageEmbedder, deps: Deps, *keys: str) -> CollectionRef:
    """Embed these objects again, in a generation beside the live one."""
    target = deps.index.open_generation(COLLECTION, second.spec).ref
    deps = replace(deps, embedder=second)
    report = run_batch(plan_one_batch(deps, *keys, spec=second.spec), deps, LIMITS)
    assert report.rejected == ()
    assert deps.ledger.report(report)
    return target


def kept_pictures(deps: Deps) -> list[str]:
    return [ref.key for ref in deps.store.list_objects(BUCKET, FOLDER)]


def test_the_book_knows_a_face_that_came_alone_and_a_job_leaves_it_as_it_is(
    backend: Backend, deps: Deps
) -> None:
    live = deps.index.live(COLLECTION)
    rows = come_alone(backend, *GROUP, external="group")
    assert len(rows) == 3
    assert verified(deps, live).differences == 0
    source = request_of(prefix=FOLDER, spec=deps.embedder.spec)
    seen = preview(source, deps.store, deps.ledger.book, first=5)
    assert seen.counts[Change.UNCHANGED] + seen.counts[Change.NOTED] == seen.scanned == 3
    gone = rows[0]
    take_out(gone, backend, live)
    assert verified(deps, live).differences == 0
    assert sorted(rows_in(deps, live)) == sorted(row.id for row in rows[1:])
    come_alone(backend, *GROUP, external="group")
    assert verified(deps, live).differences == 0, "it was taken out before, and is back"
    assert gone.id in rows_in(deps, live)


def take_out(row: IndexRow, backend: Backend, live: CollectionRef) -> None:
    ports = backend.search_ports()
    kept = remove_faces(
        [row], live, ports, backend.ledger, backend.uploads, local_caller(), driver=backend.driver
    )
    assert kept == []


def test_a_face_that_came_alone_is_the_same_face_in_a_new_generation(
    backend: Backend, deps: Deps, second: ImageEmbedder
) -> None:
    before = {row.id: row for row in come_alone(backend, *GROUP, external="group")}
    target = move_to(second, deps, *kept_pictures(deps))
    after = rows_in(deps, target)
    assert after.keys() == before.keys(), "each picture shows three faces, and is there for one"
    for row_id, row in after.items():
        old = before[row_id]
        assert row.metadata == old.metadata
        assert (row.metadata[EXTERNAL_ID], IMAGE_ID in row.metadata) == ("group", True)
        assert not np.allclose(row.vector, old.vector)
    assert verified(deps, target).differences == 0


def test_faces_of_a_job_keep_their_numbers_in_a_new_generation(
    deps: Deps, second: ImageEmbedder, backend: Backend
) -> None:
    index_faces(deps, {"group.png": GROUP, "one.png": [CLARA]})
    before = rows_in(deps, deps.index.live(COLLECTION))
    after = rows_in(deps, move_to(second, deps, "group.png", "one.png"))
    assert {row_id: row.metadata["face_box"] for row_id, row in after.items()} == {
        row_id: row.metadata["face_box"] for row_id, row in before.items()
    }


REF = ObjectRef(bucket=BUCKET, key="group.png", etag="e1", size_bytes=1)


def found(*boxes: str, etag: str = "e1") -> Embedded:
    """By another detector, in its own order."""
    return Embedded(
        ref=replace(REF, etag=etag),
        vectors=tuple(np.ones(DIM, np.float32) for _ in boxes),
        width=320,
        height=240,
        of_views=tuple({"face_box": box} for box in boxes),
    )


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (["10,10,60,60", "100,10,60,60", "200,10,60,60"], [0, 1, 2]),
        (["200,10,60,60", "10,10,60,60", "100,10,60,60"], [2, 0, 1]),
        (["205,14,50,50", "12,8,64,66"], [2, 0]),  # drawn a little differently, and one is missed
        (["100,100,60,60", "200,10,60,60", "10,10,60,60"], [3, 2, 0]),  # one is new: no id is given twice
        (["10,10,60,60", "12,12,60,60"], [0, 3]),  # two boxes on one face
        ([], []),
    ],
    ids=str,
)
def test_a_face_has_the_number_of_the_face_in_its_place(
    deps: Deps, second: ImageEmbedder, now: Sequence[str], expected: Sequence[int]
) -> None:
    boxes = ("10,10,60,60", "100,10,60,60", "200,10,60,60")
    rows = [
        IndexRow(
            id=view_row_id(REF.image_id, number),
            ref=REF,
            vector=np.ones(DIM, np.float32),
            width=320,
            height=240,
            indexed_at=datetime.now(UTC),
            metadata={"face_box": box},
        )
        for number, box in enumerate(boxes)
    ]
    live = deps.index.live(COLLECTION)
    deps.index.replace_images(live, {REF.image_id: rows})
    beside = deps.index.open_generation(COLLECTION, second.spec).ref
    for target, stored in ((beside, ()), (live, [REF.image_id])):
        numbers = numbers_of_faces(target, [found(*now)], stored, deps.index)
        assert list(numbers.get(REF.image_id, ())) == expected
        assert numbers_of_faces(target, [found(*now, etag="e2")], stored, deps.index) == {}, "another picture"
    assert numbers_of_faces(live, [found(*now)], (), deps.index) == {}

"""Images leave a collection by many ways, and what was said of their faces leaves with them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.api.backend import Backend
from pipeline.embedded import DriverOptions, run_job
from pipeline.ports import Deps, ImageEmbedder
from pipeline.ports.image_rows import view_row_id
from pipeline.service.access import local_caller
from pipeline.service.associations import associate_faces
from pipeline.service.delete import delete_objects, drop_collection
from pipeline.service.images import remove_image
from pipeline.service.index_faces import FacesToIndex, remove_faces
from pipeline.service.persons import create_person, show_person
from pipeline.service.submit import open_job
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import Job, image_id_of
from tests.face_models import picture
from tests.unit import face_world
from tests.unit.api_client import backend_of
from tests.unit.face_world import ANNA, BERTA, CLARA, deps_of_faces
from tests.unit.fakes import BUCKET, COLLECTION, HERE, LIMITS, request_of

model_file, face_embedder = face_world.model_file, face_world.face_embedder
PICTURES = {"group.png": [ANNA, BERTA], "one.png": [CLARA]}


def face(key: str, place: int = 0) -> str:
    return view_row_id(image_id_of(BUCKET, key), place)


GROUP, ONE = [face("group.png"), face("group.png", 1)], face("one.png")


@pytest.fixture
def deps(deps: Deps, model_file: Path, face_embedder: ImageEmbedder) -> Deps:
    made = deps_of_faces(deps, model_file, face_embedder)
    for key, faces in PICTURES.items():
        made.store.put(BUCKET, key, picture(faces))
    ingest(made)
    return made


@pytest.fixture
def backend(deps: Deps, tmp_path: Path) -> Backend:
    """With a person to whom all faces belong."""
    made = backend_of(deps, tmp_path)
    ports, caller = made.search_ports(), local_caller()
    create_person(COLLECTION, "all", ports, caller)
    done = associate_faces(COLLECTION, "all", [*GROUP, ONE], ports, caller, min_score=-1.0)
    assert sorted(done.changed) == sorted([*GROUP, ONE])
    return made


def ingest(deps: Deps) -> Job:
    request = replace(request_of(spec=deps.embedder.spec), max_delete_share=1.0)
    job, _ = open_job(request, deps, driver=HERE)
    return run_job(job, deps, LIMITS, DriverOptions(retry_delays_s=()), on_progress=lambda _: None)


def known(backend: Backend) -> list[str]:
    """What the ledger says of faces, whether they are there or not."""
    held = backend.persons.faces_of(COLLECTION, ["all"]).get("all", ())
    return sorted(each.row_id for each in held)


def shown(backend: Backend) -> list[str]:
    found, _ = show_person(COLLECTION, "all", backend.search_ports(), local_caller())
    return sorted(found.faces)


def remove_by_key(backend: Backend, _deps: Deps) -> None:
    delete_objects(
        BUCKET,
        ["group.png"],
        collection=COLLECTION,
        index=backend.index,
        ledger=backend.ledger,
        answers_to=backend.answers_to,
        caller=local_caller(),
        meant_at=datetime.now(UTC),
        driver=HERE,
    )


def remove_by_id(backend: Backend, _deps: Deps) -> None:
    remove_image(
        image_id_of(BUCKET, "group.png"),
        COLLECTION,
        backend.index,
        backend.ledger,
        backend.answers_to,
        local_caller(),
        driver=HERE,
    )


def delete_from_the_bucket(_backend: Backend, deps: Deps) -> None:
    deps.store.delete(BUCKET, "group.png")
    assert ingest(deps).counts.removed == 1


@pytest.mark.parametrize("remove", [remove_by_key, remove_by_id, delete_from_the_bucket])
def test_faces_of_an_image_that_leaves_are_nobody_s_from_then_on(
    backend: Backend, deps: Deps, remove: Callable[[Backend, Deps], None]
) -> None:
    remove(backend, deps)
    assert known(backend) == [ONE], "the ledger has no trace of the others"
    assert isinstance(deps.store, MemoryStore)
    deps.store.put(BUCKET, "group.png", picture(PICTURES["group.png"]))
    ingest(deps)
    assert backend.index.get_rows(backend.index.live(COLLECTION), GROUP), "the same picture comes again"
    assert backend.persons.owners(COLLECTION, GROUP) == {}


def test_a_face_that_came_alone_is_nobody_s_once_it_is_deleted(backend: Backend) -> None:
    wanted = FacesToIndex(
        collection=COLLECTION, external_id="x", most=1, left_out=lambda _: (), source="shop/x.png"
    )
    (row,) = backend.index_faces(picture([ANNA]), wanted, local_caller()).rows
    ports = backend.search_ports()
    done = associate_faces(COLLECTION, "all", [row.id], ports, local_caller(), min_score=-1.0)
    assert done.changed == (row.id,)
    target = backend.index.live(COLLECTION)
    remove_faces([row], target, ports, backend.ledger, backend.uploads, local_caller(), driver=HERE)
    assert known(backend) == sorted([*GROUP, ONE])


def test_a_dropped_collection_leaves_nothing_of_its_persons(backend: Backend) -> None:
    drop_collection(
        COLLECTION,
        backend.index,
        backend.ledger.book,
        backend.persons,
        backend.answers_to,
        local_caller(),
    )
    assert known(backend) == []
    assert backend.persons.count(COLLECTION) == 0


def test_a_picture_that_is_replaced_leaves_its_faces_to_nobody_and_gives_them_back(
    backend: Backend, deps: Deps
) -> None:
    """It has not left: somebody may put the former picture back."""
    deps.store.put(BUCKET, "one.png", picture([BERTA]))
    ingest(deps)
    assert shown(backend) == GROUP
    deps.store.put(BUCKET, "one.png", picture([CLARA]))
    ingest(deps)
    assert shown(backend) == sorted([*GROUP, ONE])

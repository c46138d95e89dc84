"""Persons while another model embeds their faces: what is said of a face holds in all generations."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.api.backend import Backend
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps, ImageEmbedder, ViewFinder
from pipeline.ports.embedder import never_late
from pipeline.ports.image_rows import view_row_id
from pipeline.service.access import local_caller
from pipeline.service.associations import FaceRefusal, associate_faces, dissociate_faces
from pipeline.service.models import LoadedOnDemand
from pipeline.service.persons import create_person, list_persons, show_person
from pipeline.service.promote import promote_generation
from pipeline.types import Box, CollectionRef, View, image_id_of
from tests.face_models import DIM, write_face_model
from tests.unit.api_client import backend_of
from tests.unit.face_world import ANNA, BERTA, CLARA, deps_of_faces, embedder_of, index_faces
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, plan_one_batch

KEY = "group.png"
Change = Callable[[Sequence[View]], Sequence[View]]


class OtherFinder:
    """Finds what another one does, and changes it: a detector of another make."""

    def __init__(self, finder: ViewFinder, change: Change) -> None:
        self.min_side_px = finder.min_side_px
        self._finder = finder
        self._change = change

    def find_views(
        self, rgb: NDArray[np.uint8], *, check_time: Callable[[], None] = never_late
    ) -> Sequence[View]:
        return self._change(self._finder.find_views(rgb, check_time=check_time))


def drawn_larger(views: Sequence[View]) -> Sequence[View]:
    """Boxes of 1.6 times the side, as of a detector that draws heads: two fifths of them are common."""
    return [replace(view, box=_larger(view.box)) for view in views if view.box is not None]


def _larger(box: Box) -> Box:
    """Within the picture, as all boxes are."""
    more = round(0.3 * box.width)
    left, top = max(0, box.left - more), max(0, box.top - more)
    right, bottom = box.left + box.width + more, box.top + box.height + more
    return Box(left=left, top=top, width=right - left, height=bottom - top)


def as_they_are(views: Sequence[View]) -> Sequence[View]:
    return views


def in_another_order(views: Sequence[View]) -> Sequence[View]:
    return [*reversed(views)]


def without_the_first(views: Sequence[View]) -> Sequence[View]:
    return views[1:]


@pytest.fixture(scope="module")
def first_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_face_model(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> ImageEmbedder:
    other = f"dim = {DIM}\nmean = [0.1, 0.2, 0.3]"
    return embedder_of(write_face_model(tmp_path_factory.mktemp("second"), name="other", embedder=other))


@pytest.fixture
def deps(deps: Deps, first_model: Path) -> Deps:
    made = deps_of_faces(deps, first_model, embedder_of(first_model))
    index_faces(made, {KEY: [ANNA, BERTA, CLARA]})
    return made


@pytest.fixture
def backend(deps: Deps, tmp_path: Path) -> Backend:
    """With the model of whatever generation is asked for."""
    models = LoadedOnDemand(
        deps.index,
        lambda address, _precision: embedder_of(Path(address)),
        requested="",
        precision="auto",
        finder_of=lambda _spec: deps.finder,
    )
    return replace(backend_of(deps, tmp_path), models=models)


def face(place: int) -> str:
    return view_row_id(image_id_of(BUCKET, KEY), place)


FACES = [face(place) for place in range(3)]


def embed_again(deps: Deps, second: ImageEmbedder, change: Change) -> CollectionRef:
    """In a generation beside the live one."""
    assert deps.finder is not None
    target = deps.index.open_generation(COLLECTION, second.spec).ref
    other = replace(deps, embedder=second, finder=OtherFinder(deps.finder, change))
    assert run_batch(plan_one_batch(other, KEY, spec=second.spec), other, LIMITS).rejected == ()
    return target


def promote(target: CollectionRef, deps: Deps) -> None:
    promote_generation(COLLECTION, target.fingerprint, deps.index, local_caller())


def make(backend: Backend, person_id: str, *faces: str) -> None:
    create_person(COLLECTION, person_id, backend.search_ports(), local_caller())
    if faces:
        assert associate(backend, person_id, *faces) == [*faces]


def associate(backend: Backend, person_id: str, *faces: str) -> list[str]:
    ports = backend.search_ports()
    done = associate_faces(COLLECTION, person_id, faces, ports, local_caller(), min_score=-1.0)
    return [*done.changed]


def faces_of(backend: Backend, person_id: str) -> list[str]:
    """As both ways to look at a person say."""
    ports, caller = backend.search_ports(), local_caller()
    shown, rows = show_person(COLLECTION, person_id, ports, caller)
    listed = {each.person.person_id: each for each in list_persons(COLLECTION, ports, caller, limit=9)}
    assert [*shown.faces] == [row.id for row in rows]
    assert sorted(listed[person_id].faces) == sorted(shown.faces)
    assert listed[person_id].state is shown.state
    return sorted(shown.faces)


CHANGES = [as_they_are, in_another_order, drawn_larger]


@pytest.mark.parametrize("change", CHANGES)
def test_persons_of_before_and_of_meanwhile_keep_their_faces(
    backend: Backend, deps: Deps, second: ImageEmbedder, change: Change
) -> None:
    make(backend, "before", FACES[0])
    target = embed_again(deps, second, change)
    make(backend, "meanwhile", FACES[1])
    promote(target, deps)
    assert faces_of(backend, "before") == [FACES[0]]
    assert faces_of(backend, "meanwhile") == [FACES[1]]
    make(backend, "after", FACES[2])
    promote(deps.index.list_generations(COLLECTION)[0].ref, deps)
    assert [faces_of(backend, who) for who in ("before", "meanwhile", "after")] == [[one] for one in FACES]


@pytest.mark.parametrize("change", CHANGES)
def test_a_person_is_the_mean_of_the_vectors_of_the_live_generation(
    backend: Backend, deps: Deps, second: ImageEmbedder, change: Change
) -> None:
    make(backend, "two", *FACES[:2])
    target = embed_again(deps, second, change)
    promote(target, deps)
    _, rows = show_person(COLLECTION, "two", backend.search_ports(), local_caller())
    expected = {row.id: row.vector for row in deps.index.get_rows(target, FACES[:2])}
    assert len(rows) == len(expected) == 2
    for row in rows:
        np.testing.assert_array_equal(row.vector, expected[row.id])


def test_a_face_that_the_new_model_misses_is_the_person_s_again_with_the_old_one(
    backend: Backend, deps: Deps, second: ImageEmbedder
) -> None:
    former = deps.index.live(COLLECTION)
    make(backend, "two", *FACES[:2])
    make(backend, "missed", FACES[0].replace(":00", ":02"))
    target = embed_again(deps, second, without_the_first)
    promote(target, deps)
    assert [row.id for row in deps.index.get_rows(target, FACES)] == FACES[1:], "a gap in the numbers"
    assert faces_of(backend, "two") == FACES[1:2]
    assert faces_of(backend, "missed") == FACES[2:]
    dissociate_faces(COLLECTION, "missed", FACES[2:], backend.search_ports(), local_caller())
    assert associate(backend, "two", FACES[2]) == FACES[2:]
    promote(former, deps)
    assert faces_of(backend, "two") == FACES, "the one that was missed was not forgotten"


def test_a_face_that_no_generation_has_makes_room_for_others(backend: Backend, deps: Deps) -> None:
    make(backend, "anna", FACES[0])
    deps.index.delete_images(deps.index.live(COLLECTION), [image_id_of(BUCKET, KEY)])
    index_faces(deps, {"other.png": [ANNA]})
    other = view_row_id(image_id_of(BUCKET, "other.png"), 0)
    assert associate(backend, "anna", other) == [other]
    assert [held.row_id for held in backend.persons.faces_of(COLLECTION, ["anna"])["anna"]] == [other]


def test_a_face_that_is_dissociated_meanwhile_is_nobody_s_in_any_generation(
    backend: Backend, deps: Deps, second: ImageEmbedder
) -> None:
    former = deps.index.live(COLLECTION)
    make(backend, "two", *FACES[:2])
    target = embed_again(deps, second, without_the_first)
    ports, caller = backend.search_ports(), local_caller()
    assert dissociate_faces(COLLECTION, "two", [FACES[1]], ports, caller).changed == (FACES[1],)
    promote(target, deps)
    assert faces_of(backend, "two") == []
    missing = dissociate_faces(COLLECTION, "two", [FACES[0]], ports, caller)
    assert [why.reason for why in missing.refused] == [FaceRefusal.NOT_FOUND], "the live generation lacks it"
    promote(former, deps)
    assert faces_of(backend, "two") == []

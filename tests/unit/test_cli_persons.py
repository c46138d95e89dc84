"""`pictor persons` through a running service and without one: the answers are the same."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.api.backend import Backend
from pipeline.cli.persons_here import PersonsHere
from pipeline.cli.persons_of import Persons
from pipeline.cli.persons_there import PersonsThere
from pipeline.cli.search_options import SearchOptions
from pipeline.cli.search_there import search_there
from pipeline.errors import NotFoundError
from pipeline.ports import Deps
from pipeline.ports.image_rows import view_row_id
from pipeline.types import image_id_of
from tests.face_models import write_face_model
from tests.unit.api_client import backend_of
from tests.unit.face_world import ANNA, BERTA, deps_of_faces, embedder_of, index_faces
from tests.unit.fakes import BUCKET, COLLECTION
from tests.unit.test_cli_there import ServiceHere, serving

ANNA_S, BERTA_S = (view_row_id(image_id_of(BUCKET, key), 0) for key in ("anna.png", "berta.png"))


@pytest.fixture
def backend(deps: Deps, tmp_path: Path) -> Backend:
    model_file = write_face_model(tmp_path / "model")
    deps = deps_of_faces(deps, model_file, embedder_of(model_file))
    index_faces(deps, {"anna.png": [ANNA], "berta.png": [BERTA]})
    return backend_of(deps, tmp_path)


@pytest.fixture
def service(backend: Backend) -> Iterator[ServiceHere]:
    with serving(backend) as service:
        yield service


@pytest.fixture(params=["there", "here"])
def persons(request: pytest.FixtureRequest, backend: Backend, service: ServiceHere) -> Iterator[Persons]:
    if request.param == "here":
        yield PersonsHere(COLLECTION, backend.search_ports())
        return
    with service.connect() as pictor:
        yield PersonsThere(pictor, COLLECTION)


def test_persons_are_made_associated_listed_and_deleted(persons: Persons) -> None:
    assert [persons.create("anna")["state"] for _ in range(2)] == ["created"] * 2
    done = persons.associate("anna", [ANNA_S, "f" * 32], None)
    assert done["changed"] == [ANNA_S]
    assert done["refused"] == [{"face": "f" * 32, "reason": "face_not_found"}]
    [shown] = persons.list()
    assert (shown["id"], shown["state"], shown["faces"]) == ("anna", "active", [ANNA_S])
    assert persons.show("anna") == shown
    assert persons.associate("anna", [BERTA_S], 0.999)["changed"] == []
    assert persons.dissociate("anna", [ANNA_S])["changed"] == [ANNA_S]
    persons.delete("anna")
    assert list(persons.list()) == []
    with pytest.raises(NotFoundError):
        persons.show("anna")


def test_a_search_by_command_finds_persons(service: ServiceHere) -> None:
    with service.connect() as pictor:
        for person_id, face in (("anna", ANNA_S), ("berta", BERTA_S)):
            pictor.create_person(COLLECTION, person_id)
            pictor.associate_faces(COLLECTION, person_id, [face])
    wanted = SearchOptions(collection=COLLECTION, group_by="person")
    found = search_there([ANNA_S, "person:anna"], wanted, service, None)
    assert [[hit["person"] for hit in hits_of(answer)] for answer in found] == [["anna", "berta"], ["berta"]]


def hits_of(answer: Mapping[str, object]) -> list[Mapping[str, object]]:
    hits = answer["hits"]
    assert isinstance(hits, list)
    return hits

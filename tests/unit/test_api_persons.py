"""Persons over HTTP and by both clients, and searches whose hits are grouped."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api.app import make_app
from pipeline.client import StoredPerson
from pipeline.errors import ArgumentError, ConflictError, NotFoundError, PictorError, TransientError
from pipeline.ports import Deps, ImageEmbedder
from pipeline.ports.image_rows import image_id_of_row, view_row_id
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import IndexRow, Vector, image_id_of
from tests.unit import face_world
from tests.unit.api_client import backend_of, client_of
from tests.unit.client_doors import KINDS, Ask, asked_of_app
from tests.unit.face_world import ANNA, BERTA, CLARA, LARGE, deps_of_faces, index_faces
from tests.unit.fakes import BUCKET, COLLECTION

PICTURES = {"group.png": [LARGE, ANNA, BERTA, CLARA], "berta.png": [BERTA], "clara.png": [CLARA]}
NOBODY = "f" * 32 + ":00"

model_file, face_embedder = face_world.model_file, face_world.face_embedder


def face(key: str, place: int = 0) -> str:
    return view_row_id(image_id_of(BUCKET, key), place)


BERTA_ALONE, CLARA_ALONE = face("berta.png"), face("clara.png")
BERTA_IN_GROUP = face("group.png", 2)


@pytest.fixture
def deps(deps: Deps, model_file: Path, face_embedder: ImageEmbedder) -> Deps:
    made = deps_of_faces(deps, model_file, face_embedder)
    index_faces(made, PICTURES)
    return made


@pytest.fixture(params=KINDS)
def ask(request: pytest.FixtureRequest, deps: Deps, tmp_path: Path, log: MemoryAuditLog) -> Iterator[Ask]:
    with asked_of_app(make_app(backend_of(deps, tmp_path, log=log)), request.param) as asked:
        yield asked


def last_record(log: MemoryAuditLog) -> Any:
    return json.loads(list(log.entries())[-1].record or b"")


def error_of(ask: Ask, name: str, *arguments: Any, **options: Any) -> PictorError:
    with pytest.raises(PictorError) as caught:
        ask(name, *arguments, **options)
    return caught.value


def make(ask: Ask, **faces: str) -> None:
    for person_id, of in faces.items():
        ask("create_person", COLLECTION, person_id)
        ask("associate_faces", COLLECTION, person_id, [of])


def test_a_person_is_made_shown_listed_and_deleted(ask: Ask, log: MemoryAuditLog) -> None:
    made = [ask("create_person", COLLECTION, "berta:1") for _ in range(2)]
    assert [(each.id, each.state, each.faces) for each in made] == [("berta:1", "created", [])] * 2
    assert len(list(log.entries())) == 1, "once made, there is nothing to record"
    ask("create_person", COLLECTION, "anna")
    assert [each.id for each in ask("list_persons", COLLECTION, page_items=1)] == ["anna", "berta:1"]
    ask("delete_person", COLLECTION, "anna")
    assert isinstance(error_of(ask, "show_person", COLLECTION, "anna"), NotFoundError)
    assert isinstance(error_of(ask, "delete_person", COLLECTION, "anna"), NotFoundError)
    assert isinstance(error_of(ask, "create_person", COLLECTION, "no body"), ArgumentError)
    assert isinstance(error_of(ask, "list_persons", "nowhere"), NotFoundError)


def test_faces_become_a_person_s_and_are_told_where_they_do_not(ask: Ask, log: MemoryAuditLog) -> None:
    make(ask, clara=CLARA_ALONE)
    ask("create_person", COLLECTION, "berta")
    done = ask("associate_faces", COLLECTION, "berta", [BERTA_ALONE, CLARA_ALONE, NOBODY])
    assert (done.changed, done.person.state, done.person.faces) == ([BERTA_ALONE], "active", [BERTA_ALONE])
    assert {each.face: (each.reason, each.person) for each in done.refused} == {
        CLARA_ALONE: ("associated_to_another_person", "clara"),
        NOBODY: ("face_not_found", ""),
    }
    record = last_record(log)
    assert (record["kind"], record["outcome"]) == ("person_change", "associated")
    assert record["details"] == {"person": "berta", "faces": [BERTA_ALONE]}
    low = ask("associate_faces", COLLECTION, "berta", [face("group.png", 3)], min_score=0.99)
    assert (low.changed, low.refused[0].reason) == ([], "low_match")
    assert low.refused[0].score < 0.99
    like = ask("associate_faces", COLLECTION, "berta", [BERTA_IN_GROUP], min_score=0.99)
    assert like.changed == [BERTA_IN_GROUP]
    details = last_record(log)["details"]
    assert (details["faces"], 0.99 <= details["scores"][0] <= 1) == ([BERTA_IN_GROUP], True)
    gone = ask("dissociate_faces", COLLECTION, "berta", [BERTA_ALONE, CLARA_ALONE])
    assert (gone.changed, [each.reason for each in gone.refused]) == (
        [BERTA_ALONE],
        ["associated_to_another_person"],
    )
    assert ask("show_person", COLLECTION, "berta").faces == [BERTA_IN_GROUP]


def test_a_face_of_another_picture_under_the_same_key_is_nobody_s(ask: Ask, deps: Deps) -> None:
    """A file that is replaced must not lend its person's name to whoever it shows now."""
    make(ask, berta=BERTA_ALONE)
    index_faces(deps, {"berta.png": [ANNA]})
    assert deps.index.get_rows(deps.index.live(COLLECTION), [BERTA_ALONE]), "a face is there"
    assert ask("show_person", COLLECTION, "berta").faces == []
    assert [each.state for each in ask("list_persons", COLLECTION)] == ["created"]
    found = ask("search", face("group.png", 1), collection=COLLECTION, group_by="person")
    assert found.answers[0].hits == ()
    done = ask("associate_faces", COLLECTION, "berta", [BERTA_ALONE])
    assert done.changed == [BERTA_ALONE], "it may be said anew"


def test_a_face_at_another_place_of_its_picture_is_nobody_s(ask: Ask, deps: Deps) -> None:
    """Another detector may number the faces of the same picture in another order."""
    make(ask, berta=BERTA_IN_GROUP)
    target = deps.index.live(COLLECTION)
    image_id = image_id_of(BUCKET, "group.png")
    rows = deps.index.get_images(target, [image_id])[image_id]
    turned = [replace(row, id=view_row_id(image_id, place)) for place, row in enumerate(reversed(rows))]
    deps.index.replace_images(target, {image_id: turned})
    assert ask("show_person", COLLECTION, "berta").faces == []


def test_persons_are_found_by_a_face_a_person_and_a_picture(
    ask: Ask, deps: Deps, log: MemoryAuditLog
) -> None:
    make(ask, berta=BERTA_ALONE, twin=BERTA_IN_GROUP, clara=CLARA_ALONE)
    body = deps.store.get(deps.store.stat(BUCKET, "berta.png"), max_bytes=10**7).body
    for query, expected in (
        (BERTA_ALONE, ["berta", "twin", "clara"]),
        (StoredPerson("berta"), ["twin", "clara"]),
        (body, ["berta", "twin", "clara"]),
    ):
        [answer] = ask("search", query, collection=COLLECTION, group_by="person").answers
        assert [hit.person for hit in answer.hits] == expected
        record = last_record(log)
        assert (record["details"]["group_by"], record["details"]["persons"]) == ("person", expected)
        assert [each["id"] for each in record["candidates"]] == [hit.id for hit in answer.hits]
    [top] = ask("search", BERTA_ALONE, collection=COLLECTION, group_by="person", k=1).answers[0].hits
    assert (top.id, top.score) == (BERTA_ALONE, pytest.approx(1, abs=1e-5))
    [batch] = ask("search_batch", [StoredPerson("clara")], collection=COLLECTION, k=1).answers
    assert [hit.id for hit in batch.hits] == [CLARA_ALONE], "the faces nearest to a person"
    assert last_record(log)["probe"]["source"] == "person:clara"
    least = ask("search", BERTA_ALONE, collection=COLLECTION, group_by="person", min_score=0.99)
    assert [hit.person for hit in least.answers[0].hits] == ["berta", "twin"]


def short_of_one(row: IndexRow) -> Vector:
    """A unit vector whose product with itself is a little under 1, as float32 has it."""
    random = np.random.default_rng(seed=1)
    drawn = (random.normal(size=row.vector.shape) for _ in range(1000))
    units = ((one / np.linalg.norm(one)).astype(np.float32) for one in drawn)
    return next(unit for unit in units if float(unit @ unit) < 1)


def store_vector(deps: Deps, vector: Vector, *row_ids: str) -> None:
    target = deps.index.live(COLLECTION)
    for row in deps.index.get_rows(target, row_ids):
        deps.index.replace_images(target, {image_id_of_row(row.id): [replace(row, vector=vector)]})


def test_a_person_of_one_face_is_as_near_as_that_face(ask: Ask, deps: Deps) -> None:
    make(ask, berta=BERTA_ALONE)
    [row] = deps.index.get_rows(deps.index.live(COLLECTION), [BERTA_ALONE])
    store_vector(deps, short_of_one(row), BERTA_ALONE)
    for group_by in ("", "person"):
        found = ask("search", BERTA_ALONE, collection=COLLECTION, group_by=group_by, min_score=1.0)
        assert [hit.id for hit in found.answers[0].hits] == [BERTA_ALONE]


def test_a_face_that_is_the_same_passes_the_highest_floor(ask: Ask, deps: Deps) -> None:
    [row] = deps.index.get_rows(deps.index.live(COLLECTION), [BERTA_ALONE])
    store_vector(deps, short_of_one(row), BERTA_ALONE, CLARA_ALONE)
    make(ask, berta=BERTA_ALONE)
    done = ask("associate_faces", COLLECTION, "berta", [CLARA_ALONE], min_score=1.0)
    assert (done.changed, done.refused) == ([CLARA_ALONE], ())


def test_a_person_is_found_behind_any_number_of_faces_of_nobody(ask: Ask, deps: Deps) -> None:
    make(ask, clara=CLARA_ALONE)
    target = deps.index.live(COLLECTION)
    [row] = deps.index.get_rows(target, [BERTA_ALONE])
    crowd = [replace(row.ref, key=f"crowd/{number}.png") for number in range(1500)]
    deps.index.replace_images(
        target,
        {ref.image_id: [replace(row, id=view_row_id(ref.image_id, 0), ref=ref)] for ref in crowd},
    )
    [answer] = ask("search", BERTA_ALONE, collection=COLLECTION, group_by="person", k=3).answers
    assert [hit.person for hit in answer.hits] == ["clara"]


def test_each_image_is_a_hit_once_where_hits_are_grouped_by_image(ask: Ask, log: MemoryAuditLog) -> None:
    plain = ask("search", BERTA_ALONE, collection=COLLECTION, k=10).answers[0].hits
    assert sorted(hit.key for hit in plain).count("group.png") == 4
    grouped = ask("search", BERTA_ALONE, collection=COLLECTION, k=10, group_by="image").answers[0].hits
    assert [hit.key for hit in grouped] == list(dict.fromkeys(hit.key for hit in plain))
    assert [hit.id for hit in grouped] == [
        next(hit.id for hit in plain if hit.key == key) for key in (each.key for each in grouped)
    ], "the best of each"
    assert last_record(log)["details"]["group_by"] == "image"
    two = ask("search", BERTA_ALONE, collection=COLLECTION, k=2, group_by="image").answers[0].hits
    assert [hit.key for hit in two] == [hit.key for hit in grouped[:2]]


def test_a_change_of_persons_is_recorded_or_not_made(deps: Deps, tmp_path: Path, log: MemoryAuditLog) -> None:
    client = client_of(backend_of(deps, tmp_path, log=log))
    person = f"/v1/collections/{COLLECTION}/persons/berta"
    client.put(person)
    client.post(f"{person}/faces", json={"faces": [BERTA_ALONE]})
    before = client.get(person).json()
    for method, path, body in (
        ("PUT", person.replace("berta", "new"), None),
        ("DELETE", person, None),
        ("POST", f"{person}/faces", {"faces": [BERTA_IN_GROUP]}),
        ("POST", f"{person}/faces/remove", {"faces": [BERTA_ALONE]}),
    ):
        log.fail_next(TransientError("away"))
        answer = client.request(method, path, json=body)
        assert (answer.status_code, "could not be recorded" in answer.text) == (503, True), path
    assert client.get(person.rpartition("/")[0]).json()["persons"] == [before]
    assert before["faces"] == [BERTA_ALONE]


def test_what_cannot_be_asked_is_said(ask: Ask) -> None:
    assert "group_by" in str(error_of(ask, "search", BERTA_ALONE, collection=COLLECTION, group_by="colour"))
    for query in ("nobody", "empty"):
        if query == "empty":
            ask("create_person", COLLECTION, query)
        error = error_of(ask, "search", StoredPerson(query), collection=COLLECTION)
        assert (isinstance(error, NotFoundError), query in str(error)) == (True, True)
    many = [f"{number:032x}:00" for number in range(101)]
    error = error_of(ask, "associate_faces", COLLECTION, "empty", many)
    assert isinstance(error, ArgumentError)
    assert not isinstance(error, ConflictError)

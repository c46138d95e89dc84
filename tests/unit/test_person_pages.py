"""Persons on the search page: a list of them, a search for one, and whose face a hit is."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.api.backend import Backend
from pipeline.api.pages.persons_part import PERSONS_SHOWN
from pipeline.errors import TransientError
from pipeline.ports import Deps, ImageEmbedder
from pipeline.ports.image_rows import view_row_id
from pipeline.service.access import local_caller
from pipeline.service.associations import associate_faces
from pipeline.service.persons import create_person
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import KeyRole, image_id_of
from tests.face_models import picture
from tests.unit import face_world
from tests.unit.api_client import client_of, client_with_keys, key_for
from tests.unit.face_world import ANNA, BERTA, deps_of_faces, index_faces
from tests.unit.fakes import BUCKET, COLLECTION, SPEC

WHY = {"collection": COLLECTION, "purpose": "test", "case": "AB-1"}
HERE = {"collection": COLLECTION}
ANNA_ALONE, BERTA_ALONE = (view_row_id(image_id_of(BUCKET, key), 0) for key in ("anna.png", "berta.png"))

model_file, face_embedder = face_world.model_file, face_world.face_embedder
backend, client = face_world.backend, face_world.client


@pytest.fixture
def deps(deps: Deps, model_file: Path, face_embedder: ImageEmbedder) -> Deps:
    made = deps_of_faces(deps, model_file, face_embedder)
    index_faces(made, {"anna.png": [ANNA], "berta.png": [BERTA]})
    return made


def enter(backend: Backend, **persons: str) -> None:
    """Args: `persons`: a face of each, or ""."""
    for person_id, face in persons.items():
        create_person(COLLECTION, person_id, backend.search_ports(), local_caller())
        if face:
            associate_faces(COLLECTION, person_id, [face], backend.search_ports(), local_caller())


def searches(log: MemoryAuditLog) -> list[Any]:
    found = [entry for entry in log.entries() if entry.found_by["kind"] == "search"]
    return [json.loads(entry.record or b"") for entry in found]


def listed(page: str) -> list[str]:
    shown = page.partition('<section class="persons"')[2]
    return [unescape(name) for name in re.findall(r'<span class="name">([^<]*)<', shown)]


def buttons(page: str) -> list[str]:
    return [unescape(name) for name in re.findall(r'form="ask" name="chosen_person" value="([^"]*)"', page)]


def test_the_page_lists_the_persons_and_looks_for_nobody(
    backend: Backend, client: TestClient, log: MemoryAuditLog
) -> None:
    enter(backend, anna=ANNA_ALONE, nobody="")
    page = client.get("/", params=HERE).text
    assert listed(page) == ["anna", "nobody"]
    assert buttons(page) == ["anna"], "a search for somebody without a face finds nothing"
    assert "1 face<" in page
    assert "no face yet" in page
    (face,) = re.findall(r'src="([^"]*only_face=true)"', page)
    assert client.get(unescape(face)).status_code == 200
    assert ANNA_ALONE in face
    assert searches(log) == []


def test_a_collection_without_persons_says_so_and_one_of_images_has_no_list(
    backend: Backend, client: TestClient
) -> None:
    backend.index.create_collection("other", SPEC)
    page = client.get("/", params=HERE).text
    assert "Nobody is entered" in page
    assert buttons(page) == []
    images = client.get("/", params={"collection": "other"}).text
    assert '<option value="other" selected>' in images
    assert '<section class="persons"' not in images
    assert 'name="person"' not in images


def test_persons_are_paged_and_a_further_page_looks_for_nobody(
    backend: Backend, client: TestClient, log: MemoryAuditLog
) -> None:
    everybody = [f"p{number:03}" for number in range(PERSONS_SHOWN + 2)]
    enter(backend, **dict.fromkeys(everybody, ""))
    first = client.get("/", params=HERE).text
    assert listed(first) == everybody[:PERSONS_SHOWN]
    (after,) = re.findall(r'formnovalidate name="persons_after" value="([^"]*)"', first)
    asked = WHY | {"person": "p000", "id": ANNA_ALONE, "persons_after": after}
    second = client.post("/", data=asked)
    assert second.status_code == 200
    assert listed(second.text) == everybody[PERSONS_SHOWN:]
    assert 'name="persons_after"' not in second.text
    assert 'value="p000"' in second.text, "what was typed stays"
    assert searches(log) == []


@pytest.mark.parametrize("more", [{"person": "anna"}, {"chosen_person": "anna", "person": "x", "id": "y"}])
def test_a_person_is_searched_for_through_the_gate(
    backend: Backend, client: TestClient, log: MemoryAuditLog, more: dict[str, str]
) -> None:
    enter(backend, anna=ANNA_ALONE)
    page = client.post("/", data=WHY | more)
    assert page.status_code == 200, page.text
    assert re.findall(r"<li data-score", page.text) == ["<li data-score"], "the floor of the policy holds"
    assert '<p class="key">anna</p>' in page.text
    assert re.search(r'id="count"[^>]*>1 face<', page.text)
    (record,) = searches(log)
    assert (record["outcome"], record["case_ref"]) == ("to_be_verified", "AB-1")


def test_a_search_for_a_person_without_a_reason_is_refused_and_recorded(
    backend: Backend, client: TestClient, log: MemoryAuditLog
) -> None:
    enter(backend, anna=ANNA_ALONE)
    page = client.post("/", data=HERE | {"chosen_person": "anna"})
    assert page.status_code == 403
    assert 'role="alert"' in page.text
    assert "purpose_missing" in page.text
    assert 'id="person" value="anna"' in page.text, "only the reason is missing then"
    assert listed(page.text) == ["anna"]
    assert [record["outcome"] for record in searches(log)] == ["refused"]


def test_a_person_stands_in_no_address(backend: Backend, client: TestClient, log: MemoryAuditLog) -> None:
    enter(backend, anna=ANNA_ALONE)
    page = client.get("/", params=HERE | {"person": "anna", "chosen_person": "anna"}).text
    assert searches(log) == []
    found = client.post("/", data=WHY | {"chosen_person": "anna"}).text
    for shown in (page, found):
        assert '<form id="ask" action="/" method="post">' in shown
        assert [link for link in re.findall(r'(?:href|action)="([^"]*)"', shown) if "anna" in link] == []


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"person": "nobody"}, 404, "no person"),
        ({"person": "anna", "id": ANNA_ALONE}, 400, "one of the two"),
        ({"person": "without"}, 200, "with a face"),
        ({"person": "x" * 129}, 422, "person"),
    ],
)
def test_what_is_wrong_with_a_person_is_said(
    backend: Backend, client: TestClient, more: dict[str, str], status: int, said: str
) -> None:
    enter(backend, anna=ANNA_ALONE, without="")
    page = client.post("/", data=WHY | more)
    assert (page.status_code, said in page.text) == (status, True), page.text


def test_a_hit_says_whose_face_it_is(backend: Backend, client: TestClient) -> None:
    enter(backend, anna=ANNA_ALONE)
    whose = {}
    for key, face in (("anna.png", ANNA), ("berta.png", BERTA)):
        headers = {"x-pictor-purpose": "test", "x-pictor-case": "AB-1"}
        page = client.post("/results", params=HERE, content=picture([face]), headers=headers).text
        assert key in page
        whose[key] = buttons(page)
    assert whose == {"anna.png": ["anna"], "berta.png": []}


def test_who_may_not_search_sees_persons_and_no_buttons(backend: Backend) -> None:
    enter(backend, anna=ANNA_ALONE)
    with client_with_keys(backend) as asked:
        for role, offered in ((KeyRole.SEARCHER, ["anna"]), (KeyRole.AUDITOR, [])):
            page = asked.get("/", params=HERE, headers=key_for(backend, role)).text
            assert (listed(page), buttons(page)) == (["anna"], offered), role
        refused = asked.post("/", data=WHY | {"person": "anna"}, headers=key_for(backend, KeyRole.AUDITOR))
        assert (refused.status_code, 'role="alert"' in refused.text) == (403, True)


def test_persons_that_cannot_be_listed_leave_the_search(backend: Backend) -> None:
    class Lost:
        def page(self, *_: Any, **__: Any) -> Any:
            raise TransientError("the database does not answer")

    with client_of(replace(backend, persons=Lost())) as asked:  # type: ignore[arg-type]
        page = asked.get("/", params=HERE)
    assert page.status_code == 200
    assert "The persons cannot be shown. the database does not answer" in page.text
    assert '<div id="drop"' in page.text

"""Who is searched for by a picture of faces, what is recorded of it, and whether two pictures show one."""

import base64
import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.api.app import make_app
from pipeline.errors import (
    ArgumentError,
    DeniedError,
    ImageError,
    NotFoundError,
    PictorError,
    PolicyError,
)
from pipeline.ports import Deps, ImageEmbedder
from pipeline.search.query import Bytes, Object, Query, Stored
from pipeline.service.access import Caller, local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.embeddings import embed_pictures
from pipeline.service.faces import Comparison, compare_faces, detect_faces
from pipeline.service.models import ResidentModel
from pipeline.service.search import SearchAnswer, SearchPorts, SearchRequest, search_images
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.types import (
    Box,
    CollectionPolicy,
    Justification,
    PolicyState,
    PolicyVersion,
    Purpose,
    image_id_of,
)
from tests.face_models import DrawnFace, picture
from tests.unit import face_world
from tests.unit.api_client import backend_of, client_of
from tests.unit.client_doors import KINDS, asked_of_app
from tests.unit.face_world import ANNA, BERTA, CLARA, LARGE, deps_of_faces, index_faces
from tests.unit.fakes import BUCKET, COLLECTION, CONCURRENCY, LIMITS, OTHER_SPEC, FakeEmbedder

GROUP, WIDTH, HEIGHT = "group.png", 320, 240
PICTURES = {GROUP: [LARGE, ANNA, BERTA, CLARA], "berta.png": [BERTA], "none.png": []}
WHY = Justification(purpose="test")

model_file, face_embedder = face_world.model_file, face_world.face_embedder


@pytest.fixture
def deps(deps: Deps, model_file: Path, face_embedder: ImageEmbedder) -> Deps:
    made = deps_of_faces(deps, model_file, face_embedder)
    index_faces(made, PICTURES)
    return made


@pytest.fixture
def ports(deps: Deps, log: MemoryAuditLog) -> SearchPorts:
    policies = MemoryPolicyBook()
    policies.add(
        PolicyVersion(
            collection=COLLECTION,
            version=1,
            policy=CollectionPolicy(
                purposes=(Purpose(code="test", text="A test"),), roles=("local",), min_score=0.95, max_k=2
            ),
            state=PolicyState.IN_FORCE,
            replaces=0,
            loosens=(),
            proposed_by="somebody",
            proposed_at=datetime.now(UTC),
        )
    )
    return SearchPorts(
        store=deps.store,
        index=deps.index,
        answers_to=Accountability(log=log, policies=policies, index=deps.index),
        models=ResidentModel(deps.embedder, deps.index, deps.finder),
        concurrency=CONCURRENCY,
    )


def search(query: Query, ports: SearchPorts, why: Justification = WHY) -> SearchAnswer:
    request = SearchRequest(collection=COLLECTION, k=2, justification=why)
    (answer,) = search_images([query], request, ports, LIMITS, local_caller())
    return answer


def given(*faces: DrawnFace, box: Box | None = None) -> Bytes:
    return Bytes(text="probe", body=picture(faces), box=box)


def records_of(log: MemoryAuditLog) -> list[dict[str, Any]]:
    """In the order in which they were written."""
    return [json.loads(entry.record) for entry in log.entries() if entry.record is not None]


def box_of(face: DrawnFace) -> Box:
    return Box(left=face.left, top=face.top, width=face.side_px, height=face.side_px)


def share_of(face: DrawnFace) -> list[float]:
    sides = (face.left / WIDTH, face.top / HEIGHT, face.side_px / WIDTH, face.side_px / HEIGHT)
    return [round(side, 6) for side in sides]


def places(answer: SearchAnswer) -> set[tuple[str, str]]:
    return {(hit.key, hit.metadata["face_box"]) for hit in answer.hits}


def place(key: str, face: DrawnFace) -> tuple[str, str]:
    return key, f"{face.left},{face.top},{face.side_px},{face.side_px}"


def test_each_face_of_a_picture_is_searched_for_and_has_a_record_of_its_own(
    ports: SearchPorts, log: MemoryAuditLog
) -> None:
    answer = search(given(BERTA, LARGE), ports)
    (other,) = answer.other_faces
    assert answer.face is not None
    assert other.face is not None
    assert (answer.face.box, other.face.box) == (box_of(LARGE), box_of(BERTA)), "the largest first"
    assert places(answer) == {place(GROUP, LARGE)}
    assert places(other) == {place(GROUP, BERTA), place("berta.png", BERTA)}
    records = records_of(log)
    assert [record["probe"]["face_box"] for record in records] == [share_of(LARGE), share_of(BERTA)]
    assert len({record["probe"]["sha256"] for record in records}) == 1
    assert [len(record["candidates"]) for record in records] == [1, 2]
    assert answer.receipt is not None
    assert other.receipt is not None
    assert [answer.receipt.record_id, other.receipt.record_id] == [record["record_id"] for record in records]


def test_a_box_says_which_face_is_meant(ports: SearchPorts, log: MemoryAuditLog) -> None:
    near = Box(left=BERTA.left - 9, top=BERTA.top + 5, width=70, height=60)
    answer = search(given(ANNA, BERTA, LARGE, box=near), ports)
    assert answer.face is not None
    assert (answer.face.box, answer.other_faces) == (box_of(BERTA), ())
    [record] = records_of(log)
    assert record["probe"]["face_box"] == share_of(BERTA)
    box, quality = box_of(BERTA), record["probe"]["quality"]
    assert (quality["width_px"], quality["height_px"]) == (box.width, box.height)
    assert min(quality["sharpness"], quality["brightness"]) > 0
    nowhere = search(given(ANNA, box=Box(left=300, top=200, width=5, height=5)), ports)
    assert (nowhere.hits, nowhere.code) == ((), "invalid_argument")
    assert nowhere.error.endswith("no face lies in the box 300,200,5,5 of this picture")


@pytest.mark.parametrize(
    "query", [Object(text="q", bucket=BUCKET, key=GROUP), given(LARGE, ANNA, BERTA, CLARA)]
)
def test_the_largest_of_the_faces_that_count_is_the_only_one_that_is_embedded(
    ports: SearchPorts, deps: Deps, query: Object | Bytes
) -> None:
    counted = CountingEmbedder(deps.embedder)
    ports = replace(ports, models=ResidentModel(counted, deps.index, deps.finder))
    small = replace(query, counts=lambda of: float(of["face_eyes_px"]) < 40, only_largest=True)
    answer = search(small, ports)
    assert answer.face is not None
    assert (answer.face.box, answer.other_faces, counted.views) == (box_of(ANNA), (), 1)
    assert answer.face_metadata["face_confidence"]
    nobody = search(replace(query, counts=lambda _: False), ports)
    assert (nobody.code, counted.views) == ("invalid_argument", 1)
    assert nobody.error.endswith("no face in this picture that is good enough")


class CountingEmbedder:
    """Implements `ports.ImageEmbedder`."""

    def __init__(self, embedder: ImageEmbedder) -> None:
        self.spec, self.device, self.views = embedder.spec, embedder.device, 0
        self._embedder = embedder

    def embed_images(self, images: Any) -> Any:
        self.views += len(images)
        return self._embedder.embed_images(images)


def test_a_stored_picture_asks_with_each_of_its_faces_and_a_row_with_one(
    ports: SearchPorts, log: MemoryAuditLog
) -> None:
    image_id = image_id_of(BUCKET, GROUP)
    answer = search(Stored(text="q", id=image_id), ports)
    boxes = [one.face.box for one in (answer, *answer.other_faces) if one.face]
    assert boxes == [box_of(face) for face in (LARGE, ANNA, BERTA, CLARA)]
    assert [record["probe"]["face_box"] for record in records_of(log)] == [
        share_of(face) for face in (LARGE, ANNA, BERTA, CLARA)
    ]
    one = search(Stored(text="q", id=f"{image_id}:02"), ports)
    assert one.face is not None
    assert (one.face.box, one.other_faces) == (box_of(BERTA), ())
    nobody = search(Stored(text="q", id=image_id_of(BUCKET, "none.png")), ports)
    assert nobody.code == "not_found"


def test_an_object_of_the_store_asks_with_each_of_its_faces(ports: SearchPorts) -> None:
    answer = search(Object(text="q", bucket=BUCKET, key=GROUP), ports)
    assert len(answer.other_faces) == 3
    assert {one.location for one in (answer, *answer.other_faces)} == {(BUCKET, GROUP)}
    assert search(given(), ports).error.endswith("the model finds nothing in this picture")


def test_the_embedding_of_a_picture_is_that_of_its_largest_face(ports: SearchPorts, deps: Deps) -> None:
    body = picture([ANNA, LARGE])
    (vector,) = embed_pictures([body], deps.index.live(COLLECTION), ports, LIMITS, local_caller())
    image_id = image_id_of(BUCKET, GROUP)
    [largest] = deps.index.get_rows(deps.index.live(COLLECTION), [f"{image_id}:00"])
    assert float(vector @ largest.vector) > 0.999


def test_finding_faces_says_where_they_are_and_records_nobody(
    ports: SearchPorts, log: MemoryAuditLog
) -> None:
    found = detect_faces(given(ANNA, LARGE), COLLECTION, ports, LIMITS, local_caller())
    assert (found.width, found.height) == (WIDTH, HEIGHT)
    assert [box for box, _ in found.faces] == [box_of(LARGE), box_of(ANNA)]
    assert [round(face.confidence, 3) for _, face in found.faces] == [1.0, 1.0]
    assert records_of(log) == []
    with pytest.raises(ImageError, match="not_an_image"):
        detect_faces(Bytes(text="q", body=b"no picture"), COLLECTION, ports, LIMITS, local_caller())
    with pytest.raises(DeniedError):
        detect_faces(
            given(ANNA), COLLECTION, ports, LIMITS, Caller(who="x", tenant="t", permissions=frozenset())
        )


def compare(
    first: Bytes, second: Bytes, ports: SearchPorts, why: Justification = WHY, **more: Any
) -> Comparison:
    request = SearchRequest(collection=COLLECTION, justification=why, **more)
    return compare_faces(first, second, request, ports, LIMITS, local_caller())


def test_a_face_matches_itself_under_the_highest_floor(ports: SearchPorts) -> None:
    """A unit vector of float32 has a product with itself that may be a little under 1."""
    for person in (25, 29, 33):  # whose vectors are so
        alone = given(DrawnFace(person=person, column=9, row=2))
        assert [score for _, score in compare(alone, alone, ports, min_score=1.0).matches] == [1.0]


def test_a_comparison_tells_scores_above_the_floor_and_is_recorded(
    ports: SearchPorts, log: MemoryAuditLog
) -> None:
    second = given(CLARA, replace(LARGE, row=4), BERTA)
    found = compare(given(LARGE, BERTA), second, ports)
    assert found.face == box_of(LARGE)
    [(box, score)] = found.matches
    assert box == box_of(replace(LARGE, row=4))
    assert score > 0.999
    assert set(found.unmatched) == {box_of(CLARA), box_of(BERTA)}
    [record] = records_of(log)
    digest = hashlib.sha256(second.body).hexdigest()
    assert record["probe"]["face_box"] == share_of(LARGE)
    assert record["details"]["compared_with"] == digest
    assert [(one["id"], one["rank"]) for one in record["candidates"]] == [(f"{digest[:32]}:00", 1)]
    assert record["reference_db"]["collection"] == COLLECTION
    assert found.receipt is not None
    assert found.receipt.record_id == record["record_id"]


def test_another_face_of_the_first_picture_is_compared_by_its_box(ports: SearchPorts) -> None:
    found = compare(given(LARGE, BERTA, box=box_of(BERTA)), given(ANNA, BERTA), ports)
    assert (found.face, [box for box, _ in found.matches]) == (box_of(BERTA), [box_of(BERTA)])


@pytest.mark.parametrize(
    ("why", "more"), [(Justification(), {}), (WHY, {"min_score": 0.5}), (Justification(purpose="x"), {})]
)
def test_a_comparison_that_the_policy_does_not_allow_is_refused_and_recorded(
    ports: SearchPorts, log: MemoryAuditLog, why: Justification, more: dict[str, Any]
) -> None:
    with pytest.raises(PolicyError):
        compare(given(ANNA), given(ANNA), ports, why, **more)
    [record] = records_of(log)
    assert record["outcome"] == "refused"


def test_a_picture_that_cannot_be_compared_is_named(ports: SearchPorts) -> None:
    with pytest.raises(ArgumentError, match="second picture: the model finds nothing in this picture"):
        compare(given(ANNA), given(), ports)
    with pytest.raises(ImageError, match="first picture"):
        compare(Bytes(text="q", body=b"no picture"), given(ANNA), ports)


def test_a_collection_of_whole_images_has_no_faces(ports: SearchPorts, deps: Deps) -> None:
    deps.index.create_collection("whole", OTHER_SPEC)
    whole = replace(ports, models=ResidentModel(FakeEmbedder(OTHER_SPEC), deps.index))
    with pytest.raises(ArgumentError, match="collection 'whole' is of whole images; name one of faces"):
        detect_faces(given(ANNA), "whole", whole, LIMITS, local_caller())
    with pytest.raises(NotFoundError, match="collection 'nowhere' does not exist; there are: images, whole"):
        detect_faces(given(ANNA), "nowhere", whole, LIMITS, local_caller())


@pytest.fixture
def client(deps: Deps, tmp_path: Path, ports: SearchPorts) -> TestClient:
    backend = backend_of(deps, tmp_path)
    return client_of(replace(backend, policies=ports.answers_to.policies, answers_to=ports.answers_to))


PURPOSE = {"x-pictor-purpose": "test"}


def test_faces_are_found_compared_and_searched_for_over_http(client: TestClient) -> None:
    both, berta = picture([BERTA, LARGE]), picture([BERTA])
    found = client.post(
        "/v1/faces/detect",
        params={"collection": COLLECTION},
        content=both,
        headers={"content-type": "application/octet-stream"},
    ).json()
    assert [face["box"] for face in found["faces"]] == [asdict(box_of(LARGE)), asdict(box_of(BERTA))]
    assert len(found["faces"][0]["points"]) == 5
    compared = client.post(
        "/v1/faces/compare",
        headers=PURPOSE,
        json={"collection": COLLECTION, "first": base64_of(berta), "second": base64_of(both)},
    )
    body = compared.json()
    assert [match["box"] for match in body["matches"]] == [asdict(box_of(BERTA))]
    assert body["unmatched"] == [asdict(box_of(LARGE))]
    assert compared.headers["x-pictor-receipt"] == body["receipt"]
    query = {"image": base64_of(both)}
    path = f"/v1/collections/{COLLECTION}/search"
    [answer] = client.post(path, headers=PURPOSE, json={"query": query, "k": 2}).json()["answers"]
    [other] = answer["other_faces"]
    assert (answer["face"], other["face"]) == (asdict(box_of(LARGE)), asdict(box_of(BERTA)))
    assert {hit["key"] for hit in other["hits"]} == {GROUP, "berta.png"}
    chosen = query | {"box": asdict(box_of(BERTA))}
    [answer] = client.post(path, headers=PURPOSE, json={"query": chosen, "k": 2}).json()["answers"]
    assert (answer["face"], "other_faces" in answer) == (asdict(box_of(BERTA)), False)


@pytest.mark.parametrize("kind", KINDS)
def test_both_clients_find_faces_and_compare_them(
    deps: Deps, tmp_path: Path, ports: SearchPorts, kind: str
) -> None:
    backend = replace(
        backend_of(deps, tmp_path), policies=ports.answers_to.policies, answers_to=ports.answers_to
    )
    file = tmp_path / "both.png"
    file.write_bytes(picture([BERTA, LARGE]))
    with asked_of_app(make_app(backend), kind) as ask:
        found = ask("detect_faces", file, collection=COLLECTION)
        assert (found.width, found.height) == (320, 240)
        assert [face.box for face in found.faces] == [asdict(box_of(LARGE)), asdict(box_of(BERTA))]
        assert found.faces[0].confidence > 0.99
        compared = ask("compare_faces", picture([BERTA]), file, collection=COLLECTION, purpose="test")
        assert [match.box for match in compared.matches] == [asdict(box_of(BERTA))]
        assert compared.matches[0].score > 0.999
        assert (compared.face, compared.unmatched) == (asdict(box_of(BERTA)), [asdict(box_of(LARGE))])
        assert compared.receipt
        chosen = asdict(box_of(BERTA))
        by_box = ask(
            "compare_faces", file, picture([BERTA]), collection=COLLECTION, box=chosen, purpose="test"
        )
        assert by_box.face == chosen
        with pytest.raises(PictorError, match="purpose"):
            ask("compare_faces", file, file, collection=COLLECTION)
        with pytest.raises(ImageError):
            ask("detect_faces", b"no picture", collection=COLLECTION)


def test_a_comparison_without_a_purpose_is_refused_over_http(client: TestClient) -> None:
    text = base64_of(picture([BERTA]))
    refused = client.post("/v1/faces/compare", json={"collection": COLLECTION, "first": text, "second": text})
    assert (refused.status_code, refused.json()["reason"]) == (403, "purpose_missing")
    garbled = client.post(
        "/v1/faces/compare", headers=PURPOSE, json={"collection": COLLECTION, "first": "!", "second": text}
    )
    assert (garbled.status_code, garbled.json()["detail"]) == (400, "first: base64 is expected")


def base64_of(body: bytes) -> str:
    return base64.b64encode(body).decode()

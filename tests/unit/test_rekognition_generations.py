"""Clients of the Rekognition endpoint while their collection goes over to another model."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps, ImageEmbedder
from pipeline.service.access import local_caller
from pipeline.service.drop_generation import drop_generation
from pipeline.service.keys import KeyRequest, create_key
from pipeline.service.models import LoadedOnDemand
from pipeline.service.policies import set_policy
from pipeline.service.policy_body import read_policy
from pipeline.service.promote import promote_generation
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import CollectionRef, KeyRole
from tests.accountable import NO_LOG
from tests.face_models import DIM, DrawnFace, picture, write_face_model
from tests.unit import face_world
from tests.unit.api_client import ORIGIN, backend_of
from tests.unit.aws_client import MASTER, aws_client
from tests.unit.face_world import ANNA, BERTA, CLARA, deps_of_faces, embedder_of
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, plan_one_batch
from tests.unit.test_rekognition import EVERY, held, refusal

model_file, face_embedder = face_world.model_file, face_world.face_embedder

OF = {"CollectionId": COLLECTION}
KEPT = f"uploads/default/faces/{COLLECTION}/"
POLICY = b'{"faces": true, "purposes": [{"code": "test", "text": "A test"}], "roles": ["admin"]}'


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> ImageEmbedder:
    """Another embedder, behind the same detector."""
    other = f"dim = {DIM}\nmean = [0.1, 0.2, 0.3]"
    return embedder_of(write_face_model(tmp_path_factory.mktemp("second"), name="other", embedder=other))


@pytest.fixture
def deps(deps: Deps, model_file: Path, face_embedder: ImageEmbedder) -> Deps:
    return deps_of_faces(deps, model_file, face_embedder)


@pytest.fixture
def backend(deps: Deps, tmp_path: Path, log: MemoryAuditLog) -> Backend:
    """With the model of whatever generation is asked for."""
    models = LoadedOnDemand(
        deps.index,
        lambda address, _precision: embedder_of(Path(address)),
        requested="",
        precision="auto",
        finder_of=lambda _spec: deps.finder,
    )
    made = backend_of(deps, tmp_path, log=log)
    set_policy(COLLECTION, read_policy(POLICY), made.answers_to, local_caller())
    return replace(made, models=models)


@pytest.fixture
def people(backend: Backend) -> Iterator[Any]:
    """The client of an administrator, with three users of one face each. Clara is nobody."""
    key = create_key(
        KeyRequest(name="a test's", roles=(KeyRole.ADMIN,)), backend.keys, NO_LOG, local_caller()
    )
    app = make_app(backend, aws_key=MASTER)
    with TestClient(app, base_url=ORIGIN, raise_server_exceptions=False) as client:
        made = aws_client(client, key.key.key_id, stated={"X-Pictor-Purpose": "test"})
        add(made, CLARA, "clara")
        for user_id, face in {"anna": ANNA, "berta": BERTA, "twin": BERTA}.items():
            held(made, "create_user", **OF, UserId=user_id)
            held(made, "associate_faces", **OF, UserId=user_id, FaceIds=[add(made, face, user_id)])
        yield made


def add(found: Any, face: DrawnFace, external: str) -> str:
    """The id of a face that is indexed alone."""
    image = {"Bytes": picture([face])}
    [record] = held(found, "index_faces", **OF, **EVERY, Image=image, ExternalImageId=external)["FaceRecords"]
    return str(record["Face"]["FaceId"])


def embed_again(deps: Deps, second: ImageEmbedder, *, missed: str = "") -> CollectionRef:
    """What IndexFaces has kept, in a generation beside the live one. Args: `missed`: a face to leave out."""
    live, target = deps.index.live(COLLECTION), deps.index.open_generation(COLLECTION, second.spec).ref
    left_out = {row.ref.key for row in deps.index.get_rows(live, [f"{missed.replace('-', '')}:00"])}
    keys = {ref.key for ref in deps.store.list_objects(BUCKET, KEPT)} - left_out
    deps = replace(deps, embedder=second)
    assert run_batch(plan_one_batch(deps, *keys, spec=second.spec), deps, LIMITS).rejected == ()
    return target


def promote(target: CollectionRef, backend: Backend) -> CollectionRef:
    """Returns the one that answered before."""
    former = backend.index.live(COLLECTION)
    promote_generation(COLLECTION, target.fingerprint, backend.index, local_caller())
    return former


def faces(found: Any) -> dict[str, str]:
    """Ids by the name that was given with the picture."""
    return {each["ExternalImageId"]: each["FaceId"] for each in held(found, "list_faces", **OF)["Faces"]}


def matches(answer: Any) -> list[str]:
    return [match["User"]["UserId"] for match in answer["UserMatches"]]


def found_by_every_way(found: Any, face_id: str) -> list[list[str]]:
    """The users that a face, a user and a picture of Berta find."""
    image = {"Bytes": picture([BERTA])}
    return [
        matches(held(found, "search_users", **OF, FaceId=face_id)),
        matches(held(found, "search_users", **OF, UserId="berta")),
        matches(held(found, "search_users_by_image", **OF, Image=image)),
    ]


def last_fingerprint(log: MemoryAuditLog) -> str:
    """Of the model whose vectors the last search asked, as its record says."""
    return str(json.loads([*log.entries()][-1].record or b"")["reference_db"]["model_fingerprint"])


def test_users_are_found_under_their_ids_before_meanwhile_and_after(
    people: Any, backend: Backend, deps: Deps, second: ImageEmbedder, log: MemoryAuditLog
) -> None:
    before, first = faces(people), backend.index.live(COLLECTION)
    expected = [["berta", "twin"], ["twin"], ["berta", "twin"]]
    assert found_by_every_way(people, before["berta"]) == expected
    target = embed_again(deps, second)
    assert found_by_every_way(people, before["berta"]) == expected
    assert last_fingerprint(log) == first.fingerprint, "the live one answers"
    former = promote(target, backend)
    assert faces(people) == before
    assert found_by_every_way(people, before["berta"]) == expected
    assert last_fingerprint(log) == second.spec.fingerprint
    drop_generation(
        COLLECTION, former.fingerprint, backend.index, deps.ledger.book, backend.answers_to, local_caller()
    )
    assert found_by_every_way(people, before["berta"]) == expected
    assert faces(people) == before


def test_a_user_whose_only_face_the_new_model_misses_is_not_searched_for(
    people: Any, backend: Backend, deps: Deps, second: ImageEmbedder
) -> None:
    berta = faces(people)["berta"]
    former = promote(embed_again(deps, second, missed=berta), backend)
    assert refusal(people, "search_users", **OF, FaceId=berta)[0] == "InvalidParameterException"
    assert refusal(people, "search_users", **OF, UserId="berta")[0] == "ResourceNotFoundException"
    by_image = held(people, "search_users_by_image", **OF, Image={"Bytes": picture([BERTA])})
    assert matches(by_image) == ["twin"]
    promote(former, backend)
    assert found_by_every_way(people, berta) == [["berta", "twin"], ["twin"], ["berta", "twin"]]

"""A policy of faces: what it is where nothing is said, who may make it looser, and that its floor holds."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.cli.search_options import SearchOptions
from pipeline.cli.search_there import search_there
from pipeline.errors import ArgumentError, PolicyError, TargetError, TransientError
from pipeline.evaluation.calibration import Calibration, CalibrationData, make_calibration
from pipeline.evaluation.error_rates import ModelName
from pipeline.ports import Deps, ImageEmbedder
from pipeline.search.query import Bytes
from pipeline.service import policies
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.create import check_policy
from pipeline.service.policy_body import policy_json, read_policy
from pipeline.service.search import SearchRequest
from pipeline.service.search_terms import check_floor, terms_of
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.types import CollectionPolicy, CollectionRef, Justification, PolicyState
from tests.face_models import picture
from tests.unit import face_world
from tests.unit.api_client import backend_of, client_of
from tests.unit.face_world import ANNA, BERTA, deps_of_faces, index_faces
from tests.unit.fakes import COLLECTION
from tests.unit.test_cli_there import serving

SAID = {"faces": True, "purposes": [{"code": "test", "text": "A test"}], "roles": ["local"]}
BOSS, OTHER = replace(local_caller(), who="boss"), replace(local_caller(), who="other")
PROBE = Bytes(text="probe", body=picture([BERTA]))

model_file, face_embedder = face_world.model_file, face_world.face_embedder


def read(**more: Any) -> CollectionPolicy:
    return read_policy(json.dumps({**SAID, **more}))


@pytest.fixture
def deps(deps: Deps, model_file: Path, face_embedder: ImageEmbedder) -> Deps:
    made = deps_of_faces(deps, model_file, face_embedder)
    index_faces(made, {"both.png": [ANNA, BERTA]})
    return made


@pytest.fixture
def world(deps: Deps, log: MemoryAuditLog) -> Accountability:
    return Accountability(log=log, policies=MemoryPolicyBook(), index=deps.index)


def newest(log: MemoryAuditLog) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(list(log.entries())[-1].record or b"")
    return record


def test_what_is_left_out_is_as_strict_as_faces_want_it() -> None:
    policy = read()
    assert (policy.min_similarity, policy.verifications, policy.retention_days) == (99, 2, 365)
    assert read_policy(json.dumps(policy_json(policy))) == policy
    plain = read(faces=False)
    assert (plain.min_similarity, plain.verifications, plain.retention_days) == (None, 0, None)
    assert read_policy(json.dumps({}), of_faces=True).min_similarity == 99


@pytest.mark.parametrize("missing", ["purposes", "roles"])
def test_nobody_sets_one_that_does_not_say_what_for_and_by_whom(world: Accountability, missing: str) -> None:
    with pytest.raises(ArgumentError, match="needs"):
        policies.set_policy("persons", read(**{missing: []}), world, BOSS)
    assert policies.policy_history("persons", world, BOSS) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_similarity", 98.9),
        ("min_similarity", None),
        ("verifications", 1),
        ("retention_days", 364),
    ],
)
@pytest.mark.parametrize("after_a_plain_one", [False, True])
def test_less_than_that_needs_a_second_person_from_the_first_version_on(
    world: Accountability, deps: Deps, field: str, value: object, after_a_plain_one: bool
) -> None:
    if after_a_plain_one:
        policies.set_policy("persons", read(faces=False, retention_days=365), world, BOSS)
    version = policies.set_policy("persons", read(**{field: value}), world, BOSS)
    assert (version.state, version.loosens) == (PolicyState.PROPOSED, (field,))
    with pytest.raises(TargetError, match="set persons FILE"):
        check_policy("persons", deps.embedder.spec, world.policies)
    policies.decide_policy("persons", version.version, world, OTHER, agree=True)
    check_policy("persons", deps.embedder.spec, world.policies)


def test_a_policy_that_is_of_no_faces_makes_no_collection_of_faces(world: Accountability, deps: Deps) -> None:
    policies.set_policy("persons", read(faces=False), world, BOSS)
    with pytest.raises(TargetError, match=r"its policy \(version 1\) is not"):
        check_policy("persons", deps.embedder.spec, world.policies)


@pytest.mark.parametrize("stricter", [{"min_similarity": 99.9}, {"retention_days": None}])
def test_one_that_is_stricter_is_in_force_at_once(world: Accountability, stricter: Any) -> None:
    assert policies.set_policy("persons", read(**stricter), world, BOSS).state is PolicyState.IN_FORCE


# The floor


def calibration_of(deps: Deps) -> Calibration:
    name = ModelName(name="m", address="m.toml", architecture="a", fingerprint=deps.embedder.spec.fingerprint)
    data = CalibrationData(description="", persons=0, images=0, genuine=0, impostor=0, errors=[])
    knots = [(-1.0, 0.0), (0.4, 50.0), (0.65, 99.0), (1.0, 100.0)]
    return make_calibration(model=name, made_at="now", method="m", knots=knots, data=data)


def request(min_score: float | None) -> SearchRequest:
    return SearchRequest(
        collection=COLLECTION, min_score=min_score, justification=Justification(purpose="test")
    )


def test_its_cosine_is_that_of_the_calibration(
    world: Accountability, deps: Deps, log: MemoryAuditLog
) -> None:
    policies.set_policy(COLLECTION, read(), world, BOSS)
    calibrated = replace(world, calibration=calibration_of(deps))
    assert terms_of([PROBE], request(None), local_caller(), world).request.min_score == pytest.approx(0.98)
    terms = terms_of([PROBE], request(None), local_caller(), calibrated)
    assert (terms.request.min_score, terms.calibration) == (0.65, calibration_of(deps).version)
    assert terms_of([PROBE], request(0.65), local_caller(), calibrated).request.min_score == 0.65
    before = len(list(log.entries()))
    with pytest.raises(PolicyError, match=r"the least score is 0\.6; 0\.65 \(similarity 99 by calibration"):
        terms_of([PROBE], request(0.6), local_caller(), calibrated)
    assert len(list(log.entries())) == before + 1
    record = newest(log)
    assert record["decision"]["reason_code"] == "threshold_below_floor"
    assert record["params"]["threshold"] == 0.6, "what was asked for"
    assert record["details"]["similarity_floor"] == 0.65
    assert record["details"]["calibration"] == calibration_of(deps).version


def test_the_higher_one_of_two_floors_counts(world: Accountability, deps: Deps) -> None:
    policies.set_policy(COLLECTION, read(min_score=0.7), world, BOSS)
    calibrated = replace(world, calibration=calibration_of(deps))
    assert terms_of([PROBE], request(None), local_caller(), calibrated).request.min_score == 0.7
    with pytest.raises(PolicyError, match=r"0\.7 or more is allowed"):
        terms_of([PROBE], request(0.66), local_caller(), calibrated)


def test_another_model_does_not_answer_by_the_floor_of_the_former(world: Accountability, deps: Deps) -> None:
    policies.set_policy(COLLECTION, read(), world, BOSS)
    calibrated = replace(world, calibration=calibration_of(deps))
    terms = terms_of([PROBE], request(None), local_caller(), calibrated)
    check_floor(deps.index.live(COLLECTION), terms, calibrated)
    with pytest.raises(TransientError, match="another model"):
        check_floor(CollectionRef(name=COLLECTION, fingerprint="0" * 64), terms, calibrated)


# Through the doors. That of AWS clients is in test_rekognition.py


@pytest.fixture
def backend(deps: Deps, tmp_path: Path, log: MemoryAuditLog) -> Any:
    made = backend_of(deps, tmp_path, log=log)
    policies.set_policy(COLLECTION, read(), made.answers_to, BOSS)
    return made


@pytest.fixture
def client(backend: Any) -> Iterator[TestClient]:
    with client_of(backend) as made:
        yield made


def test_over_http_a_search_below_it_is_refused_and_recorded(client: TestClient, log: MemoryAuditLog) -> None:
    def ask(**more: str) -> Any:
        return client.post(
            f"/v1/collections/{COLLECTION}/search/image",
            params=more,
            content=PROBE.body,
            headers={"x-pictor-purpose": "test", "content-type": "application/octet-stream"},
        )

    [answer] = ask().json()["answers"]
    assert len(answer["hits"]) == 1
    refused = ask(min_score="0.9")
    assert (refused.status_code, refused.json()["reason"]) == (403, "threshold_below_floor")
    assert "0.98 (similarity 99 without a calibration) or more" in refused.json()["detail"]
    assert newest(log)["params"]["threshold"] == 0.9


def test_the_command_is_refused_and_recorded(backend: Any, tmp_path: Path, log: MemoryAuditLog) -> None:
    probe = tmp_path / "probe.png"
    probe.write_bytes(PROBE.body)
    options = SearchOptions(
        collection=COLLECTION,
        k=1,
        min_score=0.9,
        prefix="",
        bucket="",
        metadata=(),
        where="",
        purpose="test",
    )
    with serving(backend) as here, pytest.raises(PolicyError, match="threshold_below_floor"):
        list(search_there([str(probe)], options, replace(here, is_beside=False), None))
    assert newest(log)["decision"]["reason_code"] == "threshold_below_floor"

"""Changing what a collection may be searched for: who may, who must agree, and that all of it is recorded."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.errors import (
    ArgumentError,
    AuditError,
    ConflictError,
    DeniedError,
    NotFoundError,
    TransientError,
)
from pipeline.ports import Deps
from pipeline.service import policies
from pipeline.service.access import Caller, Permission, local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.policy_body import policy_json, read_policy
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.types import CaseClock, CollectionPolicy, PolicyState, Purpose
from tests.unit.api_client import backend_of, client_of
from tests.unit.commands import Output, pictor
from tests.unit.fakes import COLLECTION

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
STRICT = CollectionPolicy(
    purposes=(Purpose(code="theft", text="Theft"),), roles=("local",), min_score=0.5, retention_days=365
)
LOOSE = replace(STRICT, min_score=0.3)
DECIDED = CaseClock(
    collection="faces", case="AB-1", started_at=NOON, granted=True, authorisation="W 1/26", authority="Court"
)


def person(who: str, *may: Permission) -> Caller:
    return replace(local_caller(), who=who, permissions=frozenset({Permission.READ, *may}))


ANN, BOB = person("ann (k1)", Permission.OPERATE, Permission.APPROVE), person("bob (k2)", Permission.APPROVE)


@pytest.fixture
def world() -> Accountability:
    return Accountability(log=MemoryAuditLog(), policies=MemoryPolicyBook(), index=None, now=lambda: NOON)


def records(world: Accountability) -> list[dict[str, Any]]:
    assert world.log is not None
    return [json.loads(entry.record) for entry in world.log.entries() if entry.record]


def test_the_first_policy_and_a_stricter_one_are_in_force_at_once(world: Accountability) -> None:
    first = policies.set_policy("faces", LOOSE, world, ANN)
    second = policies.set_policy("faces", STRICT, world, ANN)
    assert [version.state for version in (first, second)] == [PolicyState.IN_FORCE] * 2
    assert policies.show_policy("faces", world, BOB) == second
    with pytest.raises(ArgumentError, match="is this already, version 2"):
        policies.set_policy("faces", STRICT, world, ANN)


def test_a_looser_one_waits_for_another_person_and_both_are_recorded(world: Accountability) -> None:
    policies.set_policy("faces", STRICT, world, ANN)
    proposed = policies.set_policy("faces", LOOSE, world, ANN)
    assert (proposed.state, proposed.loosens) == (PolicyState.PROPOSED, ("min_score",))
    assert policies.show_policy("faces", world, ANN).policy == STRICT
    for same in (ANN, replace(BOB, who="ann (k7)")):  # another key of the same person
        with pytest.raises(DeniedError, match="another person"):
            policies.decide_policy("faces", 2, world, same, agree=True)
    policies.decide_policy("faces", 2, world, BOB, agree=True)
    assert policies.show_policy("faces", world, ANN).policy == LOOSE
    changes = records(world)
    assert [(r["kind"], r["actor"]["id"], r["outcome"]) for r in changes] == [
        ("policy_change", "ann (k1)", "in_force"),
        ("policy_change", "ann (k1)", "proposed"),
        ("policy_change", "bob (k2)", "in_force"),
    ]
    assert changes[-1]["details"]["before"]["min_score"] == 0.5
    assert changes[-1]["details"]["after"]["min_score"] == 0.3
    assert changes[-1]["details"]["proposed_by"] == "ann (k1)"


def test_a_refused_version_is_never_in_force(world: Accountability) -> None:
    policies.set_policy("faces", STRICT, world, ANN)
    policies.set_policy("faces", LOOSE, world, ANN)
    policies.decide_policy("faces", 2, world, BOB, agree=False)
    with pytest.raises(ConflictError, match="is refused"):
        policies.decide_policy("faces", 2, world, BOB, agree=True)
    with pytest.raises(NotFoundError, match="no version 3"):
        policies.decide_policy("faces", 3, world, BOB, agree=True)
    assert policies.show_policy("faces", world, ANN).policy == STRICT


CHANGES: list[Callable[[Accountability], object]] = [
    lambda world: policies.set_policy("faces", STRICT, world, ANN),
    lambda world: policies.set_policy("faces", replace(LOOSE, max_k=3), world, ANN),
    lambda world: policies.decide_policy("faces", 2, world, BOB, agree=True),
    lambda world: policies.decide_case(DECIDED, world, BOB),
]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_changes_that_cannot_be_recorded(
    world: Accountability, change: Callable[[Accountability], object]
) -> None:
    policies.set_policy("faces", replace(STRICT, max_k=9), world, ANN)
    policies.set_policy("faces", replace(LOOSE, max_k=9), world, ANN)
    before = policies.policy_history("faces", world, ANN)
    assert isinstance(world.log, MemoryAuditLog)
    world.log.fail_next(TransientError("away"))
    with pytest.raises(AuditError):
        change(world)
    assert policies.policy_history("faces", world, ANN) == before
    assert world.policies.find_clock("faces", "AB-1") is None


@pytest.mark.parametrize(
    "may", [Permission.READ, Permission.SEARCH, Permission.WRITE, Permission.APPROVE, Permission.AUDIT]
)
def test_only_an_admin_sets_a_policy_and_only_an_approver_agrees(
    world: Accountability, may: Permission
) -> None:
    with pytest.raises(DeniedError):
        policies.set_policy("faces", STRICT, world, person("eve (k9)", may))
    policies.set_policy("faces", STRICT, world, ANN)
    policies.set_policy("faces", LOOSE, world, ANN)
    if may is not Permission.APPROVE:
        with pytest.raises(DeniedError):
            policies.decide_policy("faces", 2, world, person("eve (k9)", may), agree=True)
        with pytest.raises(DeniedError):
            policies.decide_case(DECIDED, world, person("eve (k9)", may))


def test_a_decision_on_a_case_is_an_entry(world: Accountability) -> None:
    policies.decide_case(replace(DECIDED, granted=False), world, BOB)
    [record] = records(world)
    assert (record["kind"], record["outcome"], record["case_ref"]) == ("authorisation", "refused", "AB-1")
    assert record["authorisation"]["authority"] == "Court"
    clock = world.policies.find_clock("faces", "AB-1")
    assert clock is not None
    assert (clock.granted, clock.decided_by) == (False, "bob (k2)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "policy"),
        ('{"max_hits": 3}', "max_hits"),
        ('{"min_score": 2}', "min_score"),
        ('{"roles": ["boss"]}', "role 'boss' is none of admin"),
        ('{"verifications": 3}', "verifications"),
        ('{"authorisation": "48h"}', "needs case_required"),
        ('{"purposes": [{"code": "a", "text": "A"}, {"code": "a", "text": "B"}]}', "there twice"),
        ('{"purposes": [{"code": "Any thing", "text": "A"}]}', "purposes.0.code"),
    ],
)
def test_what_is_wrong_with_a_policy_is_said(text: str, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        read_policy(text)


def test_a_policy_is_read_as_it_is_shown() -> None:
    for policy in (STRICT, CollectionPolicy(), replace(STRICT, keys=("k",), case_patterns=("@#",), max_k=1)):
        assert read_policy(json.dumps(policy_json(policy))) == policy


def test_policies_over_http(deps: Deps, tmp_path: Path) -> None:
    client: TestClient = client_of(backend_of(deps, tmp_path))
    place = f"/v1/collections/{COLLECTION}/policy"
    assert client.get(place).json()["code"] == "not_found"
    assert client.put(place, json=policy_json(STRICT)).json()["state"] == "in_force"
    proposed = client.put(place, json=policy_json(LOOSE)).json()
    assert (proposed["state"], proposed["loosens"]) == ("proposed", ["min_score"])
    own = client.post(f"{place}/versions/2/approve")
    assert (own.status_code, own.json()["code"]) == (403, "denied")
    versions = client.get(f"{place}/versions").json()["versions"]
    assert [version["version"] for version in versions] == [2, 1]
    assert client.get(place).json()["policy"] == policy_json(STRICT)
    refused = client.post(
        f"/v1/collections/{COLLECTION}/search", json={"query": {"id": "0" * 32}, "k": 3}
    ).json()
    assert (refused["code"], refused["reason"]) == ("refused_by_policy", "purpose_missing")
    case = {"case": "AB-1", "granted": True, "authorisation": "W 1/26", "authority": "Court"}
    assert client.post(f"/v1/collections/{COLLECTION}/authorisations", json=case).json()["granted"] is True


def test_policies_by_command(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    file = home / "policy.json"
    file.write_text(json.dumps(policy_json(STRICT)))
    assert pictor(monkeypatch, "policies", "set", "faces", str(file)) == 0
    assert "version 1 of the policy of faces is in_force" in capsys.readouterr().err
    file.write_text(json.dumps(policy_json(LOOSE)))
    assert pictor(monkeypatch, "policies", "set", "faces", str(file)) == 0
    assert "it is looser in min_score" in capsys.readouterr().err
    assert pictor(monkeypatch, "policies", "approve", "faces", "2") == 2
    assert "another person" in capsys.readouterr().err
    assert pictor(monkeypatch, "policies", "show", "faces") == 0
    assert json.loads(capsys.readouterr().out)["policy"] == policy_json(STRICT)
    assert pictor(monkeypatch, "policies", "history", "faces", "--json") == 0
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert states == ["proposed", "in_force"]
    case = ("policies", "authorise", "faces", "AB-1", "--reference", "W 1/26", "--authority", "Court")
    assert pictor(monkeypatch, *case) == 0

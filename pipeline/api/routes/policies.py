"""Policies of collections: what they may be searched for, by whom and how."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path

from pipeline.api.backend import Asks, Ports
from pipeline.api.policy_bodies import CaseDecision, CaseState, PolicyVersionBody, PolicyVersions
from pipeline.service import policies
from pipeline.service.policy_body import PolicyBody, version_json
from pipeline.types import CaseClock, PolicyVersion

router = APIRouter(prefix="/v1/collections/{collection}", tags=["policies"])

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("/policy")
def show_policy(collection: str, ports: Ports, caller: Asks) -> PolicyVersionBody:
    """The policy in force."""
    return _body(policies.show_policy(collection, ports.answers_to, caller))


@router.put("/policy")
def set_policy(collection: str, body: PolicyBody, ports: Ports, caller: Asks) -> PolicyVersionBody:
    """Write the next version. A looser one than the present is `proposed` until an approver agrees."""
    return _body(policies.set_policy(collection, body.policy(), ports.answers_to, caller))


@router.get("/policy/versions")
def list_versions(collection: str, ports: Ports, caller: Asks) -> PolicyVersions:
    """All versions, newest first."""
    found = policies.policy_history(collection, ports.answers_to, caller)
    return PolicyVersions(versions=[_body(version) for version in found])


@router.post("/policy/versions/{number}/approve")
def approve_version(collection: str, number: Number, ports: Ports, caller: Asks) -> PolicyVersionBody:
    """Put a proposed version in force. Nobody agrees to their own."""
    return _body(policies.decide_policy(collection, number, ports.answers_to, caller, agree=True))


@router.post("/policy/versions/{number}/refuse")
def refuse_version(collection: str, number: Number, ports: Ports, caller: Asks) -> PolicyVersionBody:
    """Refuse a proposed version."""
    return _body(policies.decide_policy(collection, number, ports.answers_to, caller, agree=False))


@router.post("/authorisations")
def decide_case(collection: str, body: CaseDecision, ports: Ports, caller: Asks) -> CaseState:
    """Enter what an authority decided of a case. It cannot be changed afterwards."""
    decided = CaseClock(
        collection=collection,
        case=body.case,
        started_at=datetime.now(UTC),
        granted=body.granted,
        authorisation=body.authorisation,
        authority=body.authority,
    )
    clock = policies.decide_case(decided, ports.answers_to, caller)
    return CaseState(case=clock.case, granted=bool(clock.granted), started_at=clock.started_at.isoformat())


def _body(version: PolicyVersion) -> PolicyVersionBody:
    shown: dict[str, Any] = version_json(version)
    return PolicyVersionBody.model_validate(shown)

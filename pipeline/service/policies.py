"""Show, set and agree to the policies of collections. Each change is recorded before it takes effect."""

from dataclasses import replace

from pipeline.errors import ArgumentError, ConflictError, DeniedError, NotFoundError
from pipeline.names import check_collection_name
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.accountability import Accountability
from pipeline.service.audit_entries import record_of
from pipeline.service.face_policy import check_face_policy
from pipeline.service.policy_body import policy_json
from pipeline.service.policy_change import loosened
from pipeline.types import (
    AuditKind,
    Authorisation,
    AuthorisationRule,
    CaseClock,
    CollectionPolicy,
    PolicyState,
    PolicyVersion,
    ReferenceDb,
    name_without_key,
)
from pipeline.types.audit import Json


def show_policy(collection: str, answers_to: Accountability, caller: Caller) -> PolicyVersion:
    """The policy in force. Raises NotFoundError: there is none."""
    require(caller, Permission.READ)
    require_names(caller, collection=collection)
    version = answers_to.policies.in_force(collection)
    if version is None:
        raise NotFoundError(f"collection {collection!r} has no policy; all its searches are allowed")
    return version


def policy_history(collection: str, answers_to: Accountability, caller: Caller) -> list[PolicyVersion]:
    """All versions, newest first."""
    require(caller, Permission.READ)
    require_names(caller, collection=collection)
    return answers_to.policies.history(collection)


def set_policy(
    collection: str, policy: CollectionPolicy, answers_to: Accountability, caller: Caller
) -> PolicyVersion:
    """Write the next version. It is in force at once unless it is looser than the present one.

    Raises:
        ArgumentError: no collection can have this name, the policy is the one in force, or it is of faces and
            does not say what for or by whom.
        ConflictError: somebody else changes it at the same time.
        AuditError: the change could not be recorded. Nothing is changed.
    """
    require(caller, Permission.OPERATE)
    require_names(caller, collection=check_collection_name(collection))
    check_face_policy(policy)
    history = answers_to.policies.history(collection)
    present = next((v for v in history if v.state is PolicyState.IN_FORCE), None)
    if present is not None and present.policy == policy:
        raise ArgumentError(f"the policy of {collection!r} is this already, version {present.version}")
    loosens = loosened(present.policy if present else None, policy)
    version = PolicyVersion(
        collection=collection,
        version=history[0].version + 1 if history else 1,
        policy=policy,
        state=PolicyState.PROPOSED if loosens else PolicyState.IN_FORCE,
        replaces=present.version if present else 0,
        loosens=loosens,
        proposed_by=caller.who,
        proposed_at=answers_to.now(),
    )
    _record_change(version, present, answers_to, caller)
    answers_to.policies.add(version)
    return version


def decide_policy(
    collection: str, number: int, answers_to: Accountability, caller: Caller, *, agree: bool
) -> PolicyVersion:
    """Put a proposed version in force, or refuse it.

    Raises:
        DeniedError: the caller is no approver, or is who proposed it.
        NotFoundError, ConflictError: there is no such version, or it is not proposed.
        AuditError: the decision could not be recorded. Nothing is changed.
    """
    require(caller, Permission.APPROVE)
    require_names(caller, collection=collection)
    history = answers_to.policies.history(collection)
    version = next((v for v in history if v.version == number), None)
    if version is None:
        raise NotFoundError(f"collection {collection!r} has no version {number} of a policy")
    if version.state is not PolicyState.PROPOSED:
        raise ConflictError(f"version {number} of the policy of {collection!r} is {version.state}")
    if name_without_key(caller.who) == name_without_key(version.proposed_by):
        raise DeniedError(f"{caller.who!r} has proposed version {number}; another person decides over it")
    present = next((v for v in history if v.state is PolicyState.IN_FORCE), None)
    state = PolicyState.IN_FORCE if agree else PolicyState.REFUSED
    decided = replace(version, state=state, decided_by=caller.who, decided_at=answers_to.now())
    _record_change(decided, present, answers_to, caller)
    return answers_to.policies.decide(
        collection, number, state, decided_by=caller.who, at=decided.decided_at or answers_to.now()
    )


def decide_case(decided: CaseClock, answers_to: Accountability, caller: Caller) -> CaseClock:
    """Enter what an authority decided of a case: it opens the collection to the case, or closes it.

    Args:
        decided: without `decided_by` and `decided_at`.

    Raises:
        ArgumentError: case, reference or authority is missing.
        ConflictError: something else was entered before.
        AuditError: it could not be recorded. Nothing is changed.
    """
    require(caller, Permission.APPROVE)
    require_names(caller, collection=check_collection_name(decided.collection))
    if not (decided.case and decided.authorisation and decided.authority):
        raise ArgumentError("the case, the reference of the decision and the authority are expected")
    decided = replace(decided, decided_by=caller.who, decided_at=answers_to.now())
    record = record_of(
        AuditKind.AUTHORISATION,
        caller,
        case_ref=decided.case,
        reference_db=ReferenceDb(collection=decided.collection),
        authorisation=Authorisation(
            ref=decided.authorisation,
            authority=decided.authority,
            type=AuthorisationRule.WITHIN_48H.value,
            granted_at=decided.decided_at if decided.granted else None,
        ),
        outcome="granted" if decided.granted else "refused",
    )
    answers_to.record([record])
    return answers_to.policies.decide_case(decided)


def _record_change(
    version: PolicyVersion, present: PolicyVersion | None, answers_to: Accountability, caller: Caller
) -> None:
    details: dict[str, Json] = {
        "version": version.version,
        "replaces": version.replaces,
        "loosens": list(version.loosens),
        "proposed_by": version.proposed_by,
        "before": policy_json(present.policy) if present else None,
        "after": policy_json(version.policy),
    }
    record = record_of(
        AuditKind.POLICY_CHANGE,
        caller,
        reference_db=ReferenceDb(collection=version.collection),
        outcome=version.state.value,
        details=details,
    )
    answers_to.record([record])

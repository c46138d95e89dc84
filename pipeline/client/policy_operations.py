"""Operations on the policies of collections: what they may be searched for, by whom and how."""

from pipeline.client.calls import JSON_HEADERS, Call, Fields, json_body, quoted, read_json
from pipeline.client.results import CaseState, PolicyVersion, read_all, reader_of


def show_policy(collection: str) -> Call[PolicyVersion]:
    """The policy in force. Raises NotFoundError: there is none."""
    return Call(method="GET", path=_policy_path(collection), read=reader_of(PolicyVersion))


def list_policies(collection: str) -> Call[list[PolicyVersion]]:
    """All versions of the policy, newest first."""
    return Call(
        method="GET",
        path=f"{_policy_path(collection)}/versions",
        read=lambda body: list(read_all(PolicyVersion, read_json(body).get("versions"))),
    )


def set_policy(collection: str, policy: Fields) -> Call[PolicyVersion]:
    """Write the next version, for a key with the role `admin`. A looser one waits for an approver.

    Args:
        policy: as docs/reference/policies.md has it. What is left out is not allowed, or not asked for.

    Raises:
        ArgumentError: it is no policy, or the one in force.
        ConflictError: somebody else changes it at the same time.
    """
    # Not repeatable: the second time it is the policy in force already.
    return Call(
        method="PUT",
        path=_policy_path(collection),
        headers=JSON_HEADERS,
        body=json_body(policy),
        read=reader_of(PolicyVersion),
        is_repeatable=False,
    )


def approve_policy(collection: str, version: int) -> Call[PolicyVersion]:
    """Put a proposed version in force, for a key with the role `approver`. Raises ConflictError."""
    return _decide(collection, version, "approve")


def refuse_policy(collection: str, version: int) -> Call[PolicyVersion]:
    """Refuse a proposed version, for a key with the role `approver`. Raises ConflictError."""
    return _decide(collection, version, "refuse")


def decide_case(
    collection: str, case: str, *, granted: bool, authorisation: str, authority: str
) -> Call[CaseState]:
    """Enter what an authority decided of a case. It cannot be changed afterwards.

    Args:
        authorisation: the reference of the decision.
        authority: whose decision it is.

    Raises:
        ConflictError: another decision was entered before.
    """
    fields = {"case": case, "granted": granted, "authorisation": authorisation, "authority": authority}
    return Call(
        method="POST",
        path=f"/v1/collections/{quoted(collection)}/authorisations",
        headers=JSON_HEADERS,
        body=json_body(fields),
        read=reader_of(CaseState),
        is_repeatable=False,
    )


def _decide(collection: str, version: int, decision: str) -> Call[PolicyVersion]:
    return Call(
        method="POST",
        path=f"{_policy_path(collection)}/versions/{version:d}/{decision}",
        read=reader_of(PolicyVersion),
        is_repeatable=False,
    )


def _policy_path(collection: str) -> str:
    return f"/v1/collections/{quoted(collection)}/policy"

"""The bodies of policies and of decisions on cases on the wire."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from pipeline.api.bodies import MAX_STATED_CHARS, Strict
from pipeline.service.policy_body import PolicyBody


class PolicyVersionBody(BaseModel):
    """`proposed` waits for an approver who is another person. `loosens` says why."""

    collection: str
    version: int
    state: Literal["proposed", "in_force", "replaced", "refused"]
    replaces: Annotated[int, Field(description="The version in force when this one was proposed, or 0")]
    loosens: list[str]
    proposed_by: str
    proposed_at: str
    decided_by: str
    decided_at: str | None
    policy: PolicyBody


class PolicyVersions(BaseModel):
    versions: list[PolicyVersionBody]


class CaseDecision(Strict):
    """What an authority decided of a case."""

    case: Annotated[str, Field(min_length=1, max_length=MAX_STATED_CHARS, examples=["AB-1234"])]
    granted: bool
    authorisation: Annotated[
        str, Field(min_length=1, max_length=MAX_STATED_CHARS, description="Reference of the decision")
    ]
    authority: Annotated[str, Field(min_length=1, max_length=MAX_STATED_CHARS, examples=["District court"])]


class CaseState(BaseModel):
    case: str
    granted: bool
    started_at: Annotated[str, Field(description="Of the first search for the case, or of this decision")]

"""A policy as JSON: what a file or a request may say, and how a policy is shown."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from pipeline.bounds import MAX_HITS
from pipeline.errors import ArgumentError
from pipeline.service.case_pattern import MAX_PATTERN_CHARS
from pipeline.service.face_policy import FACE_DEFAULTS
from pipeline.types import (
    BROKER_ROLE,
    LOCAL_ROLE,
    AuthorisationRule,
    CollectionPolicy,
    KeyRole,
    PolicyVersion,
    Purpose,
)

ROLES = (*(role.value for role in KeyRole), LOCAL_ROLE, BROKER_ROLE)
MAX_FAULTS_SHOWN = 5
_FACE_DEFAULTS = ", ".join(f"`{name}` {value:g}" for name, value in FACE_DEFAULTS.items())


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class PurposeBody(_Strict):
    code: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$", examples=["vehicle_theft"])]
    text: Annotated[str, Field(min_length=1, max_length=200, examples=["Theft of vehicles, §242 StGB"])]


class PolicyBody(_Strict):
    """What is left out is not allowed, or not asked for."""

    purposes: Annotated[list[PurposeBody], Field(max_length=100)] = []
    keys: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=100)]],
        Field(max_length=1000, description="Ids of keys that may search"),
    ] = []
    roles: Annotated[
        list[str], Field(max_length=len(ROLES), description=f"That may search: {', '.join(ROLES)}")
    ] = []
    case_required: bool = False
    case_patterns: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_CHARS)]],
        Field(max_length=20, description="`#` is a digit, `@` a letter A to Z", examples=[["@@-####"]]),
    ] = []
    min_score: Annotated[float | None, Field(ge=-1, le=1, description="Floor of the threshold")] = None
    min_similarity: Annotated[
        float | None,
        Field(ge=0, le=100, description="Floor of the threshold, by the calibration of the model"),
    ] = None
    max_k: Annotated[int | None, Field(ge=1, le=MAX_HITS)] = None
    authorisation: AuthorisationRule = AuthorisationRule.NONE
    retention_days: Annotated[
        int | None, Field(ge=1, le=36_500, description="Of the records of searches. Left out: for ever")
    ] = None
    verifications: Annotated[
        int, Field(ge=0, le=2, description="Persons who look at each hit before it counts")
    ] = 0
    faces: Annotated[
        bool, Field(description=f"For a collection of faces. What is left out is then {_FACE_DEFAULTS}")
    ] = False

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        is_of_faces = isinstance(given, Mapping) and given.get("faces") is True
        return {**FACE_DEFAULTS, **given} if is_of_faces else given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        codes = [purpose.code for purpose in self.purposes]
        if len(set(codes)) < len(codes):
            raise ValueError("a purpose is there twice")
        if unknown := sorted(set(self.roles) - set(ROLES)):
            raise ValueError(f"role {unknown[0][:40]!r} is none of {', '.join(ROLES)}")
        if self.authorisation is AuthorisationRule.WITHIN_48H and not self.case_required:
            raise ValueError("authorisation 48h needs case_required, since the clock is that of a case")
        return self

    def policy(self) -> CollectionPolicy:
        return CollectionPolicy(
            purposes=tuple(Purpose(code=purpose.code, text=purpose.text) for purpose in self.purposes),
            keys=tuple(self.keys),
            roles=tuple(self.roles),
            case_required=self.case_required,
            case_patterns=tuple(self.case_patterns),
            min_score=self.min_score,
            min_similarity=self.min_similarity,
            max_k=self.max_k,
            authorisation=self.authorisation,
            retention_days=self.retention_days,
            verifications=self.verifications,
            faces=self.faces,
        )


def read_policy(text: str | bytes, *, of_faces: bool = False) -> CollectionPolicy:
    """Args: `of_faces`: what `faces` is where the text does not say it.

    Raises:
        ArgumentError: no JSON, or not of a policy; the wrong fields are named.
    """
    try:
        given = from_json(text)
        if of_faces and isinstance(given, dict):
            given = {"faces": True, **given}
        return PolicyBody.model_validate(given).policy()
    except ValidationError as err:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'policy'}: {e['msg']}" for e in err.errors()]
        raise ArgumentError(f"policy: {'; '.join(faults[:MAX_FAULTS_SHOWN])}") from None
    except ValueError:
        raise ArgumentError("policy: this is not JSON") from None


def policy_json(policy: CollectionPolicy) -> dict[str, Any]:
    """What `read_policy` reads."""
    return {
        "purposes": [{"code": purpose.code, "text": purpose.text} for purpose in policy.purposes],
        "keys": list(policy.keys),
        "roles": list(policy.roles),
        "case_required": policy.case_required,
        "case_patterns": list(policy.case_patterns),
        "min_score": policy.min_score,
        "min_similarity": policy.min_similarity,
        "max_k": policy.max_k,
        "authorisation": policy.authorisation.value,
        "retention_days": policy.retention_days,
        "verifications": policy.verifications,
        "faces": policy.faces,
    }


def version_json(version: PolicyVersion) -> dict[str, Any]:
    return {
        "collection": version.collection,
        "version": version.version,
        "state": version.state.value,
        "replaces": version.replaces,
        "loosens": list(version.loosens),
        "proposed_by": version.proposed_by,
        "proposed_at": version.proposed_at.isoformat(),
        "decided_by": version.decided_by,
        "decided_at": version.decided_at.isoformat() if version.decided_at else None,
        "policy": policy_json(version.policy),
    }

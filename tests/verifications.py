"""Searches whose matches persons verify, and what they decide, for tests."""

from datetime import UTC, datetime
from typing import Any

from pipeline.types import (
    Actor,
    AuditKind,
    AuditRecord,
    Candidate,
    MatchDecision,
    ReferenceDb,
    Verifier,
)
from tests.audit_records import search_by

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
CONFIRM, REJECT, CANNOT_TELL = MatchDecision


def search_to_verify(actor: str = "ann (k1)", *, persons: int = 2, hits: int = 1, **rest: Any) -> AuditRecord:
    candidates = tuple(
        Candidate(id=f"{rank:032x}", score=0.9 - rank / 100, rank=rank) for rank in range(1, hits + 1)
    )
    usual: dict[str, Any] = {"candidates": candidates, "details": {"verifications": persons}}
    return search_by(actor, **(usual | rest))


def decision_on(
    search: AuditRecord, person: str, decision: MatchDecision = CONFIRM, *, rank: int = 1, **rest: Any
) -> AuditRecord:
    return AuditRecord(
        kind=AuditKind.VERIFICATION,
        actor=Actor(id=person, role="verifier"),
        started_at=NOON,
        ended_at=NOON,
        reference_db=ReferenceDb(collection=search.reference_db.collection),
        refers_to=(search.record_id,),
        candidates=tuple(candidate for candidate in search.candidates if candidate.rank == rank),
        verifiers=(Verifier(id=person, time=NOON, decision=decision.value, note="as I see it"),),
        **rest,
    )

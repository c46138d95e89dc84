"""An entry of the log as reports read it. Kinds and fields that come later do not stop a report."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.audit.verifications import MatchPlace, decision_in, matches_in
from pipeline.types import Match, PersonDecision
from pipeline.types.audit import UNKNOWN, AuditEntry, AuditKind, AuditOutcome

WITHOUT_ID = ("upload", "vector", "text")  # sources of a probe; any other is the id of a stored image


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """`kind` may be one that is not in `AuditKind` yet. `candidates` are ids and ranks of the hits.

    `opens` are the matches that persons verify after this search. `decides` is what one says of a match.
    """

    index: int
    record_id: str
    kind: str
    tenant: str
    actor: str
    started_at: datetime
    ended_at: datetime
    roles: str = ""
    auth_method: str = ""
    agency: str = ""
    on_behalf_of: str = ""
    purpose: str = ""
    offence: str = ""
    case: str = ""
    legal_basis: str = ""
    authorisation: str = "none"  # its type
    granted: bool = False
    expires_at: datetime | None = None
    probe: str = ""  # the digest of what was searched with, or else the id of the stored image
    probe_source: str = ""
    collection: str = ""
    model_fingerprint: str = ""
    row_count: int | None = None
    is_refused: bool = False
    reason: str = ""
    candidates: tuple[tuple[str, int], ...] = ()
    outcome: str = ""
    recipients: tuple[str, ...] = ()
    retention_class: str = ""
    refers_to: tuple[str, ...] = ()
    software_version: str = ""
    opens: tuple[Match, ...] = ()
    decides: tuple[MatchPlace, PersonDecision] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_search(self) -> bool:
        return self.kind == AuditKind.SEARCH


def act_in(entry: AuditEntry) -> Act | None:
    """None for an entry whose record was erased."""
    if entry.record is None:
        return None
    record: Mapping[str, Any] = json.loads(entry.record)
    actor, probe = record["actor"], record["probe"]
    reference, decision, authorisation = record["reference_db"], record["decision"], record["authorisation"]
    return Act(
        index=entry.index,
        record_id=record["record_id"],
        kind=record["kind"],
        tenant=record["tenant"],
        actor=actor["id"],
        started_at=datetime.fromisoformat(record["started_at"]),
        ended_at=datetime.fromisoformat(record["ended_at"]),
        roles=actor["role"],
        auth_method=actor["auth_method"],
        agency=record["agency"],
        on_behalf_of=record["on_behalf_of"],
        purpose=record["purpose_code"],
        offence=record["offence_code"],
        case=record["case_ref"],
        legal_basis=record["legal_basis"],
        authorisation=authorisation["type"],
        granted=authorisation["granted_at"] is not None,
        expires_at=_time(authorisation["expires_at"]),
        probe=_named(probe),
        probe_source=probe["source"],
        collection=reference["collection"],
        model_fingerprint=reference["model_fingerprint"],
        row_count=reference["row_count"],
        is_refused=decision["outcome"] == AuditOutcome.REFUSED,
        reason=decision["reason_code"],
        candidates=tuple((hit["id"], hit["rank"]) for hit in record["candidates"]),
        outcome=record["outcome"],
        recipients=tuple(record["recipients"]),
        retention_class=record["retention_class"],
        refers_to=tuple(record["refers_to"]),
        software_version=record["software_version"],
        opens=tuple(matches_in(entry.index, record)),
        decides=decision_in(record),
        details=record["details"],
    )


def _named(probe: Mapping[str, Any]) -> str:
    if probe["sha256"] not in ("", UNKNOWN):
        return str(probe["sha256"])
    return "" if probe["source"] in WITHOUT_ID else str(probe["source"])


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

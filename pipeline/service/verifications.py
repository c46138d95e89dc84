"""The matches that persons verify: which there are, one of them, and what a person decides."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ArgumentError, ConflictError, DeniedError, NotFoundError
from pipeline.names import shown
from pipeline.ports import VerificationBook
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.accountability import Accountability
from pipeline.service.audit_entries import record_of
from pipeline.service.kept_probes import KeptProbes
from pipeline.types import (
    AuditKind,
    AuditRecord,
    Candidate,
    FaceOutline,
    Match,
    MatchDecision,
    PersonDecision,
    Probe,
    ReferenceDb,
    Verifier,
    name_without_key,
    person_key,
)

MAX_REASON_CHARS = 1000
_MATCH_ID = re.compile(r"([0-9a-f]{32})-([1-9][0-9]{0,5})")


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationPorts:
    book: VerificationBook
    answers_to: Accountability
    probes: KeptProbes


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownMatch:
    """A match as one person may see it.

    `own` is what they decided. `decisions` are those of all, once it is closed, and empty before.
    `may_decide` is false of a closed one, of their own search, and where they have decided.
    """

    match: Match
    may_decide: bool
    own: PersonDecision | None
    decisions: tuple[PersonDecision, ...]
    purpose: str
    case: str
    probe: Probe
    probe_object: tuple[str, str] | None  # bucket and key, if it was an object of a store
    probe_face: FaceOutline | None  # of what was searched with


def person_of(caller: Caller) -> str:
    """Who decides: the person that is named, or else the holder of the key."""
    return caller.on_behalf_of or name_without_key(caller.who)


def list_matches(
    ports: VerificationPorts,
    caller: Caller,
    *,
    collection: str = "",
    limit: int,
    after: tuple[int, int] = (-1, 0),
) -> list[Match]:
    """What the caller may decide, the oldest search first.

    Args:
        collection: "" for all that the caller may reach.
        after: `Match.opened` and `Match.rank` of the last one of the page before.
    """
    require(caller, Permission.VERIFY)
    if collection:
        require_names(caller, collection=collection)
    names = [collection] if collection else ports.book.open_collections()
    return ports.book.queue(collections=names, person=person_of(caller), limit=limit, after=after)


def show_match(match_id: str, ports: VerificationPorts, caller: Caller) -> ShownMatch:
    """Raises NotFoundError: there is none, or its search was erased."""
    require(caller, Permission.VERIFY)
    match = _find(match_id, ports.book)
    record = _search_record(match, ports.answers_to)
    person = person_of(caller)
    own = match.decision_of(person)
    place = record["details"].get("probe_object")
    return ShownMatch(
        match=match,
        may_decide=not (match.is_closed or own or match.was_searched_by(person)),
        own=own,
        decisions=match.decisions if match.is_closed else (),
        purpose=record["purpose_code"],
        case=record["case_ref"],
        probe=Probe(sha256=record["probe"]["sha256"], source=record["probe"]["source"]),
        probe_object=(place[0], place[1]) if place else None,
        probe_face=_face_of(record),
    )


def _face_of(record: Mapping[str, Any]) -> FaceOutline | None:
    share = record["probe"]["face_box"]
    if share is None:
        return None
    left, top, width, height = share
    return FaceOutline(share=(left, top, width, height), roll=record["details"].get("face_roll", 0.0))


def decide_match(
    match_id: str, decision: MatchDecision, reason: str, ports: VerificationPorts, caller: Caller
) -> ShownMatch:
    """Enter what a person decides. Safe to run twice with the same decision and reason.

    Raises:
        ArgumentError: no reason.
        DeniedError: the caller may not verify, or made the search.
        NotFoundError: there is no such match.
        ConflictError: it is closed, or this person has decided something else.
        AuditError: it could not be recorded. Nothing is decided.
    """
    require(caller, Permission.VERIFY)
    reason, person, match = _checked_reason(reason), person_of(caller), _find(match_id, ports.book)
    _check_not_own(match, person)
    made = match.decision_of(person)
    if made is None:
        _check_open(match)
        _check_recording(ports.answers_to)
        ports.answers_to.record([_record(match, decision, reason, person, ports.answers_to, caller)])
        match = _find(match_id, ports.book)
        made = match.decision_of(person)
    if made is None:
        raise _uncounted(match)
    if (made.decision, made.reason) != (decision, reason):
        raise ConflictError(f"match {match_id}: {person!r} has decided already, and a decision stays")
    ports.probes.forget_if_closed(ports.book.of_search(match.search_id))
    return show_match(match_id, ports, caller)


def states_of_search(search_id: str, ports: VerificationPorts, caller: Caller) -> list[Match]:
    """The matches of a search, for whoever searched, verifies or audits.

    Raises:
        DeniedError: the caller is none of these.
        NotFoundError: there is no such search whose matches are verified.
    """
    matches = ports.book.of_search(search_id)
    if not matches:
        raise NotFoundError(f"no search {shown(search_id)} whose matches persons verify")
    looks_on = {Permission.VERIFY, Permission.AUDIT} & caller.permissions
    if not looks_on and not matches[0].was_searched_by(person_of(caller)):
        raise DeniedError(f"{caller.who!r} did not make search {search_id}, and may neither verify nor audit")
    return matches


def _find(match_id: str, book: VerificationBook) -> Match:
    named = _MATCH_ID.fullmatch(match_id)
    match = book.find(named[1], int(named[2])) if named else None
    if match is None:
        raise NotFoundError(
            f"no match {shown(match_id)} to verify; the receipt of a search and a rank name one"
        )
    return match


def _search_record(match: Match, answers_to: Accountability) -> Mapping[str, Any]:
    entry = answers_to.log.get(match.search_id) if answers_to.log else None
    if entry is None or entry.record is None:
        raise NotFoundError(f"match {match.match_id}: the record of its search is not there any more")
    found: Mapping[str, Any] = json.loads(entry.record)
    return found


def _checked_reason(reason: str) -> str:
    reason = reason.strip()
    if not 1 <= len(reason) <= MAX_REASON_CHARS or not reason.isprintable():
        raise ArgumentError(f"reason: 1 to {MAX_REASON_CHARS} printable characters are expected")
    return reason


def _check_not_own(match: Match, person: str) -> None:
    if match.was_searched_by(person):
        raise DeniedError(
            f"match {match.match_id}: {person!r} made this search; other persons verify what it found"
        )


def _check_open(match: Match) -> None:
    if match.is_closed:
        raise ConflictError(f"match {match.match_id} is closed: it is {match.state.value}")


def _check_recording(answers_to: Accountability) -> None:
    if not answers_to.is_recording:
        raise ConflictError("recording is off, and a decision is an entry of the log; unset PICTOR_AUDIT")


def _uncounted(match: Match) -> ConflictError:
    why = f"it is {match.state.value}" if match.is_closed else "an earlier decision of yours was erased"
    return ConflictError(f"match {match.match_id}: your decision came too late and does not count; {why}")


def _record(
    match: Match,
    decision: MatchDecision,
    reason: str,
    person: str,
    answers_to: Accountability,
    caller: Caller,
) -> AuditRecord:
    search, at = _search_record(match, answers_to), answers_to.now()
    return record_of(
        AuditKind.VERIFICATION,
        caller,
        record_id=_record_id(match, person),
        started_at=at,
        ended_at=at,
        purpose_code=search["purpose_code"],
        offence_code=search["offence_code"],
        case_ref=search["case_ref"],
        probe=Probe(sha256=search["probe"]["sha256"], source=search["probe"]["source"]),
        reference_db=ReferenceDb(
            collection=match.collection,
            index_generation=search["reference_db"]["index_generation"],
            model_fingerprint=search["reference_db"]["model_fingerprint"],
        ),
        candidates=(Candidate(id=match.candidate_id, score=match.score, rank=match.rank),),
        outcome=decision.value,
        verifiers=(Verifier(id=person, time=at, decision=decision.value, note=reason),),
        retention_class=search["retention_class"],
        refers_to=(match.search_id,),
    )


def _record_id(match: Match, person: str) -> str:
    """The log takes an id once, so that a person who decides twice at once has one entry."""
    named = f"{match.match_id}\0{person_key(person)}"
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:32]

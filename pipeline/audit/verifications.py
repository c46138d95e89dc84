"""From entries of the log to the matches that persons verify: the one place that says what entries mean."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.types import (
    AuditKind,
    AuditRecord,
    Match,
    MatchDecision,
    PersonDecision,
    name_without_key,
    person_key,
    tenant_beginning,
)

MatchPlace = tuple[str, int]  # id of the search's record, and rank
VERIFICATIONS = "verifications"  # of the details of a search: persons whom its policy asks for


def concerns_matches(record: AuditRecord) -> bool:
    """Whether an entry opens matches or decides one."""
    opens = record.kind is AuditKind.SEARCH and record.candidates and record.details.get(VERIFICATIONS)
    return bool(opens) or record.kind is AuditKind.VERIFICATION


def matches_in(index: int, record: Mapping[str, Any]) -> list[Match]:
    """The matches that the entry of a search opens. Args: `record` is its JSON."""
    needed = record["details"].get(VERIFICATIONS)
    if record["kind"] != AuditKind.SEARCH or not (isinstance(needed, int) and needed):
        return []
    collection = tenant_beginning(record["tenant"]) + record["reference_db"]["collection"]
    opened_at = datetime.fromisoformat(record["started_at"])
    searched_by = person_key(name_without_key(record["actor"]["id"]))
    searched_for = person_key(record["on_behalf_of"])
    return [
        Match(
            search_id=record["record_id"],
            rank=candidate["rank"],
            candidate_id=candidate["id"],
            score=float(candidate["score"]),
            collection=collection,
            opened=index,
            opened_at=opened_at,
            persons_needed=needed,
            searched_by=searched_by,
            searched_for=searched_for,
        )
        for candidate in record["candidates"]
    ]


def decision_in(record: Mapping[str, Any]) -> tuple[MatchPlace, PersonDecision] | None:
    """Which match a verification is about, and what it says. None for other entries."""
    if record["kind"] != AuditKind.VERIFICATION:
        return None
    match record:
        case {
            "refers_to": [str(search_id)],
            "candidates": [{"rank": int(rank)}],
            "verifiers": [{"id": str(person), "decision": str(said), "note": str(reason), "time": str(at)}],
        } if said in set(MatchDecision):
            made = PersonDecision(
                person=person,
                decision=MatchDecision(said),
                reason=reason,
                at=datetime.fromisoformat(at),
                record_id=record["record_id"],
            )
            return (search_id, rank), made
        case _:  # of another program: it decides nothing
            return None


@dataclass(kw_only=True)
class MatchesOfEntries:
    """What entries give. Take them in their order."""

    matches: dict[MatchPlace, Match] = field(default_factory=dict)

    def take(self, index: int, record: Mapping[str, Any]) -> None:
        self.open(matches_in(index, record))
        if (found := decision_in(record)) is not None:
            self.decide(*found)

    def open(self, matches: Iterable[Match]) -> None:
        self.matches |= {(match.search_id, match.rank): match for match in matches}

    def decide(self, place: MatchPlace, made: PersonDecision) -> None:
        """Nothing where no entry that was taken opens the match."""
        if place in self.matches:
            self.matches[place] = self.matches[place].with_decision(made)

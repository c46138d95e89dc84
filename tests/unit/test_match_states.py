"""What decisions of persons come to. The table is written out, and not computed as the code does."""

from dataclasses import replace

import pytest

from pipeline.audit.verifications import matches_in
from pipeline.types import Match, MatchDecision, MatchState, PersonDecision, person_key
from tests.verifications import CANNOT_TELL, CONFIRM, NOON, REJECT, search_to_verify

TO_VERIFY, IN_VERIFICATION, CONFIRMED, REJECTED, DISPUTED = MatchState
OPEN, CLOSED = False, True
TABLE: list[tuple[int, list[MatchDecision], MatchState, bool]] = [
    (1, [], TO_VERIFY, OPEN),
    (1, [CONFIRM], CONFIRMED, CLOSED),
    (1, [REJECT], REJECTED, CLOSED),
    (1, [CANNOT_TELL], DISPUTED, OPEN),
    (1, [CANNOT_TELL, CONFIRM], CONFIRMED, CLOSED),
    (1, [CANNOT_TELL, REJECT], REJECTED, CLOSED),
    (1, [CANNOT_TELL, CANNOT_TELL], DISPUTED, CLOSED),
    (2, [], TO_VERIFY, OPEN),
    (2, [CONFIRM], IN_VERIFICATION, OPEN),
    (2, [REJECT], IN_VERIFICATION, OPEN),
    (2, [CANNOT_TELL], IN_VERIFICATION, OPEN),
    (2, [CONFIRM, CONFIRM], CONFIRMED, CLOSED),
    (2, [REJECT, REJECT], REJECTED, CLOSED),
    (2, [CANNOT_TELL, CANNOT_TELL], DISPUTED, OPEN),
    (2, [CONFIRM, REJECT], DISPUTED, OPEN),
    (2, [REJECT, CONFIRM], DISPUTED, OPEN),
    (2, [CONFIRM, CANNOT_TELL], DISPUTED, OPEN),
    (2, [CONFIRM, REJECT, CONFIRM], CONFIRMED, CLOSED),
    (2, [CONFIRM, REJECT, REJECT], REJECTED, CLOSED),
    (2, [CONFIRM, REJECT, CANNOT_TELL], DISPUTED, CLOSED),
    (2, [CANNOT_TELL, CANNOT_TELL, CONFIRM], DISPUTED, CLOSED),
    (2, [CONFIRM, CANNOT_TELL, CONFIRM], CONFIRMED, CLOSED),
    (2, [CANNOT_TELL, REJECT, REJECT], REJECTED, CLOSED),
]


def match_of(persons: int) -> Match:
    search = search_to_verify("Ann Doe (k1)", persons=persons, on_behalf_of="Insp. Roe")
    record = {
        "kind": "search",
        "record_id": search.record_id,
        "tenant": "acme",
        "on_behalf_of": search.on_behalf_of,
        "actor": {"id": search.actor.id},
        "reference_db": {"collection": "faces"},
        "started_at": NOON.isoformat(),
        "candidates": [{"id": "c", "score": 0.9, "rank": 1}],
        "details": search.details,
    }
    [match] = matches_in(7, record)
    return match


def said_by(person: str, decision: MatchDecision = CONFIRM) -> PersonDecision:
    return PersonDecision(person=person, decision=decision, reason="r", at=NOON, record_id=f"of {person}")


def after(match: Match, decisions: list[MatchDecision]) -> Match:
    for number, decision in enumerate(decisions):
        match = match.with_decision(said_by(f"p{number}", decision))
    return match


@pytest.mark.parametrize(("persons", "decisions", "state", "closed"), TABLE)
def test_what_decisions_come_to(
    persons: int, decisions: list[MatchDecision], state: MatchState, closed: bool
) -> None:
    match = after(match_of(persons), decisions)
    assert len(match.decisions) == len(decisions)
    assert (match.state, match.is_closed) == (state, closed)
    if closed:
        assert match.with_decision(said_by("late", CONFIRM)) is match


@pytest.mark.parametrize("name", ["p0", "P0", " p0 ", "\uff50\uff10"])
def test_one_person_decides_once_however_they_are_spelled(name: str) -> None:
    match = after(match_of(2), [CONFIRM])
    assert match.with_decision(said_by(name, REJECT)) is match
    assert match.with_decision(said_by("p1")).state is CONFIRMED


@pytest.mark.parametrize("name", ["Ann Doe", "ann  doe", "INSP. ROE"])
def test_whoever_searched_decides_nothing(name: str) -> None:
    match = match_of(2)
    assert match.was_searched_by(name)
    assert match.with_decision(said_by(name)) is match


def test_a_match_has_the_stored_name_of_its_collection() -> None:
    match = match_of(2)
    assert (match.collection, match.opened) == ("tenant_acme_faces", 7)
    assert (match.searched_by, match.searched_for) == ("ann doe", "insp. roe")


def test_nobody_is_no_person() -> None:
    """A search on nobody's behalf does not keep those out whose names are not known either."""
    match = replace(match_of(2), searched_for=person_key(""))
    assert not match.was_searched_by("somebody")

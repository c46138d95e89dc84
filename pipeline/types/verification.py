"""What persons decide of the matches of a search, and what comes of it."""

import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class MatchDecision(StrEnum):
    """What one person says of one match."""

    CONFIRM = "confirm"
    REJECT = "reject"
    CANNOT_TELL = "cannot_tell"


class MatchState(StrEnum):
    """What the decisions come to. Closed: a new state is a change of the public contract."""

    TO_VERIFY = "to_verify"  # nobody has decided
    IN_VERIFICATION = "in_verification"  # fewer have decided than are needed
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    DISPUTED = "disputed"  # as many have decided as are needed, and they do not agree


def person_key(name: str) -> str:
    """What two spellings of one person's name have in common."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def name_without_key(who: str) -> str:
    """`ann (k1)` is `ann`: somebody with two keys is one person."""
    return who.rpartition(" (")[0] or who


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonDecision:
    """`record_id` is of the entry that says so, which is where the decision is kept."""

    person: str
    decision: MatchDecision
    reason: str
    at: datetime
    record_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """One hit of a search whose policy wants persons to look at it.

    `collection` has its stored name. `opened` is the place of the search's entry in the log. `searched_by`
    and `searched_for`, which may be empty, are keys of persons: whoever asked, and on whose behalf.
    `decisions` are those that count, in the order of the log.
    """

    search_id: str
    rank: int  # from 1
    candidate_id: str
    score: float
    collection: str
    opened: int
    opened_at: datetime
    persons_needed: int
    searched_by: str
    searched_for: str
    decisions: tuple[PersonDecision, ...] = ()

    @property
    def match_id(self) -> str:
        return f"{self.search_id}-{self.rank}"

    @property
    def state(self) -> MatchState:
        said = [decision.decision for decision in self.decisions]
        if said.count(MatchDecision.CONFIRM) >= self.persons_needed:
            return MatchState.CONFIRMED
        if said.count(MatchDecision.REJECT) >= self.persons_needed:
            return MatchState.REJECTED
        if len(said) >= self.persons_needed:
            return MatchState.DISPUTED
        return MatchState.IN_VERIFICATION if said else MatchState.TO_VERIFY

    @property
    def is_closed(self) -> bool:
        """As many agree as are needed, or one more than that has decided.

        Whoever could ask on until two agree would be told what they want to hear.
        """
        is_agreed = self.state in (MatchState.CONFIRMED, MatchState.REJECTED)
        return is_agreed or len(self.decisions) > self.persons_needed

    def decision_of(self, person: str) -> PersonDecision | None:
        mine = person_key(person)
        return next((made for made in self.decisions if person_key(made.person) == mine), None)

    def was_searched_by(self, person: str) -> bool:
        return person_key(person) in (self.searched_by, self.searched_for)

    def with_decision(self, made: PersonDecision) -> "Match":
        """The same match where the decision does not count.

        It is closed, the person has decided before, or it is their own search.
        """
        if self.is_closed or self.decision_of(made.person) or self.was_searched_by(made.person):
            return self
        return replace(self, decisions=(*self.decisions, made))

"""What became of the searches whose hits persons verify."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.audit.verifications import MatchesOfEntries
from pipeline.reports.acts import Act
from pipeline.types import Match, MatchState


class Verified(StrEnum):
    """What became of a search."""

    NOT_ASKED = "not_asked"  # its policy wants nobody to look
    CONFIRMED = "confirmed"  # at least one of its hits: it led on
    REJECTED = "rejected"  # all of its hits
    DISPUTED = "disputed"  # none is confirmed, and on one of them persons could not agree to the end
    OPEN = "open"


@dataclass(kw_only=True)
class SearchMatches:
    """Takes acts, in the order of the log. Which decisions count is said in `audit.verifications` alone."""

    _given: MatchesOfEntries = field(default_factory=MatchesOfEntries)

    def take(self, act: Act, *, in_period: bool) -> None:
        """Searches outside the period are not kept. Decisions count whenever they came."""
        if in_period:
            self._given.open(act.opens)
        if act.decides is not None:
            self._given.decide(*act.decides)

    def of(self, opened: Iterable[Match]) -> Verified:
        """Args: `opened` are the matches of one search that was taken, as it opened them."""
        found = [self._given.matches[match.search_id, match.rank] for match in opened]
        states = {match.state for match in found}
        if not states:
            return Verified.NOT_ASKED
        if MatchState.CONFIRMED in states:
            return Verified.CONFIRMED
        if not all(match.is_closed for match in found):
            return Verified.OPEN
        return Verified.REJECTED if states == {MatchState.REJECTED} else Verified.DISPUTED

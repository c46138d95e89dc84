"""Whether the matches that persons verify are what the entries of the log give."""

from collections.abc import Mapping
from typing import Any

from pipeline.audit.faults import Faults
from pipeline.audit.verifications import MatchesOfEntries
from pipeline.ports import VerificationBook
from pipeline.types import Match

REMEDY = "`pictor verifications rebuild` makes the table anew, of the entries"


class VerificationCheck:
    """Takes the entries in their order. Args: `book` is not looked at where it is None."""

    def __init__(self, book: VerificationBook | None, faults: Faults) -> None:
        self._book, self._faults = book, faults
        self._given = MatchesOfEntries()

    def take(self, index: int, record: Mapping[str, Any]) -> None:
        if self._book is not None:
            self._given.take(index, record)

    def finish(self) -> None:
        if self._book is None:
            return
        left, queued = dict(self._given.matches), self._book.open_places()
        for kept in self._book.matches():
            given = left.pop((kept.search_id, kept.rank), None)
            if given is None:
                self._say(kept, "is in the table, and no entry opens it")
            elif kept != given:
                self._compare(kept, given)
            elif given.is_closed is ((kept.search_id, kept.rank) in queued):
                self._say(
                    given, "is closed, and in the queue" if given.is_closed else "is open, and in no queue"
                )
        for missing in left.values():
            self._say(missing, "is not in the table, and an entry opens it")

    def _compare(self, kept: Match, given: Match) -> None:
        unsaid = set(kept.decisions) - set(given.decisions)
        for made in unsaid:
            self._say(given, f"has a decision of {made.person} that no entry gives")
        if not unsaid:
            self._say(given, "differs in the table from what the entries give")

    def _say(self, match: Match, words: str) -> None:
        self._faults.add(match.opened, f"match {match.match_id} {words}; {REMEDY}")

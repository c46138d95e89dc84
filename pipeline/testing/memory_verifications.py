"""VerificationBook in memory: the fake of tests. It keeps nothing, and asks the entries each time."""

import json
from collections.abc import Iterator, Sequence

from pipeline.audit.verifications import MatchesOfEntries
from pipeline.ports import AuditLog
from pipeline.types import Match


class MemoryVerificationBook:
    """Safe to share between threads, as the log is."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def find(self, search_id: str, rank: int) -> Match | None:
        return next((match for match in self.of_search(search_id) if match.rank == rank), None)

    def of_search(self, search_id: str) -> list[Match]:
        return [match for match in self.matches() if match.search_id == search_id]

    def queue(
        self, *, collections: Sequence[str], person: str, limit: int, after: tuple[int, int] = (-1, 0)
    ) -> list[Match]:
        found = [
            match
            for match in self.matches()
            if not match.is_closed
            and match.collection in collections
            and not match.was_searched_by(person)
            and match.decision_of(person) is None
            and (match.opened, match.rank) > after
        ]
        return found[:limit]

    def open_collections(self) -> list[str]:
        return sorted({match.collection for match in self.matches() if not match.is_closed})

    def open_places(self) -> set[tuple[str, int]]:
        return {(match.search_id, match.rank) for match in self.matches() if not match.is_closed}

    def matches(self) -> Iterator[Match]:
        found = MatchesOfEntries()
        for entry in self._log.entries():
            if entry.record is not None:
                found.take(entry.index, json.loads(entry.record))
        return iter(sorted(found.matches.values(), key=lambda match: (match.opened, match.rank)))

"""The matches to verify of the caller's collections."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.ports import VerificationBook
from pipeline.service.confined.scope import Scope
from pipeline.types import Match


class ConfinedVerifications:
    """Implements `ports.VerificationBook`. Collections bear the names that the caller knows."""

    def __init__(self, book: VerificationBook, scope: Scope) -> None:
        self._book = book
        self._scope = scope

    def find(self, search_id: str, rank: int) -> Match | None:
        return next(self._seen([self._book.find(search_id, rank)]), None)

    def of_search(self, search_id: str) -> list[Match]:
        return list(self._seen(self._book.of_search(search_id)))

    def queue(
        self, *, collections: Sequence[str], person: str, limit: int, after: tuple[int, int] = (-1, 0)
    ) -> list[Match]:
        stored = [self._scope.stored(name) for name in collections]
        found = self._book.queue(collections=stored, person=person, limit=limit, after=after)
        return list(self._seen(found))

    def open_collections(self) -> list[str]:
        names = map(self._scope.seen, self._book.open_collections())
        return [name for name in names if name is not None]

    def open_places(self) -> set[tuple[str, int]]:
        return self._book.open_places() & {(match.search_id, match.rank) for match in self.matches()}

    def matches(self) -> Iterator[Match]:
        return self._seen(self._book.matches())

    def _seen(self, matches: Iterator[Match] | Sequence[Match | None]) -> Iterator[Match]:
        for match in matches:
            name = self._scope.seen(match.collection) if match else None
            if match is not None and name is not None:
                yield replace(match, collection=name)

"""The matches that persons verify, as the entries of the log have them."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from pipeline.types.verification import Match


class VerificationBook(Protocol):
    """Safe to share between threads and processes.

    It is a view of the log and is never written to: `AuditLog.append` opens a match with the entry of its
    search, and changes it with the entry of a decision, in the transaction of that entry. An erasure takes
    out what the erased entries said.
    """

    def find(self, search_id: str, rank: int) -> Match | None: ...

    def of_search(self, search_id: str) -> list[Match]:
        """By rank."""
        ...

    def queue(
        self, *, collections: Sequence[str], person: str, limit: int, after: tuple[int, int] = (-1, 0)
    ) -> list[Match]:
        """Open matches that a person may still decide, the oldest search first, by rank.

        Args:
            collections: stored names.
            person: their own searches, and what they have decided, are left out.
            after: place of a search's entry, and a rank.
        """
        ...

    def open_collections(self) -> list[str]:
        """Stored names of those that have an open match."""
        ...

    def open_places(self) -> set[tuple[str, int]]:
        """Id of the search and rank of each match that is kept as open, and so is in a queue."""
        ...

    def matches(self) -> Iterator[Match]:
        """All, by the place of the search's entry and by rank; streamed."""
        ...

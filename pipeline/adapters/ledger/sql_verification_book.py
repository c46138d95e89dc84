"""The matches that persons verify, in the ledger's database."""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.verification_rows import select_match, with_decisions
from pipeline.adapters.ledger.verification_schema import is_open, verification, verification_decision
from pipeline.types import Match, person_key

PAGE_ROWS = 1000
_PLACE = (verification.c.opened, verification.c.rank)


class SqlVerificationBook(InTransactions):
    """Implements `ports.VerificationBook`."""

    def find(self, search_id: str, rank: int) -> Match | None:
        return self._read(lambda connection: select_match(connection, search_id, rank))

    def of_search(self, search_id: str) -> list[Match]:
        mine = sa.select(verification).where(verification.c.search_id == search_id)
        return self._page(mine.order_by(verification.c.rank))

    def queue(
        self, *, collections: Sequence[str], person: str, limit: int, after: tuple[int, int] = (-1, 0)
    ) -> list[Match]:
        me = person_key(person)
        decided = sa.exists().where(
            verification_decision.c.search_id == verification.c.search_id,
            verification_decision.c.rank == verification.c.rank,
            verification_decision.c.person == me,
        )
        mine = sa.select(verification).where(
            is_open,
            verification.c.collection.in_(collections),
            verification.c.searched_by != me,
            verification.c.searched_for != me,
            ~decided,
            sa.tuple_(*_PLACE) > after,
        )
        return self._page(mine.order_by(*_PLACE).limit(limit))

    def open_collections(self) -> list[str]:
        names = sa.select(verification.c.collection).where(is_open).distinct()
        ordered = names.order_by(verification.c.collection)
        return self._read(lambda connection: list(connection.scalars(ordered)))

    def open_places(self) -> set[tuple[str, int]]:
        places = sa.select(verification.c.search_id, verification.c.rank).where(is_open)
        return self._read(lambda connection: {(row[0], row[1]) for row in connection.execute(places)})

    def matches(self) -> Iterator[Match]:
        """A transaction for each page."""
        place = (-1, 0)
        every = sa.select(verification).order_by(*_PLACE).limit(PAGE_ROWS)
        while page := self._page(every.where(sa.tuple_(*_PLACE) > place)):
            yield from page
            place = (page[-1].opened, page[-1].rank)

    def _page(self, found: sa.Select[tuple[object, ...]]) -> list[Match]:
        return self._read(lambda connection: with_decisions(connection, list(connection.execute(found))))

"""The version book: two tables of the ledger's database. Each method is a transaction, of lists each page."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import Transactions
from pipeline.adapters.ledger.precedence import (
    begin_removal,
    claim_versions,
    end_removal,
    last_sequence,
    lose_rows,
    next_sequence,
    sequence_at,
)
from pipeline.adapters.ledger.schema import KEY_HEAD_CHARS, batch, book, is_in_index, key_head, version
from pipeline.adapters.ledger.statements import insert_into
from pipeline.adapters.ledger.versions import (
    bucket_id_of,
    entry_of,
    insert_unknown,
    select_versions,
    upsert_versions,
)
from pipeline.errors import PictorError
from pipeline.types import VersionEntry

PAGE_ENTRIES = 1000


class SqlVersionBook:
    """Implements `ports.VersionBook`. `SqlLedger` makes it and lends its transactions."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def list_versions(
        self, generation: str, bucket: str, prefix: str = "", *, start_after: str | None = None
    ) -> Iterator[VersionEntry]:
        mine = sa.and_(version.c.generation == generation, version.c.bucket_id == bucket_id_of(bucket))
        behind = _behind(start_after) if start_after and start_after >= prefix else _at_or_behind(prefix)
        while page := self._page(sa.and_(mine, behind), key_head, version.c.key):
            for entry in page:
                if entry.ref.key.startswith(prefix):
                    yield entry
                elif entry.ref.key > prefix:
                    return
            behind = _behind(page[-1].ref.key)

    def list_by_id(self, generation: str) -> Iterator[VersionEntry]:
        mine, last = version.c.generation == generation, ""
        while rows := self._rows(sa.and_(mine, version.c.image_id > last), version.c.image_id):
            for row in rows:
                yield _checked(row)
            last = rows[-1].image_id

    def write(self, generation: str, entries: Sequence[VersionEntry]) -> None:
        self._transactions.write(lambda connection: upsert_versions(connection, generation, entries))

    def lose_rows(self, generation: str, sequences: Mapping[str, int] | None = None) -> None:
        self._transactions.write(lambda connection: lose_rows(connection, generation, sequences))

    def forget_generation(self, generation: str) -> None:
        def forget(connection: sa.Connection) -> None:
            connection.execute(version.delete().where(version.c.generation == generation))
            # The row stays: numbers go on from where they are.
            connection.execute(book.update().where(book.c.generation == generation).values(filled_to=""))

        self._transactions.write(forget)

    def holds_rows(self, generation: str) -> bool:
        query = sa.select(sa.exists().where(version.c.generation == generation, is_in_index))
        return bool(self._transactions.read(lambda connection: connection.scalar(query)))

    def find_copies(self, generation: str, etags: Sequence[str]) -> list[str]:
        mine = sa.and_(
            version.c.generation == generation, is_in_index, version.c.etag.in_(sorted(set(etags)))
        )
        query = sa.select(sa.func.min(version.c.image_id)).where(mine).group_by(version.c.etag)
        return list(self._transactions.read(lambda connection: connection.scalars(query).all()))

    def filled_to(self, generation: str) -> str | None:
        query = sa.select(book.c.filled_to).where(book.c.generation == generation)
        row = self._transactions.read(lambda connection: connection.execute(query).one_or_none())
        return "" if row is None else row.filled_to

    def record_fill(self, generation: str, entries: Sequence[VersionEntry], *, filled_to: str | None) -> None:
        def record(connection: sa.Connection) -> None:
            insert_unknown(connection, generation, entries)
            values = {"generation": generation, "filled_to": filled_to}
            connection.execute(
                insert_into(connection, book)
                .values(values)
                .on_conflict_do_update(index_elements=[book.c.generation], set_={"filled_to": filled_to})
            )

        self._transactions.write(record)

    # Who decides over an object

    def find(self, generation: str, image_ids: Sequence[str]) -> list[VersionEntry]:
        return self._transactions.read(lambda connection: select_versions(connection, generation, image_ids))

    def overtaken(
        self, generation: str, image_ids: Sequence[str], *, job_id: str, path: str
    ) -> list[VersionEntry]:
        of_batch = sa.select(batch.c.sequence).where(batch.c.job_id == job_id, batch.c.path == path)
        is_newer = version.c.sequence > sa.func.coalesce(of_batch.scalar_subquery(), 0)
        return self._transactions.read(
            lambda connection: select_versions(connection, generation, image_ids, is_newer)
        )

    def last_sequence(self, generation: str) -> int:
        return self._transactions.read(lambda connection: last_sequence(connection, generation))

    def sequence_at(self, generation: str, at: datetime) -> int:
        return self._transactions.write(lambda connection: sequence_at(connection, generation, at))

    def claim(self, generation: str, entries: Sequence[VersionEntry]) -> Mapping[str, int]:
        def claim(connection: sa.Connection) -> Mapping[str, int]:
            sequence = next_sequence(connection, generation)
            return dict.fromkeys(claim_versions(connection, generation, entries, sequence), sequence)

        return self._transactions.write(claim)

    def begin_removal(self, generation: str, image_ids: Sequence[str], sequence: int) -> list[VersionEntry]:
        def begin(connection: sa.Connection) -> list[VersionEntry]:
            begin_removal(connection, generation, image_ids, sequence)
            entries = select_versions(connection, generation, image_ids)
            return [entry for entry in entries if entry.sequence > sequence]

        return self._transactions.write(begin)

    def end_removal(self, generation: str, image_ids: Sequence[str], sequence: int) -> None:
        self._transactions.write(
            lambda connection: end_removal(connection, generation, image_ids, sequence, keep=True)
        )

    def _page(self, where: sa.ColumnElement[bool], *order: sa.ColumnElement[str]) -> list[VersionEntry]:
        return [entry_of(row) for row in self._rows(where, *order)]

    def _rows(self, where: sa.ColumnElement[bool], *order: sa.ColumnElement[str]) -> Sequence[sa.Row[Any]]:
        query = sa.select(version).where(where).order_by(*order).limit(PAGE_ENTRIES)
        return self._transactions.read(lambda connection: connection.execute(query).all())


def _checked(row: sa.Row[Any]) -> VersionEntry:
    """An id that is not that of its key would put two lists out of order that are compared by id."""
    entry = entry_of(row)
    if entry.ref.image_id != row.image_id:
        raise PictorError(
            f"version book: the entry {row.image_id} names {entry.ref.key!r}, "
            f"whose id is {entry.ref.image_id}; "
            "restore the ledger from a backup, or delete this row of the table version"
        )
    return entry


def _at_or_behind(key: str) -> sa.ColumnElement[bool]:
    head = key[:KEY_HEAD_CHARS]
    return sa.and_(key_head >= head, sa.or_(key_head > head, version.c.key >= key))


def _behind(key: str) -> sa.ColumnElement[bool]:
    # The index serves the first condition. The second tells apart keys with the same beginning.
    head = key[:KEY_HEAD_CHARS]
    return sa.and_(key_head >= head, sa.or_(key_head > head, version.c.key > key))

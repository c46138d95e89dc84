"""The transparency log in SQLite or PostgreSQL, beside the ledger's other tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

import sqlalchemy as sa
from sqlalchemy import exc

from pipeline.adapters.ledger.audit_anew import begin_anew
from pipeline.adapters.ledger.audit_rows import (
    ENTRY,
    NewEntry,
    entry_of,
    select_by_ids,
    select_found,
    with_references,
)
from pipeline.adapters.ledger.audit_schema import audit_entry, audit_tile, audit_tree
from pipeline.adapters.ledger.audit_tree_rows import (
    read_commitments,
    read_tile,
    select_tree,
    tree_nodes,
)
from pipeline.adapters.ledger.audit_writer import AuditWriter, NewEntries, OtherWayError, prove_entry
from pipeline.adapters.ledger.engine import InTransactions, Transactions, forget_copies
from pipeline.adapters.ledger.migrate import open_migrated
from pipeline.adapters.ledger.prepared import DriverTransactions
from pipeline.adapters.ledger.sql_verification_book import SqlVerificationBook
from pipeline.adapters.ledger.verification_rows import make_all_anew
from pipeline.audit.checkpoint import parse_checkpoint
from pipeline.audit.group_commit import Close, GroupCommit
from pipeline.audit.hashes import EMPTY_ROOT
from pipeline.audit.note import SigningKey
from pipeline.audit.records import canonical_json, commit, new_salt, no_such_record
from pipeline.audit.rollback import Guard, no_guard
from pipeline.types.audit import AuditEntry, AuditKind, AuditQuery, AuditReceipt, AuditRecord, TreeHead

MAX_GROUP_CALLS = 64  # of one commit; each is a search or a few entries
TURN_WAIT_S = 20.0  # the database gives up on a lock after 30 s
PAGE_ROWS = 1000


def open_audit_log(url: str, key: SigningKey, *, ca_file: str = "", guard: Guard = no_guard) -> "SqlAuditLog":
    """Open the log in the ledger at an SQLAlchemy URL, as `open_ledger` does.

    Args:
        guard: see `AuditWriter`.
    """
    return SqlAuditLog(open_migrated(url, ca_file=ca_file, for_log=True), key, guard)


class SqlAuditLog(InTransactions):
    """Implements `ports.AuditLog`. Share one between all threads of a process."""

    def __init__(self, engine: sa.Engine, key: SigningKey, guard: Guard = no_guard) -> None:
        transactions = Transactions(engine)
        super().__init__(transactions)
        self._engine, self.key, self.vkey = engine, key, str(key.verifier)
        self.verifications = SqlVerificationBook(transactions)
        self.on_commit: Callable[[], None] = _do_nothing  # set once, before the log is shared
        self.agency = self.legal_basis = ""  # of records that name none; set once, as `on_commit` is
        self._writer = AuditWriter(key, guard, engine.dialect.name)
        self._short = DriverTransactions(engine)
        self._group: GroupCommit[Sequence[NewEntry], list[AuditReceipt]] = GroupCommit(
            self._commit, max_items=MAX_GROUP_CALLS, wait_s=TURN_WAIT_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._short.close()
        self._engine.dispose()

    def append(self, records: Sequence[AuditRecord]) -> list[AuditReceipt]:
        return self.append_entries([_new_entry(self._completed(record)) for record in records])

    def append_entries(self, new: Sequence[NewEntry]) -> list[AuditReceipt]:
        """The same for records that are canonical JSON already."""
        return self._group.submit(new) if new else []

    def erase(self, record_ids: Sequence[str], erasure: AuditRecord) -> AuditReceipt:
        new = [_new_entry(self._completed(erasure))]
        (receipt,) = self._group.alone(lambda: self._write_entries(lambda: new, record_ids))
        forget_copies(self._engine)
        return receipt

    def rebuild_verifications(self) -> None:
        """Make the tables of verifications anew, of the entries. Safe to run twice, and beside others."""
        self._group.alone(lambda: self._write(make_all_anew))
        forget_copies(self._engine)

    def begin_anew(self, first: AuditRecord) -> AuditReceipt:
        """Empty the log, and begin one under this key with this entry. Not for a log that is whole."""
        new = [_new_entry(self._completed(first))]
        (receipt,) = self._group.alone(lambda: self._begin_anew(new))
        forget_copies(self._engine)
        return receipt

    def head(self) -> TreeHead:
        tree = self._read(select_tree)
        if tree is None:
            return TreeHead(size=0, root=EMPTY_ROOT, checkpoint="")
        return TreeHead(size=tree.size, root=tree.root, checkpoint=tree.checkpoint)

    def get(self, record_id: str) -> AuditEntry:
        return self._read(lambda connection: _entry(connection, record_id))

    def prove(self, record_id: str) -> AuditReceipt:
        return self._read(lambda connection: _prove(connection, record_id))

    def entries(self, *, start: int = 0, end: int | None = None) -> Iterator[AuditEntry]:
        """A transaction for each page: an entry never changes but by erasure."""
        while page := self._read(partial(_page, start=start, end=end)):
            yield from page
            start = page[-1].index + 1

    def find(self, query: AuditQuery, *, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        found = select_found(query).order_by(audit_entry.c.entry_index.desc()).limit(limit)
        if before is not None:
            found = found.where(audit_entry.c.entry_index < before)
        return self._read(lambda connection: list(map(entry_of, connection.execute(found))))

    def tile(self, level: int, number: int, size: int) -> bytes:
        """The hashes that a tile has in the tree of `size` leaves; fewer when rows are missing."""
        return self._read(lambda connection: read_tile(connection, level, number, size))

    def commitments(self, start: int, end: int) -> list[bytes]:
        return self._read(lambda connection: read_commitments(connection, start, end))

    def full_tiles(self) -> list[tuple[int, int]]:
        """Level and number of every tile that is kept as full."""
        places = sa.select(audit_tile.c.level, audit_tile.c.number)
        ordered = places.order_by(audit_tile.c.level, audit_tile.c.number)
        return self._read(lambda connection: [(row.level, row.number) for row in connection.execute(ordered)])

    def cosigned(self) -> str:
        """The newest checkpoint that witnesses have signed, too; or ""."""
        tree = self._read(select_tree)
        return tree.cosigned if tree else ""

    def set_cosigned(self, checkpoint: str) -> None:
        """Keep a checkpoint with the signatures of witnesses, unless a newer one is there."""
        self._write(lambda connection: _set_cosigned(connection, checkpoint))

    def _completed(self, record: AuditRecord) -> AuditRecord:
        basis = self.legal_basis if record.kind is AuditKind.SEARCH else ""
        if not (self.agency or basis):
            return record
        return replace(record, agency=record.agency or self.agency, legal_basis=record.legal_basis or basis)

    def _commit(self, close: Close[Sequence[NewEntry]]) -> list[list[AuditReceipt]]:
        def new() -> list[NewEntry]:
            return [entry for call in close() for entry in call]

        receipts = iter(self._write_entries(new))
        return [[next(receipts) for _ in call] for call in close()]

    def _write_entries(self, new: NewEntries, erased: Sequence[str] = ()) -> list[AuditReceipt]:
        self._writer.ask_guard()
        receipts = None if erased else self._go_on(new)
        if receipts is None:
            receipts = self._write(lambda connection: self._writer.write(connection, new, erased))
        self._writer.settle()
        self.on_commit()
        return receipts

    def _begin_anew(self, new: Sequence[NewEntry]) -> list[AuditReceipt]:
        self._writer.ask_guard()
        receipts = self._write(lambda connection: begin_anew(connection, self._writer, new))
        self._writer.settle()
        self.on_commit()
        return receipts

    def _go_on(self, new: NewEntries) -> list[AuditReceipt] | None:
        """The short way. None where it does not lead there: the usual way then tells what is wrong.

        It also finds the entries by their ids where they were committed, and the answer was lost.
        """
        if not self._writer.can_go_on:
            return None
        try:
            with self._short.begin() as cursor:
                return self._writer.go_on(cursor, new)
        except (OtherWayError, exc.SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error):
            return None


def _do_nothing() -> None: ...


def _new_entry(record: AuditRecord) -> NewEntry:
    canonical, salt = canonical_json(record), new_salt()
    return NewEntry(record=record, canonical=canonical, salt=salt, commitment=commit(salt, canonical))


def _entry(connection: sa.Connection, record_id: str) -> AuditEntry:
    found = select_by_ids(connection, [record_id])
    if record_id not in found:
        raise no_such_record(record_id)
    return found[record_id]


def _page(connection: sa.Connection, *, start: int, end: int | None) -> list[AuditEntry]:
    place = audit_entry.c.entry_index
    rows = sa.select(*ENTRY).where(place >= start).order_by(place).limit(PAGE_ROWS)
    if end is not None:
        rows = rows.where(place < end)
    return with_references(connection, connection.execute(rows).all())


def _prove(connection: sa.Connection, record_id: str) -> AuditReceipt:
    entry, tree = _entry(connection, record_id), select_tree(connection)
    assert tree is not None  # it has an entry
    checkpoint, size = tree.checkpoint, tree.size
    if tree.cosigned and (witnessed := parse_checkpoint(tree.cosigned).size) > entry.index:
        checkpoint, size = tree.cosigned, witnessed
    return prove_entry(entry, entry.index, tree_nodes(connection, size).node, size, checkpoint)


def _set_cosigned(connection: sa.Connection, checkpoint: str) -> None:
    tree = select_tree(connection)
    if tree is None:
        return
    present = parse_checkpoint(tree.cosigned).size if tree.cosigned else 0
    if present < parse_checkpoint(checkpoint).size:
        connection.execute(audit_tree.update().values(cosigned=checkpoint))

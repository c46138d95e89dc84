"""The one writer of the transparency log: entries, tiles and the signed state, in one transaction.

A checkpoint leaves this process after the commit, and not before. So none is ever known whose entries could
be lost, whenever the process or the machine dies, and no two are known that contradict each other.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa

from pipeline.adapters.ledger.audit_rows import (
    ERASED,
    NewEntry,
    entry_values,
    reference_values,
    select_by_ids,
)
from pipeline.adapters.ledger.audit_schema import (
    audit_entry,
    audit_reference,
    audit_tile,
    audit_tree,
)
from pipeline.adapters.ledger.audit_tree_rows import (
    ADD_TILES,
    LOCK_IN,
    lock_tree,
    read_edge,
    select_tree,
    tile_rows,
    tree_nodes,
)
from pipeline.adapters.ledger.prepared import Prepared, PreparedInsert
from pipeline.adapters.ledger.statements import slices
from pipeline.adapters.ledger.verification_rows import make_anew_without, take_entry
from pipeline.audit.checkpoint import NamedCheckpoint, open_checkpoint, sign_checkpoint
from pipeline.audit.edge import Edge, FullTile
from pipeline.audit.hashes import EMPTY_ROOT, leaf_hash
from pipeline.audit.note import SigningKey
from pipeline.audit.proof_file import write_proof
from pipeline.audit.records import check_erasure, no_such_record
from pipeline.audit.rollback import Guard, check_not_behind
from pipeline.audit.tree import NodeReader, inclusion_proof
from pipeline.audit.verifications import concerns_matches
from pipeline.errors import ConfigError, FatalError
from pipeline.types.audit import AuditEntry, AuditReceipt, AuditRecord

# Made once: every search runs them.
ADD_ENTRIES = audit_entry.insert()
SET_TREE = audit_tree.update().values(
    size=sa.bindparam("to_size"), root=sa.bindparam("to_root"), checkpoint=sa.bindparam("to_checkpoint")
)
IS_AS_LEFT = (
    audit_tree.c.vkey == sa.bindparam("by_vkey"),
    audit_tree.c.size == sa.bindparam("of_size"),
    audit_tree.c.root == sa.bindparam("of_root"),
)


NewEntries: TypeAlias = Callable[[], Sequence[NewEntry]]
"""Asked once the log is locked. While it waits for that, more come in."""


class OtherWayError(Exception):
    """Entries or the tree are not as the short way wants them, so that the usual way has to look."""


class AuditWriter:
    """For one thread at a time.

    Args:
        guard: gives checkpoints that were published elsewhere. Asked before the first entry of this process.
    """

    def __init__(self, key: SigningKey, guard: Guard, dialect: str) -> None:
        self._key, self._guard = key, guard
        self._vkey = str(key.verifier)
        self._lock = LOCK_IN[dialect]
        self._move_tree = Prepared(SET_TREE.where(*IS_AS_LEFT), dialect)
        self._add_entries = PreparedInsert(audit_entry, dialect)
        self._add_tiles = PreparedInsert(audit_tile, dialect)
        self._edge: Edge | None = None  # of what this process committed last
        self._committed = 0  # size of that tree, also while the edge is not known
        self._written: Edge | None = None  # and of what it is about to commit
        self._published: Sequence[NamedCheckpoint] | None = None  # until they are compared
        self._is_compared = False

    def ask_guard(self) -> None:
        """Before a transaction: it may ask other machines."""
        if not self._is_compared:
            self._published = self._guard()

    def write(
        self, connection: sa.Connection, entries: NewEntries, erased: Sequence[str] = ()
    ) -> list[AuditReceipt]:
        """Append entries that are not there yet, and take out records of others. Inside a transaction.

        Args:
            erased: ids of records. The only new entry is then their erasure.
        """
        lock_tree(connection)
        new = entries()
        edge = self._take_edge(connection)
        if erased:
            _erase(connection, new[0].record, erased)
        known = select_by_ids(connection, (entry.record_id for entry in new))
        fresh = {entry.record_id: entry for entry in new if entry.record_id not in known}
        places = {record_id: entry.index for record_id, entry in known.items()}
        places |= _append(connection, edge, list(fresh.values()))
        checkpoint = self._sign(connection, edge) if fresh else _present_checkpoint(connection)
        self._written = edge
        committed: Mapping[str, AuditEntry | NewEntry] = {**known, **fresh}
        older = tree_nodes(connection, edge.size).node  # the edge may have forgotten what these need
        return [
            prove_entry(
                committed[entry.record_id],
                places[entry.record_id],
                edge.node if entry.record_id in fresh else older,
                edge.size,
                checkpoint,
            )
            for entry in new
        ]

    @property
    def can_go_on(self) -> bool:
        """Whether this process knows how it left the tree."""
        return self._edge is not None

    def go_on(self, cursor: Any, entries: NewEntries) -> list[AuditReceipt]:
        """Append where this process was the last that wrote. Inside a transaction, as `write`.

        Two statements: the first moves the tree on if it is as it was left, and the second adds the entries.
        Each record is new, or the database refuses its id.

        Raises:
            OtherWayError: it is not as it was left, or an entry speaks of others. Nothing is written.
        """
        if self._lock:
            cursor.execute(self._lock)
        new = entries()
        if not all(_stands_alone(entry.record) for entry in new):
            raise OtherWayError
        edge, self._edge = self._edge, None  # see `_take_edge`
        assert edge is not None
        edge.forget_full()
        left = {"by_vkey": self._vkey, "of_size": edge.size, "of_root": edge.root()}
        first, tiles = edge.size, _grown(edge, new)
        moved = self._signed(edge)
        if self._move_tree.run(cursor, left | moved) != 1:
            raise OtherWayError
        rows = [entry_values(index, entry) for index, entry in enumerate(new, start=first)]
        self._add_entries.run(cursor, rows)
        self._add_tiles.run(cursor, tile_rows(tiles))
        self._written = edge
        return [
            prove_entry(entry, index, edge.node, edge.size, moved["to_checkpoint"])
            for index, entry in enumerate(new, start=first)
        ]

    def settle(self) -> None:
        """What was written is committed: the next transaction may go on from there."""
        self._edge, self._written = self._written, None
        self._committed = self._edge.size if self._edge else 0
        self._is_compared, self._published = True, None

    def _take_edge(self, connection: sa.Connection) -> Edge:
        mine, self._edge = self._edge, None  # a transaction that fails leaves an edge that is no tree's
        tree = select_tree(connection)
        present = tree.size if tree else 0
        if self._committed > present:
            raise FatalError(
                f"the log had {self._committed} entries and has {present}: the ledger was put back"
            )
        if tree is None:
            check_not_behind(self._published or (), 0, Edge().node)
            first = {"vkey": self._vkey, "size": 0, "root": EMPTY_ROOT}
            connection.execute(audit_tree.insert(), first | {"checkpoint": "", "cosigned": ""})
            return Edge()
        if tree.vkey != self._vkey:
            raise ConfigError(
                f"the log is signed by {tree.vkey}, and this process has the key of "
                f"{self._key.verifier}; give all processes of one ledger the same PICTOR_AUDIT_KEY"
            )
        if mine and mine.size == tree.size and mine.root() == tree.root:
            mine.forget_full()
            return mine
        return self._read_edge(connection, tree)

    def _read_edge(self, connection: sa.Connection, tree: sa.Row[Any]) -> Edge:
        """Nothing is signed on top of rows that do not make the root that was signed last."""
        try:
            edge = read_edge(connection, tree.size)
            signed = open_checkpoint(tree.checkpoint, self._key.verifier)
        except (ValueError, KeyError) as err:
            raise FatalError(f"the log is damaged: {err}; `pictor audit verify` names the place") from err
        if not (signed.size, signed.root) == (tree.size, tree.root) == (edge.size, edge.root()):
            raise FatalError("the log is not what was signed; `pictor audit verify` names the place")
        check_not_behind(self._published or (), tree.size, tree_nodes(connection, tree.size).node)
        return edge

    def _sign(self, connection: sa.Connection, edge: Edge) -> str:
        signed = self._signed(edge)
        connection.execute(SET_TREE, signed)
        return str(signed["to_checkpoint"])

    def _signed(self, edge: Edge) -> dict[str, Any]:
        """The values of `SET_TREE`."""
        root = edge.root()
        checkpoint = str(sign_checkpoint(self._key, edge.size, root))
        return {"to_size": edge.size, "to_root": root, "to_checkpoint": checkpoint}


def prove_entry(
    entry: AuditEntry | NewEntry, index: int, node: NodeReader, size: int, checkpoint: str
) -> AuditReceipt:
    proof = write_proof(index, inclusion_proof(index, size, node), checkpoint, extra=entry.salt or b"")
    return AuditReceipt(record_id=entry.record_id, index=index, commitment=entry.commitment, proof=proof)


def _append(connection: sa.Connection, edge: Edge, fresh: Sequence[NewEntry]) -> dict[str, int]:
    """Returns the places of the entries by record id."""
    first, tiles = edge.size, _grown(edge, fresh)
    if fresh:
        rows = [entry_values(index, entry) for index, entry in enumerate(fresh, start=first)]
        connection.execute(ADD_ENTRIES, rows)
    for index, entry in enumerate(fresh, start=first):
        if concerns_matches(entry.record):
            take_entry(connection, index, entry.canonical)
    references = [
        row for index, entry in enumerate(fresh, start=first) for row in reference_values(index, entry)
    ]
    if references:
        connection.execute(audit_reference.insert(), references)
    if tiles:
        connection.execute(ADD_TILES, tile_rows(tiles))
    return {entry.record_id: index for index, entry in enumerate(fresh, start=first)}


def _stands_alone(record: AuditRecord) -> bool:
    """Whether `_append` writes no row of it but the entry."""
    return not record.refers_to and not concerns_matches(record)


def _grown(edge: Edge, new: Sequence[NewEntry]) -> list[FullTile]:
    """Returns the tiles that are full with these entries."""
    return [tile for entry in new for tile in edge.append(leaf_hash(entry.commitment))]


def _erase(connection: sa.Connection, erasure: AuditRecord, erased: Sequence[str]) -> None:
    found = select_by_ids(connection, erased)
    for record_id in erased:
        if record_id not in found:
            raise no_such_record(record_id)
    check_erasure(erasure, list(found.values()))
    for mine in slices(sorted(found)):
        indexes = [found[record_id].index for record_id in mine]
        connection.execute(audit_entry.update().where(audit_entry.c.entry_index.in_(indexes)).values(ERASED))
        connection.execute(audit_reference.delete().where(audit_reference.c.entry_index.in_(indexes)))
    make_anew_without(connection, found.values())


def _present_checkpoint(connection: sa.Connection) -> str:
    return str(connection.scalar(sa.select(audit_tree.c.checkpoint)))

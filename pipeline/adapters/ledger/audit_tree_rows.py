"""The tree of the transparency log in rows: its signed state, its full tiles, and the hashes between."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.audit_schema import audit_entry, audit_tile, audit_tree
from pipeline.adapters.ledger.rows import Values
from pipeline.audit.edge import Edge, FullTile
from pipeline.audit.hashes import leaf_hash
from pipeline.audit.tile_nodes import TileNodes
from pipeline.audit.tiles import TILE_HASHES, TILE_HEIGHT

AUDIT_LOCK = 0x6175646974  # "audit": beside the lock of migrations

# Every search runs them. A statement that is made anew takes longer to make than to run.
TREE = sa.select(audit_tree)
COMMITMENTS = (
    sa.select(audit_entry.c.commitment)
    .where(
        audit_entry.c.entry_index >= sa.bindparam("start"), audit_entry.c.entry_index < sa.bindparam("end")
    )
    .order_by(audit_entry.c.entry_index)
)


# Be the one writer until the transaction ends, in a statement that takes no values. In SQLite the transaction
# itself is the lock. Whatever PostgreSQL's usual setting is: what was signed must not be forgotten.
LOCK_IN = {
    "sqlite": "",
    "postgresql": f"SELECT pg_advisory_xact_lock({AUDIT_LOCK}); SET LOCAL synchronous_commit = on",
}
ADD_TILES = audit_tile.insert()


def lock_tree(connection: sa.Connection) -> None:
    if lock := LOCK_IN[connection.dialect.name]:
        connection.exec_driver_sql(lock, execution_options={"no_parameters": True})


def select_tree(connection: sa.Connection) -> sa.Row[Any] | None:
    return connection.execute(TREE).one_or_none()


def read_tile(connection: sa.Connection, level: int, number: int, size: int) -> bytes:
    """The hashes that a tile has in the tree of `size` leaves, from the rows that are there."""
    width = min(TILE_HASHES, (size >> TILE_HEIGHT * level) - number * TILE_HASHES)
    if width == TILE_HASHES:
        full = sa.select(audit_tile.c.hashes).where(
            audit_tile.c.level == level, audit_tile.c.number == number
        )
        return connection.scalar(full) or b""
    first, end = number * TILE_HASHES, number * TILE_HASHES + width
    if level == 0:
        return b"".join(map(leaf_hash, read_commitments(connection, first, end)))
    below = audit_tile.c.number
    roots = (
        sa.select(audit_tile.c.root)
        .where(audit_tile.c.level == level - 1, below >= first, below < end)
        .order_by(below)
    )
    return b"".join(connection.scalars(roots))


def read_commitments(connection: sa.Connection, start: int, end: int) -> list[bytes]:
    return list(connection.scalars(COMMITMENTS, {"start": start, "end": end}))


def read_edge(connection: sa.Connection, size: int) -> Edge:
    """Raises ValueError when rows are missing."""
    return Edge(size, lambda level, number: read_tile(connection, level, number, size))


def tree_nodes(connection: sa.Connection, size: int) -> TileNodes:
    return TileNodes(lambda level, number: read_tile(connection, level, number, size))


def tile_rows(tiles: Iterable[FullTile]) -> list[Values]:
    return [
        {"level": tile.level, "number": tile.number, "root": tile.root, "hashes": tile.hashes}
        for tile in tiles
    ]

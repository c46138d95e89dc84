"""The tree of the transparency log in rows: its signed state, its full tiles, and the hashes between."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.audit_schema import audit_entry, audit_tile, audit_tree
from pipeline.audit.edge import Edge, FullTile
from pipeline.audit.hashes import leaf_hash
from pipeline.audit.tile_nodes import TileNodes
from pipeline.audit.tiles import TILE_HASHES, TILE_HEIGHT

AUDIT_LOCK = 0x6175646974  # "audit": beside the lock of migrations


def lock_tree(connection: sa.Connection) -> None:
    """Be the one writer until the transaction ends. In SQLite the transaction itself is the lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(AUDIT_LOCK)))
        # Whatever the server's usual setting is: what was signed must not be forgotten.
        connection.execute(sa.text("SET LOCAL synchronous_commit = on"))


# Made once: they are run for each search.
_TREE = sa.select(audit_tree)
_SIGNED = audit_tree.update().values(
    size=sa.bindparam("new_size"), root=sa.bindparam("new_root"), checkpoint=sa.bindparam("new_checkpoint")
)


def select_tree(connection: sa.Connection) -> sa.Row[Any] | None:
    return connection.execute(_TREE).one_or_none()


def update_tree(connection: sa.Connection, size: int, root: bytes, checkpoint: str) -> None:
    connection.execute(_SIGNED, {"new_size": size, "new_root": root, "new_checkpoint": checkpoint})


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
        leaves = (
            sa.select(audit_entry.c.commitment)
            .where(audit_entry.c.entry_index >= first, audit_entry.c.entry_index < end)
            .order_by(audit_entry.c.entry_index)
        )
        return b"".join(map(leaf_hash, connection.scalars(leaves)))
    below = audit_tile.c.number
    roots = (
        sa.select(audit_tile.c.root)
        .where(audit_tile.c.level == level - 1, below >= first, below < end)
        .order_by(below)
    )
    return b"".join(connection.scalars(roots))


def read_edge(connection: sa.Connection, size: int) -> Edge:
    """Raises ValueError when rows are missing."""
    return Edge(size, lambda level, number: read_tile(connection, level, number, size))


def tree_nodes(connection: sa.Connection, size: int) -> TileNodes:
    return TileNodes(lambda level, number: read_tile(connection, level, number, size))


def insert_tiles(connection: sa.Connection, tiles: Iterable[FullTile]) -> None:
    rows = [
        {"level": tile.level, "number": tile.number, "root": tile.root, "hashes": tile.hashes}
        for tile in tiles
    ]
    if rows:
        connection.execute(audit_tile.insert(), rows)

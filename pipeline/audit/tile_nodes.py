"""The nodes of a tree that is kept as tiles."""

from collections.abc import Callable

from pipeline.audit.hashes import HASH_BYTES, node_hash
from pipeline.audit.tiles import TILE_HASHES, TILE_HEIGHT


class TileNodes:
    """Reads each tile once. For one question about one tree, and one thread.

    Args:
        read_tile: gives the hashes of a tile by level and number: as many as there are in the tree.
    """

    def __init__(self, read_tile: Callable[[int, int], bytes]) -> None:
        self._read_tile = read_tile
        self._tiles: dict[tuple[int, int], bytes] = {}

    def node(self, height: int, index: int) -> bytes:
        """Raises ValueError when the tile is shorter than the tree needs."""
        if height % TILE_HEIGHT:
            return node_hash(self.node(height - 1, 2 * index), self.node(height - 1, 2 * index + 1))
        level, number, place = height // TILE_HEIGHT, index // TILE_HASHES, index % TILE_HASHES
        if (level, number) not in self._tiles:
            self._tiles[level, number] = self._read_tile(level, number)
        hash_ = self._tiles[level, number][place * HASH_BYTES : (place + 1) * HASH_BYTES]
        if len(hash_) != HASH_BYTES:
            raise ValueError(f"tile {level}/{number} has no hash {place}")
        return hash_

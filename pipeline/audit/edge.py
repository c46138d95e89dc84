"""The growing end of a tree: all nodes of the tiles that are not full yet, and no others.

With them a leaf is added and its inclusion is proved, whatever the size of the tree.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.audit.hashes import HASH_BYTES, node_hash
from pipeline.audit.tiles import TILE_HASHES, TILE_HEIGHT
from pipeline.audit.tree import inclusion_proof, root_of


@dataclass(frozen=True, kw_only=True, slots=True)
class FullTile:
    level: int
    number: int
    hashes: bytes  # 256 of them
    root: bytes  # a hash of the tile above


def _no_tile(_level: int, _number: int) -> bytes:
    return b""


class Edge:
    """Not safe to share between threads.

    Args:
        size: of the tree.
        read_tile: gives the hashes of the last tile of a level, which is not full.
    """

    def __init__(self, size: int = 0, read_tile: Callable[[int, int], bytes] = _no_tile) -> None:
        self.size = size
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._root = b""  # once somebody asked, until the next leaf
        self._filled: list[tuple[int, int]] = []  # level and number of tiles that `forget_full` drops
        for level, number, width in _partial_tiles(size):
            hashes = read_tile(level, number)
            if len(hashes) != width * HASH_BYTES:
                raise ValueError(
                    f"tile {level}/{number} of a tree of {size} has {len(hashes)} bytes; "
                    f"{width * HASH_BYTES} are expected"
                )
            for place in range(width):
                hash_ = hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES]
                self._add(TILE_HEIGHT * level, number * TILE_HASHES + place, hash_)

    def append(self, leaf: bytes) -> list[FullTile]:
        """Add a leaf by its hash. Returns the tiles that this makes full, lowest level first."""
        index, self.size, self._root = self.size, self.size + 1, b""
        self._add(0, index, leaf)
        return list(self._new_full(self.size))

    def node(self, height: int, index: int) -> bytes:
        return self._nodes[height, index]

    def root(self) -> bytes:
        self._root = self._root or root_of(self.size, self.node)
        return self._root

    def prove(self, index: int) -> list[bytes]:
        """Of a leaf whose tile was not full when `forget_full` was called last."""
        return inclusion_proof(index, self.size, self.node)

    def forget_full(self) -> None:
        """Keep of a full tile its root, which stands in the tile above."""
        for level, number in self._filled:
            for height in range(TILE_HEIGHT):
                first, width = number << (TILE_HEIGHT - height), 1 << (TILE_HEIGHT - height)
                for index in range(first, first + width):
                    del self._nodes[TILE_HEIGHT * level + height, index]
        self._filled.clear()

    def tile(self, level: int, number: int, width: int) -> bytes:
        """The first hashes of a tile of the edge."""
        first, height = number * TILE_HASHES, TILE_HEIGHT * level
        return b"".join(self._nodes[height, index] for index in range(first, first + width))

    def _add(self, height: int, index: int, hash_: bytes) -> None:
        """And every node that this completes, up to the top of its tile."""
        self._nodes[height, index] = hash_
        while index & 1 and (height + 1) % TILE_HEIGHT:
            hash_ = node_hash(self._nodes[height, index - 1], hash_)
            height, index = height + 1, index >> 1
            self._nodes[height, index] = hash_

    def _new_full(self, size: int) -> Iterator[FullTile]:
        level = 0
        while size and size % TILE_HASHES == 0:
            number, height = size // TILE_HASHES - 1, TILE_HEIGHT * (level + 1)
            root = node_hash(self._nodes[height - 1, 2 * number], self._nodes[height - 1, 2 * number + 1])
            hashes = self.tile(level, number, TILE_HASHES)
            self._filled.append((level, number))
            self._add(height, number, root)
            yield FullTile(level=level, number=number, hashes=hashes, root=root)
            size, level = size // TILE_HASHES, level + 1


def _partial_tiles(size: int) -> Iterator[tuple[int, int, int]]:
    level = 0
    while size:
        if width := size % TILE_HASHES:
            yield level, size // TILE_HASHES, width
        size, level = size // TILE_HASHES, level + 1

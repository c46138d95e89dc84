"""Whether each tile that is kept or published is that of the entries."""

from pipeline.audit.edge import Edge, FullTile
from pipeline.audit.faults import Faults
from pipeline.audit.hashes import HASH_BYTES
from pipeline.audit.place import Place
from pipeline.audit.tiles import (
    TILE_HASHES,
    TILE_HEIGHT,
    Tile,
    entries_path,
    pack_entries,
    tiles_of,
)
from pipeline.ports.audit import PublishedLog


class TileCheck:
    """Takes the tree as it grows.

    Args:
        place: where tiles are published; None when they are not.
        published: size of the tree that is published there.
    """

    def __init__(self, log: PublishedLog, place: Place | None, published: int, faults: Faults) -> None:
        self._log, self._place, self._published, self._faults = log, place, published, faults
        self._bundle: (
            list[bytes] | None
        ) = []  # commitments since the last full tile; None when one is missing
        self._full: set[tuple[int, int]] = set()
        self._odd: set[tuple[str, int, int]] = set()  # tiles that are not right: where, level and number
        self.compared = 0

    def compare(self, edge: Edge, full: list[FullTile], commitment: bytes | None) -> None:
        """Call it after each leaf.

        Args:
            full: the tiles that it made full.
            commitment: None if it is missing.
        """
        self._collect(edge, commitment)
        for tile in full:
            self._compare_full(tile)
        if full:
            self._compare_bundle(Tile(level=0, number=full[0].number, width=TILE_HASHES))
            self._bundle = []
        if edge.size == self._published:
            self._compare_partial(edge)
        edge.forget_full()

    def missing(self, index: int) -> bytes | None:
        """An entry is not there. Returns its hash, if a full tile has it, so that the tree can go on."""
        self._faults.add(index, f"entry {index} is missing")
        number, place = index // TILE_HASHES, (index % TILE_HASHES) * HASH_BYTES
        end = (number + 1) * TILE_HASHES
        hashes = self._log.tile(0, number, end)
        if not hashes and end <= self._published:
            hashes = self._read(Tile(level=0, number=number, width=TILE_HASHES).path) or b""
        return hashes[place : place + HASH_BYTES] or None

    def finish(self, edge: Edge) -> None:
        for level, number in self._log.full_tiles():
            if (number + 1) << TILE_HEIGHT * (level + 1) > edge.size:
                first = number << TILE_HEIGHT * (level + 1)
                self._faults.add(min(first, edge.size), f"the ledger: tile {level}/{number} has no entries")

    def _collect(self, edge: Edge, commitment: bytes | None) -> None:
        if self._bundle is None:
            return
        if commitment is None or (edge.size - 1) % TILE_HASHES != len(self._bundle):
            self._bundle = None  # with a gap, or since a checkpoint in the middle of a tile
        else:
            self._bundle.append(commitment)

    def _compare_full(self, tile: FullTile) -> None:
        end = (tile.number + 1) << TILE_HEIGHT * (tile.level + 1)
        shape = Tile(level=tile.level, number=tile.number, width=TILE_HASHES)
        self._compare_hashes("the ledger: ", shape, tile.hashes, self._log.tile(tile.level, tile.number, end))
        if end <= self._published and self._place:
            self._compare_hashes(self._place.url, shape, tile.hashes, self._read(shape.path))

    def _compare_partial(self, edge: Edge) -> None:
        for tile in tiles_of(edge.size):
            if tile.width < TILE_HASHES and self._place:
                hashes = edge.tile(tile.level, tile.number, tile.width)
                self._compare_hashes(self._place.url, tile, hashes, self._read_partial(tile))
                if tile.level == 0:
                    self._compare_bundle(tile)

    def _compare_hashes(self, where: str, tile: Tile, right: bytes, found: bytes | None) -> None:
        self.compared += 1
        if not found:
            self._faults.add(_first_entry(tile, 0), f"{where}{tile.path} is missing")
        elif found != right:
            self._odd.add((where, tile.level, tile.number))
            odd = _first_difference(right, found)
            entry = _first_entry(tile, odd)
            # What is wrong below has been named, and more exactly.
            if (where, tile.level - 1, tile.number * TILE_HASHES + odd) not in self._odd:
                self._faults.add(entry, f"{where}{tile.path}: hash {odd} is not that of entry {entry}")

    def _compare_bundle(self, tile: Tile) -> None:
        if (
            self._bundle is None
            or not self._place
            or tile.number * TILE_HASHES + tile.width > self._published
        ):
            return
        path, right = entries_path(tile.number, tile.width), pack_entries(self._bundle)
        found = self._read(path)
        self.compared += 1
        if found != right:
            odd = 0 if found is None else _first_difference(right, found, each=len(right) // tile.width)
            entry = _first_entry(tile, odd)
            self._faults.add(entry, f"{self._place.url}{path} does not hold entry {entry}")

    def _read_partial(self, tile: Tile) -> bytes | None:
        """It may be gone when the full one is there."""
        found = self._read(tile.path)
        if found is None:
            full = self._read(Tile(level=tile.level, number=tile.number, width=TILE_HASHES).path)
            found = full[: tile.size_bytes] if full else None
        return found

    def _read(self, path: str) -> bytes | None:
        return self._place.read(path) if self._place else None


def _first_difference(right: bytes, found: bytes, *, each: int = HASH_BYTES) -> int:
    for place in range(0, len(right), each):
        if right[place : place + each] != found[place : place + each]:
            return place // each
    return len(right) // each - 1  # there is more than there should be


def _first_entry(tile: Tile, hash_number: int) -> int:
    return (tile.number * TILE_HASHES + hash_number) << TILE_HEIGHT * tile.level

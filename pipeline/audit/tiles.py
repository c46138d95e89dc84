"""The layout of c2sp.org/tlog-tiles: which hashes stand in which file."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.audit.hashes import HASH_BYTES

TILE_HEIGHT = 8
TILE_HASHES = 1 << TILE_HEIGHT  # of a full tile
CHECKPOINT = "checkpoint"
_ENTRIES = "entries"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """`width` hashes of the nodes at height 8·`level`, from number 256·`number` on."""

    level: int
    number: int
    width: int  # 1..256

    @property
    def path(self) -> str:
        return _path(str(self.level), self.number, self.width)

    @property
    def size_bytes(self) -> int:
        return self.width * HASH_BYTES


def entries_path(number: int, width: int) -> str:
    """The file of the entries whose hashes are tile `number` of level 0."""
    return _path(_ENTRIES, number, width)


def pack_entries(entries: list[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unpack_entries(bundle: bytes) -> list[bytes]:
    """Raises ValueError when it is cut."""
    entries, place = [], 0
    while place < len(bundle):
        end = place + 2 + int.from_bytes(bundle[place : place + 2], "big")
        if end > len(bundle) or place + 2 > len(bundle):
            raise ValueError("the bundle ends in the middle of an entry")
        entries.append(bundle[place + 2 : end])
        place = end
    return entries


def tiles_of(size: int, *, since: int = 0) -> Iterator[Tile]:
    """The tiles of a tree of `size` leaves that one of `since` leaves does not have, level by level."""
    level = 0
    while size >> (TILE_HEIGHT * level):
        old, new = since >> (TILE_HEIGHT * level), size >> (TILE_HEIGHT * level)
        for number in range(old // TILE_HASHES, -(-new // TILE_HASHES)):
            width = min(TILE_HASHES, new - number * TILE_HASHES)
            if number * TILE_HASHES + width > old:
                yield Tile(level=level, number=number, width=width)
        level += 1


def _path(level: str, number: int, width: int) -> str:
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03d}")
    partial = "" if width == TILE_HASHES else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{partial}"

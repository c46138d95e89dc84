"""Write what a log has signed to the places where others read it.

The tiles come first and the checkpoint last, so that whoever has the checkpoint finds its tiles. Every file
but the checkpoint always has the same content, so that processes which publish at once do no harm.
"""

from datetime import UTC, datetime

from pipeline.audit.checkpoint import Checkpoint, NamedCheckpoint, open_checkpoint
from pipeline.audit.note import VerifierKey
from pipeline.audit.place import DAYS, Place, read_checkpoint
from pipeline.audit.rollback import check_not_behind
from pipeline.audit.tile_nodes import TileNodes
from pipeline.audit.tiles import (
    CHECKPOINT,
    TILE_HASHES,
    TILE_HEIGHT,
    Tile,
    entries_path,
    pack_entries,
    tiles_of,
)
from pipeline.ports.audit import PublishedLog


def write_tiles(log: PublishedLog, place: Place, size: int, *, since: int) -> None:
    """Write the tiles and entries of a tree that the place does not have.

    Args:
        since: the size of the tree that is there.
    """
    for tile in tiles_of(size, since=since):
        place.write(tile.path, log.tile(tile.level, tile.number, size))
        paths = [tile.path]
        if tile.level == 0:
            paths.append(entries_path(tile.number, tile.width))
            place.write(paths[-1], pack_entries(_commitments(log, tile)))
        had_begun = tile.number * TILE_HASHES < since >> TILE_HEIGHT * tile.level
        if tile.width == TILE_HASHES and had_begun:
            _delete_partial(place, paths)


def write_checkpoint(
    log: PublishedLog, place: Place, checkpoint: str, key: VerifierKey, *, days: bool = False
) -> None:
    """Put a checkpoint over an older one of the same log. A newer one stays.

    Args:
        days: keep the last checkpoint of each day, too.

    Raises:
        FatalError: what is there contradicts it. It is evidence, and stays.
    """
    mine, there = open_checkpoint(checkpoint, key), read_checkpoint(place, CHECKPOINT, key)
    if there and there.size > mine.size:
        return
    if there:
        named = NamedCheckpoint(name=place.url + CHECKPOINT, checkpoint=there)
        check_not_behind([named], mine.size, nodes_of(log, mine).node)
    place.write(CHECKPOINT, checkpoint.encode())
    if days:
        place.write(f"{DAYS}{datetime.now(UTC):%Y-%m-%d}", checkpoint.encode())


def nodes_of(log: PublishedLog, checkpoint: Checkpoint) -> TileNodes:
    return TileNodes(lambda level, number: log.tile(level, number, checkpoint.size))


def _commitments(log: PublishedLog, tile: Tile) -> list[bytes]:
    first = tile.number * TILE_HASHES
    return log.commitments(first, first + tile.width)


def _delete_partial(place: Place, paths: list[str]) -> None:
    """Up to 255 shorter versions of a full tile take 128 times its room."""
    for path in paths:
        for name in list(place.names(f"{path}.p/")):
            place.delete(name)

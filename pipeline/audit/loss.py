"""What a log lacks of the one that was published: after its ledger was put back to an older state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.audit.checkpoint import Checkpoint, NamedCheckpoint
from pipeline.audit.edge import Edge
from pipeline.audit.hashes import leaf_hash
from pipeline.audit.place import Place
from pipeline.audit.tile_nodes import TileNodes
from pipeline.audit.tiles import TILE_HASHES, entries_path, unpack_entries
from pipeline.audit.tree import NodeReader, root_of
from pipeline.ports.audit import PublishedLog


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedTree:
    """The tiles of a log, and the checkpoint that lies with them."""

    place: Place
    checkpoint: Checkpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """The entries from `first` on that a log was published with and does not have.

    `lacking` are the checkpoints that it does not fulfil, the smallest first. `proved` is how many of the
    missing entries the published tiles prove.
    """

    ledger_size: int
    first: int
    lacking: tuple[NamedCheckpoint, ...]
    proved: int

    @property
    def newest(self) -> NamedCheckpoint:
        return self.lacking[-1]

    @property
    def missing(self) -> int:
        return self.newest.checkpoint.size - self.first


def find_loss(
    log: PublishedLog, published: Sequence[NamedCheckpoint], tree: PublishedTree | None
) -> Loss | None:
    """Compare a log with what was published of it. None when nothing is missing.

    Args:
        published: every checkpoint that is known, signed by the log's key.
    """
    size = log.head().size
    node = TileNodes(lambda level, number: log.tile(level, number, size)).node
    fulfilled = [one for one in published if _is_fulfilled(one.checkpoint, size, node)]
    lacking = sorted((one for one in published if one not in fulfilled), key=_size)
    if not lacking:
        return None
    is_cut = _size(lacking[0]) > size
    first, proved = size if is_cut else max(map(_size, fulfilled), default=0), 0
    if tree and (found := _first_other(log, size, tree)) is not None:
        first, proved = found, max(0, tree.checkpoint.size - found)
    return Loss(ledger_size=size, first=first, lacking=tuple(lacking), proved=proved)


def _size(one: NamedCheckpoint) -> int:
    return one.checkpoint.size


def _is_fulfilled(signed: Checkpoint, size: int, node: NodeReader) -> bool:
    return signed.size <= size and root_of(signed.size, node) == signed.root


def _first_other(log: PublishedLog, size: int, tree: PublishedTree) -> int | None:
    """The first published entry that the log does not have. None when the tiles are not whole."""
    edge, first = Edge(), None
    for bundle in _bundles(tree):
        start = edge.size
        mine = log.commitments(start, min(size, start + len(bundle)))
        for index, commitment in enumerate(bundle):
            edge.append(leaf_hash(commitment))
            if first is None and mine[index : index + 1] != [commitment]:
                first = start + index
        edge.forget_full()
    if (edge.size, edge.root()) != (tree.checkpoint.size, tree.checkpoint.root):
        return None
    return edge.size if first is None else first


def _bundles(tree: PublishedTree) -> Iterator[list[bytes]]:
    """The published commitments, tile by tile, up to the first that is missing or damaged."""
    size = tree.checkpoint.size
    for start in range(0, size, TILE_HASHES):
        width = min(TILE_HASHES, size - start)
        body = tree.place.read(entries_path(start // TILE_HASHES, width))
        try:
            bundle = unpack_entries(body or b"")
        except ValueError:
            return
        if len(bundle) != width:
            return
        yield bundle

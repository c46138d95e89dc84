"""Verify a whole log: every record, every entry, every tile and every checkpoint, never a sample.

The tree is built anew from the entries. Whatever else was kept or published is compared with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.audit.check_heads import HeadCheck
from pipeline.audit.check_records import RecordCheck
from pipeline.audit.check_tiles import TileCheck
from pipeline.audit.check_verifications import VerificationCheck
from pipeline.audit.checkpoint import Checkpoint, NamedCheckpoint, open_checkpoint
from pipeline.audit.edge import Edge
from pipeline.audit.faults import Fault, Faults
from pipeline.audit.hashes import leaf_hash
from pipeline.audit.note import NoteError, VerifierKey
from pipeline.audit.place import Place, read_checkpoint
from pipeline.audit.tiles import CHECKPOINT
from pipeline.errors import FatalError
from pipeline.ports import VerificationBook
from pipeline.ports.audit import PublishedLog


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """How much was looked at, and what was wrong, the first entry first."""

    size: int  # of the tree that the entries make
    entries: int
    erased: int
    tiles: int  # files and rows
    checkpoints: int
    faults: tuple[Fault, ...]


def verify_log(
    log: PublishedLog,
    key: VerifierKey,
    *,
    place: Place | None = None,
    others: Sequence[NamedCheckpoint] = (),
    since: NamedCheckpoint | None = None,
    verifications: VerificationBook | None = None,
) -> Verified:
    """Verify all of it, or what came after a checkpoint.

    Args:
        place: where the log is published; None when it is not.
        others: checkpoints that are kept elsewhere, signed by this key.
        since: the tiles before it are believed as far as they make its root.
        verifications: compared with what the entries give, when all of them are verified.
    """
    faults = Faults()
    head, published = _own_head(log, key, faults), _published_head(place, key, faults)
    known = [NamedCheckpoint(name="the ledger", checkpoint=head)] if head else []
    if published and place:
        known.append(NamedCheckpoint(name=f"{place.url}{CHECKPOINT}", checkpoint=published))
    heads = HeadCheck([*known, *others, *([since] if since else [])], faults)
    persons = VerificationCheck(verifications if since is None else None, faults)
    records = RecordCheck(faults, persons.take)
    tiles = TileCheck(log, place, published.size if published else 0, faults)
    edge, start = _first_edge(log, since, faults), since.checkpoint.size if since else 0
    if edge is not None:
        _walk(log, edge, head, records, tiles, heads)
        tiles.finish(edge)
        heads.finish(edge)
    records.finish()
    persons.finish()
    return Verified(
        size=edge.size if edge else 0,
        entries=edge.size - start if edge else 0,
        erased=records.erased,
        tiles=tiles.compared,
        checkpoints=heads.compared,
        faults=faults.in_order(),
    )


def _walk(
    log: PublishedLog,
    edge: Edge,
    head: Checkpoint | None,
    records: RecordCheck,
    tiles: TileCheck,
    heads: HeadCheck,
) -> None:
    end = head.size if head else 0
    heads.compare(edge)
    for entry in log.entries(start=edge.size):
        if entry.index >= end:
            records.behind(entry, end)
            return
        while edge.size < entry.index:
            leaf = tiles.missing(edge.size)
            if leaf is None:
                return
            tiles.compare(edge, edge.append(leaf), None)
            heads.compare(edge)
        records.check(entry)
        tiles.compare(edge, edge.append(leaf_hash(entry.commitment)), entry.commitment)
        heads.compare(edge)


def _first_edge(log: PublishedLog, since: NamedCheckpoint | None, faults: Faults) -> Edge | None:
    if since is None:
        return Edge()
    size = since.checkpoint.size
    if size > log.head().size:
        faults.add(
            None, f"{since.name}: the log was rolled back. It has {log.head().size} entries, not {size}"
        )
        return None
    try:
        return Edge(size, lambda level, number: log.tile(level, number, size))
    except ValueError as err:
        faults.add(None, f"the tree at {since.name} cannot be read: {err}")
        return None


def _own_head(log: PublishedLog, key: VerifierKey, faults: Faults) -> Checkpoint | None:
    head = log.head()
    if not head.size:
        return None
    try:
        checkpoint = open_checkpoint(head.checkpoint, key)
    except NoteError as err:
        faults.add(None, f"the ledger's newest checkpoint: {err}")
        return None
    if (checkpoint.size, checkpoint.root) != (head.size, head.root):
        faults.add(None, f"the ledger says {head.size} entries, and its newest checkpoint {checkpoint.size}")
    return checkpoint


def _published_head(place: Place | None, key: VerifierKey, faults: Faults) -> Checkpoint | None:
    if place is None:
        return None
    try:
        return read_checkpoint(place, CHECKPOINT, key)
    except FatalError as err:
        faults.add(None, str(err))
        return None

"""Whether index and version book say the same of a collection: two streams in order of image ids, merged.

The index is right about what it holds, and the book is corrected. There is one exception: rows of an object
whose present version has nothing to be found by are removed. Repairing is safe while jobs run. At worst an
entry that a batch has just written becomes a planned one, and the next job looks that object up in the index.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice

from pipeline.ingest.removal import find_harmed
from pipeline.ports import VectorIndex, VersionBook
from pipeline.types import (
    CollectionInfo,
    CollectionRef,
    IndexedImage,
    ObjectRef,
    VersionEntry,
    VersionState,
    indexed_version,
)

REPAIRED_AT_ONCE = 1000


class Difference(StrEnum):
    NOT_IN_INDEX = "not_in_index"  # the book has it as indexed: the next job embeds it
    NOT_IN_BOOK = "not_in_book"  # rows that nobody would remove: they are entered
    OTHER_VERSION = "other_version"  # the index holds another version than the book says: it is entered
    OUTDATED_ROWS = "outdated_rows"  # of an object that failed or was taken out since: they are removed


@dataclass(frozen=True, slots=True)
class Found:
    difference: Difference
    ref: ObjectRef  # as the index has it, if it does
    rows: int = 0  # that the index has of it
    sequence: int = 0  # of the entry that was compared: a newer one is not overwritten


@dataclass(slots=True)
class Verification:
    """`compared` images are in the index, the book or both."""

    compared: int = 0
    counts: dict[Difference, int] = field(default_factory=lambda: dict.fromkeys(Difference, 0))
    first_ids: dict[Difference, list[str]] = field(default_factory=lambda: {kind: [] for kind in Difference})

    @property
    def differences(self) -> int:
        return sum(self.counts.values())


def verify_collection(
    info: CollectionInfo, index: VectorIndex, book: VersionBook, *, repair: bool, first: int
) -> Verification:
    """Compare, and if asked for repair, in constant memory. Safe to run twice.

    Args:
        first: how many ids are named of each kind of difference.
    """
    generation, result = info.ref.generation, Verification()
    found = _differences(index.list_images(info.ref), book.list_by_id(generation), result)
    while some := list(islice(found, REPAIRED_AT_ONCE)):
        for one in some:
            result.counts[one.difference] += 1
            if len(result.first_ids[one.difference]) < first:
                result.first_ids[one.difference].append(one.ref.image_id)
        if repair:
            _repair(some, info.ref, index, book)
    if repair and book.filled_to(generation) is not None:
        book.record_fill(generation, [], filled_to=None)  # all of the index has been entered
    return result


def _differences(
    images: Iterator[IndexedImage], entries: Iterator[VersionEntry], result: Verification
) -> Iterator[Found]:
    entry = next(entries, None)
    for image in images:
        image_id = image.ref.image_id
        while entry is not None and entry.ref.image_id < image_id:
            yield from _unindexed(entry, result)
            entry = next(entries, None)
        result.compared += 1
        if entry is None or entry.ref.image_id != image_id:
            yield Found(Difference.NOT_IN_BOOK, image.ref, image.rows)
            continue
        yield from _indexed(image, entry)
        entry = next(entries, None)
    while entry is not None:
        yield from _unindexed(entry, result)
        entry = next(entries, None)


def _unindexed(entry: VersionEntry, result: Verification) -> Iterator[Found]:
    result.compared += 1
    if entry.vectors and entry.state is not VersionState.REMOVED:
        yield Found(Difference.NOT_IN_INDEX, entry.ref, sequence=entry.sequence)


def _indexed(image: IndexedImage, entry: VersionEntry) -> Iterator[Found]:
    ref, rows = image.ref, image.rows
    if entry.state is VersionState.INDEXED:
        if entry.ref.etag != ref.etag or entry.vectors != rows:
            yield Found(Difference.OTHER_VERSION, ref, rows, entry.sequence)
    elif entry.state is VersionState.PLANNED:
        yield Found(Difference.NOT_IN_BOOK, ref, rows, entry.sequence)
    elif entry.state is VersionState.REMOVED:
        yield Found(Difference.OUTDATED_ROWS, ref, rows)
    elif not entry.vectors:
        # Of the very version that failed: another worker got it indexed. Of an older one: it should be gone.
        same = entry.ref.etag == ref.etag
        difference = Difference.OTHER_VERSION if same else Difference.OUTDATED_ROWS
        yield Found(difference, ref, rows, entry.sequence)


def _repair(found: list[Found], ref: CollectionRef, index: VectorIndex, book: VersionBook) -> None:
    ids: dict[Difference, list[str]] = {kind: [] for kind in Difference}
    entered: list[VersionEntry] = []
    for one in found:
        ids[one.difference].append(one.ref.image_id)
        if one.difference in (Difference.NOT_IN_BOOK, Difference.OTHER_VERSION):
            entered.append(replace(indexed_version(one.ref, one.rows), sequence=one.sequence))
    if outdated := ids[Difference.OUTDATED_ROWS]:
        index.delete_images(ref, outdated)
        # A batch may have written one of them since it was compared: the next job looks.
        harmed = {found.image_id for found in find_harmed(ref, outdated, index, book)}
        book.claim(ref.generation, book.find(ref.generation, sorted(harmed)))
    lost = {one.ref.image_id: one.sequence for one in found if one.difference is Difference.NOT_IN_INDEX}
    book.lose_rows(ref.generation, lost)
    book.write(ref.generation, entered)

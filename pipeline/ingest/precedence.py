"""Who decides over an object: the newest plan or removal that the version book knows (decision 0078).

A batch was planned at some moment, and waits. Meanwhile a newer plan may have listed another version of an
object of it, or a removal may have taken the object out. Then the batch is late for that object.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pipeline.errors import ImageError
from pipeline.ports import Deps, ObjectStore
from pipeline.types import EmbedBatch, ObjectRef, Reason, StoredVersion, VersionEntry, VersionState


def find_overtaken(
    batch: EmbedBatch, results: Iterable[VersionEntry], deps: Deps
) -> Mapping[str, VersionEntry]:
    """For which objects a batch is late, as the book says now; by image id.

    Args:
        results: what the batch has made, or would make, of its objects. The same version twice is no harm.
    """
    newer = deps.ledger.book.overtaken(
        batch.target.generation,
        [ref.image_id for ref in batch.refs],
        job_id=batch.job_id,
        path=batch.path,
    )
    if not newer:
        return {}
    made = {result.ref.image_id: result for result in results}
    return {
        entry.ref.image_id: entry for entry in newer if not _is_at_peace(made.get(entry.ref.image_id), entry)
    }


def _is_at_peace(result: VersionEntry | None, entry: VersionEntry) -> bool:
    if result is None:
        return False
    if result.sequence == entry.sequence:
        return True  # claimed by this batch itself
    if entry.missing_in and entry.state is VersionState.PLANNED:
        return False  # a later listing did not show it, and this batch is the one that tells what is there
    same_end = result.state is entry.state or (
        result.state is not VersionState.FAILED and entry.state is VersionState.PLANNED
    )
    return same_end and is_same_write(result.ref, entry.ref)


def is_same_write(one: ObjectRef, other: ObjectRef) -> bool:
    """The same bytes with the same metadata, as far as a listing tells."""
    times = (one.modified_ms, other.modified_ms)
    return one == other and (None in times or times[0] == times[1])


def is_settled(
    entry: VersionEntry, planned: ObjectRef, present: ObjectRef | None, stored: StoredVersion | None
) -> bool:
    """Whether book, store and index say the same of an object, so that a late batch has nothing to mend.

    Args:
        entry: the book's, by a newer plan than that of the batch.
        planned: as the batch has it.
        present: as the store has it now. None when it is gone.
        stored: what the index has of it, if anything.
    """
    match entry.state:
        case VersionState.PLANNED:
            return False  # what a batch in flight will find cannot be known
        case VersionState.INDEXED:
            # Metadata is not part of the ETag: an earlier delivery may have written that of an older write.
            is_ours = planned == entry.ref and not is_same_write(planned, entry.ref)
            in_index = StoredVersion(etag=entry.ref.etag, rows=entry.vectors)
            return present == entry.ref and stored == in_index and not is_ours
        case VersionState.REMOVED:
            return stored is None
        case _:
            if present is None:
                return stored is None
            return present.etag == entry.ref.etag and (stored is None or entry.vectors > 0)


def ask_store(ref: ObjectRef, store: ObjectStore) -> ObjectRef | None:
    """The version that is there now; `ref` itself where it is that one. None when the object is gone.

    A store may not say when it was written. Then it has the time of `ref`: a listing with another time makes
    the next job read it again, and one without a time could hide that its metadata is new.
    """
    try:
        present = store.stat(ref.bucket, ref.key)
    except ImageError as err:
        return None if err.reason is Reason.NOT_FOUND else ref  # whoever reads it will say why it cannot be
    if present == ref:
        return ref
    return present if present.modified_ms is not None else replace(present, modified_ms=ref.modified_ms)

"""Objects of a batch that need no model: the index has them, or has the same content under another key.

Neither is read, decoded or embedded.
"""

import re
from collections.abc import Mapping, Sequence

from pipeline.errors import ImageError
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.kept_face import box_of_key
from pipeline.ports import Deps, VectorIndex, misfit_of
from pipeline.types import EmbedBatch, Embedded, IndexRow, ObjectRef, StoredVersion, split_metadata

# S3 gives MD5 to an upload in one piece. Of parts it is a hash of hashes, with a "-", and files have
# no hash at all. With keys of a customer or of KMS it is no MD5, but then no two objects share one.
_CONTENT_HASH = re.compile(r"[0-9a-f]{32}")


def look_up_versions(batch: EmbedBatch, index: VectorIndex, clock: PhaseClock) -> Mapping[str, StoredVersion]:
    """The stored version of each object that has rows.

    The index is asked although the planner has compared versions: a batch may be delivered twice, and a
    worker that knows no book may have done it.
    """
    # Seconds lie between this look and the write anyway; a job's first step has seen all that was before it.
    with clock.measure("lookup"):
        return index.get_versions(batch.target, [ref.image_id for ref in batch.refs], latest=False)


def changed_refs(batch: EmbedBatch, stored: Mapping[str, StoredVersion]) -> list[ObjectRef]:
    """Without an ETag, no two versions can be called the same."""

    def is_stored(ref: ObjectRef) -> bool:
        version = stored.get(ref.image_id)
        return version is not None and bool(ref.etag) and version.etag == ref.etag

    return [ref for ref in batch.refs if not is_stored(ref) or ref.key in batch.rewritten]


def reuse_vectors(
    batch: EmbedBatch, fresh: Sequence[ObjectRef], deps: Deps, clock: PhaseClock
) -> list[Embedded]:
    """Rows for objects whose bytes the index has under another key, with the metadata of the new key.

    Whatever is not certain is left out, and goes the usual way.
    """
    candidates = [
        ref
        for ref in fresh
        if _CONTENT_HASH.fullmatch(ref.etag)
        and ref.key not in batch.rewritten
        and box_of_key(ref.key) is None  # it is there for one of its faces
        and not misfit_of(ref, {})
    ]
    if not candidates:
        return []
    with clock.measure("lookup"):
        copies = _rows_of_copies(batch, candidates, deps)
    found: list[Embedded] = []
    has_views = deps.embedder.spec.has_views
    for ref in candidates if copies else ():
        rows = copies.get((ref.etag, ref.size_bytes))
        if rows is not None and (metadata := _metadata(ref, deps)) is not None:
            found.append(
                Embedded(
                    ref=ref,
                    vectors=tuple(row.vector for row in rows),
                    beside=rows[0].beside,
                    width=rows[0].width,
                    height=rows[0].height,
                    metadata=split_metadata(metadata)[0] if has_views else metadata,
                    of_views=tuple(split_metadata(row.metadata)[1] for row in rows) if has_views else (),
                )
            )
    return found


def _rows_of_copies(
    batch: EmbedBatch, candidates: Sequence[ObjectRef], deps: Deps
) -> Mapping[tuple[str, int], Sequence[IndexRow]]:
    image_ids = deps.ledger.book.find_copies(batch.target.generation, [ref.etag for ref in candidates])
    if not image_ids:
        return {}
    embeddings = {model.name for model in deps.embedder.spec.beside}
    # The book says where to look, and the rows themselves say which version they are of.
    images = deps.index.get_images(batch.target, image_ids, latest=False).values()
    return {
        (rows[0].ref.etag, rows[0].ref.size_bytes): rows
        for rows in images
        if not rows[0].ref.bucket.startswith("/")
        and box_of_key(rows[0].ref.key) is None
        and len({row.ref.etag for row in rows}) == 1
        and rows[0].beside.keys() == embeddings
    }


def _metadata(ref: ObjectRef, deps: Deps) -> Mapping[str, str] | None:
    try:
        metadata = deps.store.get_metadata(ref)
    except ImageError:  # gone, changed or forbidden: the usual way says so
        return None
    return None if misfit_of(ref, metadata) else metadata

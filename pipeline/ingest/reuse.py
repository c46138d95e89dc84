"""Objects of a batch that need no model: the index has them, or has the same content under another key.

Neither is read, decoded or embedded.
"""

import re
from collections.abc import Mapping, Sequence

from pipeline.errors import ImageError
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ports import Deps, VectorIndex, misfit_of
from pipeline.types import EmbedBatch, Embedded, IndexRow, ObjectRef

# S3 gives MD5 to an upload in one piece. Of parts it is a hash of hashes, with a "-", and files have
# no hash at all. With keys of a customer or of KMS it is no MD5, but then no two objects share one.
_CONTENT_HASH = re.compile(r"[0-9a-f]{32}")


def look_up_versions(batch: EmbedBatch, index: VectorIndex, clock: PhaseClock) -> Mapping[str, str]:
    """The stored ETag of each object that has a row.

    The index is asked although the planner has compared versions: a batch may be delivered twice, and a
    worker that knows no book may have done it.
    """
    # Seconds lie between this look and the write anyway; a job's first step has seen all that was before it.
    with clock.measure("lookup"):
        return index.get_etags(batch.target, [ref.image_id for ref in batch.refs], latest=False)


def changed_refs(batch: EmbedBatch, stored: Mapping[str, str]) -> list[ObjectRef]:
    return [ref for ref in batch.refs if stored.get(ref.image_id) != ref.etag or ref.key in batch.rewritten]


def reuse_vectors(
    batch: EmbedBatch, fresh: Sequence[ObjectRef], deps: Deps, clock: PhaseClock
) -> list[Embedded]:
    """Rows for objects whose bytes the index has under another key, with the metadata of the new key.

    Whatever is not certain is left out, and goes the usual way.
    """
    candidates = [
        ref
        for ref in fresh
        if _CONTENT_HASH.fullmatch(ref.etag) and ref.key not in batch.rewritten and not misfit_of(ref, {})
    ]
    if not candidates:
        return []
    with clock.measure("lookup"):
        rows = _rows_of_copies(batch, candidates, deps)
    found: list[Embedded] = []
    for ref in candidates if rows else ():
        row = rows.get((ref.etag, ref.size_bytes))
        if row is not None and (metadata := _metadata(ref, deps)) is not None:
            found.append(
                Embedded(ref=ref, vector=row.vector, width=row.width, height=row.height, metadata=metadata)
            )
    return found


def _rows_of_copies(
    batch: EmbedBatch, candidates: Sequence[ObjectRef], deps: Deps
) -> Mapping[tuple[str, int], IndexRow]:
    image_ids = deps.ledger.book.find_copies(batch.target.generation, [ref.etag for ref in candidates])
    if not image_ids:
        return {}
    # The book says where to look, and the row itself says which version it is of.
    rows = deps.index.get_rows(batch.target, image_ids, latest=False)
    return {(row.ref.etag, row.ref.size_bytes): row for row in rows if not row.ref.bucket.startswith("/")}


def _metadata(ref: ObjectRef, deps: Deps) -> Mapping[str, str] | None:
    try:
        metadata = deps.store.get_metadata(ref)
    except ImageError:  # gone, changed or forbidden: the usual way says so
        return None
    return None if misfit_of(ref, metadata) else metadata

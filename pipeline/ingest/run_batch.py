"""ONE BATCH, START TO END. Read this first: the rest of the pipeline is what these lines call."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime

from pipeline.ingest.embed import embed_all
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.ingest.reuse import reuse_vectors
from pipeline.ports import Deps, ImageLimits, VectorIndex
from pipeline.types import (
    CONTENT_REASONS,
    BatchReport,
    CollectionRef,
    EmbedBatch,
    Embedded,
    IndexRow,
    ObjectRef,
    Prepared,
    Rejected,
    VersionEntry,
    VersionState,
    indexed_version,
)


def run_batch(
    batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock | None = None
) -> BatchReport:
    """Bring the index in step with the objects of one batch. Safe to run twice.

    Args:
        clock: one that has measured what went before; the report's seconds include that.

    Raises:
        TransientError: a service is away; nothing is lost by running the batch again.
        FatalError: this process cannot go on.
    """
    clock = clock or PhaseClock()
    stored = look_up_versions(batch, deps.index, clock)
    fresh, reused = find_fresh(batch, stored, deps, clock)
    write_rows(batch.target, reused, deps, clock)
    spec = deps.embedder.spec.preprocessing
    outcomes = prepare_all(fresh, deps.store, spec, limits, clock, concurrency=deps.concurrency)
    with closing(outcomes):
        return index_outcomes(batch, outcomes, stored.keys(), deps, clock, reused=len(reused))


def find_fresh(
    batch: EmbedBatch, stored: Mapping[str, str], deps: Deps, clock: PhaseClock
) -> tuple[list[ObjectRef], list[Embedded]]:
    """What has to be embedded, and what the index has under another key.

    The index is asked although the planner has compared versions: a batch may be delivered twice, and a
    worker that knows no book may have done it.
    """
    fresh = [ref for ref in batch.refs if stored.get(ref.image_id) != ref.etag or ref.key in batch.rewritten]
    reused = reuse_vectors(batch, fresh, deps, clock)
    done = {item.ref.image_id for item in reused}
    return [ref for ref in fresh if ref.image_id not in done], reused


def index_outcomes(
    batch: EmbedBatch,
    outcomes: Iterable[Prepared | Rejected],
    stored: Collection[str],
    deps: Deps,
    clock: PhaseClock,
    *,
    reused: int = 0,
) -> BatchReport:
    """Embed what was prepared, write it, remove what is stale; all else of the batch is unchanged.

    Args:
        stored: ids that the index holds a row of, in whatever version.
        reused: how many objects have got the vector of the same content under another key. They are written.
    """
    embedded, rejected = embed_outcomes(outcomes, deps, clock)
    write_rows(batch.target, embedded, deps, clock)
    remove_stale(batch.target, rejected, stored, deps, clock)
    return BatchReport(
        job_id=batch.job_id,
        path=batch.path,
        indexed=len(embedded) + reused,
        unchanged=len(batch.refs) - len(embedded) - reused - len(rejected),
        rejected=tuple(rejected),
        seconds=clock.seconds(),
        versions=_versions(batch, rejected, stored),
    )


def look_up_versions(batch: EmbedBatch, index: VectorIndex, clock: PhaseClock) -> Mapping[str, str]:
    # Seconds lie between this look and the write anyway; a job's first step has seen all that was before it.
    with clock.measure("lookup"):
        return index.get_etags(batch.target, [ref.image_id for ref in batch.refs], latest=False)


def embed_outcomes(
    outcomes: Iterable[Prepared | Rejected], deps: Deps, clock: PhaseClock
) -> tuple[list[Embedded], list[Rejected]]:
    embedded: list[Embedded] = []
    rejected: list[Rejected] = []
    for outcome in embed_all(outcomes, deps.embedder, deps.concurrency.group_items, clock):
        if isinstance(outcome, Embedded):
            embedded.append(outcome)
        else:
            rejected.append(outcome)
    return embedded, rejected


def write_rows(target: CollectionRef, embedded: Sequence[Embedded], deps: Deps, clock: PhaseClock) -> None:
    if not embedded:
        return
    indexed_at = datetime.now(UTC)
    with clock.measure("write"):
        deps.index.upsert(target, [_row(item, indexed_at) for item in embedded])


def remove_stale(
    target: CollectionRef,
    rejected: Sequence[Rejected],
    stored: Collection[str],
    deps: Deps,
    clock: PhaseClock,
) -> None:
    """An object that was good and is not any more must not be found by its former content."""
    stale = [
        item.ref.image_id
        for item in rejected
        if item.reason in CONTENT_REASONS and item.ref.image_id in stored
    ]
    if stale:
        with clock.measure("write"):
            deps.index.delete(target, stale)


def _versions(
    batch: EmbedBatch, rejected: Sequence[Rejected], stored: Collection[str]
) -> tuple[VersionEntry, ...]:
    """For the version book: what is not rejected is in the index, now or since before."""
    failed = {item.ref.image_id for item in rejected}
    indexed = [ref for ref in batch.refs if ref.image_id not in failed]
    return (
        *map(indexed_version, indexed),
        *(_failed_version(item, stored) for item in rejected),
    )


def _failed_version(item: Rejected, stored: Collection[str]) -> VersionEntry:
    keeps_old_row = item.reason not in CONTENT_REASONS and item.ref.image_id in stored
    return VersionEntry(
        ref=item.ref,
        state=VersionState.FAILED,
        vectors=int(keeps_old_row),
        stage=item.stage,
        reason=item.reason,
        detail=item.detail,
    )


def _row(item: Embedded, indexed_at: datetime) -> IndexRow:
    return IndexRow(
        id=item.ref.image_id,
        ref=item.ref,
        vector=item.vector,
        width=item.width,
        height=item.height,
        indexed_at=indexed_at,
        metadata=item.metadata,
    )

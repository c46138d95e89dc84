"""ONE BATCH, START TO END. Read this first. These lines call the rest of the pipeline."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from pipeline.ingest.embed import embed_all
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.precedence import find_overtaken
from pipeline.ingest.prepare import prepare_batch
from pipeline.ingest.same_faces import numbers_of_faces
from pipeline.ingest.staging import load_block, put_block
from pipeline.ports import Deps, ImageLimits
from pipeline.ports.image_rows import view_row_id
from pipeline.types import (
    CONTENT_REASONS,
    BatchReport,
    CollectionRef,
    EmbedBatch,
    Embedded,
    IndexRow,
    Prepared,
    PreparedBatch,
    Rejected,
    VersionEntry,
    VersionState,
    indexed_version,
)

T = TypeVar("T", Embedded, Rejected)

NOTHING_CLAIMED: Mapping[str, int] = {}


def run_batch(
    batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock | None = None
) -> BatchReport:
    """Bring the index in step with the objects of one batch. Safe to run twice.

    Args:
        clock: one that has measured earlier phases, which then are in the report's seconds.

    Raises:
        TransientError: a service is away. Nothing is lost by running the batch again.
        FatalError: this process cannot go on.
    """
    clock = clock or PhaseClock()
    with _prepared(batch, deps, limits, clock) as prepared:
        return index_prepared(batch, prepared, deps, clock)


def stage_batch(batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock) -> BatchReport | None:
    """The first half of a batch, on a worker without a model: its pixels wait in the staging bucket.

    The block carries the seconds of `clock`, so that the ledger's account of the batch is whole.

    Returns:
        None when a block is there for `run_batch`. A report when no image of the batch needs the model.
    """
    with prepare_batch(batch, deps, limits, clock) as prepared, clock.measure("wait"):
        outcomes = tuple(prepared.outcomes)
        made = replace(prepared, outcomes=outcomes)
    if not any(isinstance(outcome, Prepared) for outcome in outcomes):
        return index_prepared(batch, made, deps, clock)
    made = replace(made, outcomes=_write_reused(batch, outcomes, made.stored, deps, clock))
    put_block(batch, replace(made, seconds=clock.seconds()), deps, clock)
    return None


@contextmanager
def _prepared(
    batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock
) -> Iterator[PreparedBatch]:
    """From the batch's block; from the objects themselves where none was made, or it was swept."""
    block = load_block(batch, deps, clock) if batch.staged else None
    if block is not None:
        yield block
        return
    with prepare_batch(batch, deps, limits, clock) as prepared:
        yield prepared


def _write_reused(
    batch: EmbedBatch,
    outcomes: Sequence[Prepared | Embedded | Rejected],
    stored: Collection[str],
    deps: Deps,
    clock: PhaseClock,
) -> tuple[Prepared | Embedded | Rejected, ...]:
    """Write what needs no model. Returns the outcomes without those for which the batch is late."""
    reused = [outcome for outcome in outcomes if isinstance(outcome, Embedded)]
    late = find_overtaken(batch, [indexed_version(item.ref) for item in reused], deps) if reused else {}
    write_rows(batch.target, _timely(reused, late), stored, deps, clock)
    return tuple(item for item in outcomes if not isinstance(item, Embedded) or item.ref.image_id not in late)


def index_prepared(
    batch: EmbedBatch,
    prepared: PreparedBatch,
    deps: Deps,
    clock: PhaseClock,
    *,
    claimed: Mapping[str, int] = NOTHING_CLAIMED,
) -> BatchReport:
    """Embed the prepared images, write them and remove stale rows. All other objects are unchanged.

    What a newer plan decides over is not written, and has no version in the report: see `catch_up`.

    Args:
        claimed: the sequence of each object that this batch has taken from a newer plan, by image id.
    """
    embedded, rejected = _embed(prepared.outcomes, deps, clock)
    versions = _versions(batch, embedded, rejected, prepared.stored, claimed)
    # As late as can be: a block may have waited for hours, and a batch is read and embedded for seconds.
    late = find_overtaken(batch, versions, deps)
    dropped = late.keys() & {*map(_id_of, embedded), *map(_id_of, rejected)}
    embedded, rejected = _timely(embedded, late), _timely(rejected, late)
    write_rows(batch.target, embedded, prepared.stored, deps, clock)
    remove_stale(batch.target, rejected, prepared.stored, deps, clock)
    indexed = len(embedded) + prepared.reused  # with those that nothing was found in
    return BatchReport(
        job_id=batch.job_id,
        path=batch.path,
        indexed=indexed,
        unchanged=len(batch.refs) - indexed - len(rejected),
        rejected=tuple(rejected),
        seconds=_sum(prepared.seconds, clock.seconds()),
        versions=tuple(version for version in versions if version.ref.image_id not in dropped),
        of_faces=deps.embedder.spec.has_views,
    )


def _id_of(item: Embedded | Rejected) -> str:
    return item.ref.image_id


def _timely(items: Sequence[T], late: Collection[str]) -> list[T]:
    return [item for item in items if _id_of(item) not in late]


def _embed(
    outcomes: Iterable[Prepared | Embedded | Rejected], deps: Deps, clock: PhaseClock
) -> tuple[list[Embedded], list[Rejected]]:
    embedded: list[Embedded] = []
    rejected: list[Rejected] = []
    found = embed_all(outcomes, deps.embedder, deps.concurrency.group_items, clock, beside=deps.beside)
    for outcome in found:
        if isinstance(outcome, Embedded):
            embedded.append(outcome)
        else:
            rejected.append(outcome)
    return embedded, rejected


def _sum(before: Mapping[str, float], here: Mapping[str, float]) -> Mapping[str, float]:
    return {stage: before.get(stage, 0.0) + here.get(stage, 0.0) for stage in {**before, **here}}


def write_rows(
    target: CollectionRef,
    embedded: Sequence[Embedded],
    stored: Collection[str],
    deps: Deps,
    clock: PhaseClock,
) -> None:
    if not embedded:
        return
    indexed_at, has_views = datetime.now(UTC), deps.embedder.spec.has_views
    with clock.measure("write"):
        numbers = numbers_of_faces(target, embedded, stored, deps.index) if has_views else {}
        images = {
            item.ref.image_id: _rows(item, indexed_at, numbers, has_views=has_views) for item in embedded
        }
        deps.index.replace_images(target, images)


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
            deps.index.delete_images(target, stale)


def _versions(
    batch: EmbedBatch,
    embedded: Sequence[Embedded],
    rejected: Sequence[Rejected],
    stored: Mapping[str, int],
    claimed: Mapping[str, int],
) -> list[VersionEntry]:
    """For the version book: what is not rejected is in the index, now or since before."""
    failed = {item.ref.image_id for item in rejected}
    vectors = dict(stored) | {item.ref.image_id: len(item.vectors) for item in embedded}
    indexed = [ref for ref in batch.refs if ref.image_id not in failed]
    versions = [
        *(indexed_version(ref, vectors.get(ref.image_id, 1)) for ref in indexed),
        *(_failed_version(item, stored) for item in rejected),
    ]
    return [replace(version, sequence=claimed.get(version.ref.image_id, 0)) for version in versions]


def _failed_version(item: Rejected, stored: Mapping[str, int]) -> VersionEntry:
    keeps_old_rows = item.reason not in CONTENT_REASONS
    return VersionEntry(
        ref=item.ref,
        state=VersionState.FAILED,
        vectors=stored.get(item.ref.image_id, 0) if keeps_old_rows else 0,
        stage=item.stage,
        reason=item.reason,
        detail=item.detail,
    )


def _rows(
    item: Embedded, indexed_at: datetime, numbers: Mapping[str, Sequence[int]], *, has_views: bool
) -> list[IndexRow]:
    image_id = item.ref.image_id
    of_views = numbers.get(image_id) or range(len(item.vectors))
    rows = [
        IndexRow(
            id=view_row_id(image_id, of_views[place]) if has_views else image_id,
            ref=item.ref,
            vector=vector,
            width=item.width,
            height=item.height,
            indexed_at=indexed_at,
            metadata={**item.metadata, **(item.of_views[place] if item.of_views else {})},
            beside=item.beside,
        )
        for place, vector in enumerate(item.vectors)
    ]
    return sorted(rows, key=lambda row: row.id)

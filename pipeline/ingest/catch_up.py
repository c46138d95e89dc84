"""A batch that is late for some of its objects looks at them anew, until the book lets it report.

Between a look into the book and a write into the index, others may write. So a batch looks before it writes,
and once more before its report. What was overtaken is done over: the store is asked, the object is claimed in
the book, and the version that is there now is brought into the index. A claim makes every older batch late.
So whoever wrote last has looked last, and all orders of events end with the same (decision 0078).
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from pipeline.errors import TransientError
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.precedence import ask_store, find_overtaken, is_same_write, is_settled
from pipeline.ingest.prepare import prepare_refs
from pipeline.ingest.run_batch import index_prepared
from pipeline.ports import Deps, ImageLimits
from pipeline.types import (
    BatchReport,
    EmbedBatch,
    ObjectRef,
    PreparedBatch,
    Reason,
    StoredVersion,
    VersionEntry,
    VersionState,
    indexed_version,
)

ROUNDS = 8  # each is lost only to somebody who was faster; after that the message waits for its turn


def catch_up(
    batch: EmbedBatch, report: BatchReport, deps: Deps, limits: ImageLimits, clock: PhaseClock
) -> BatchReport:
    """The report that may be written, after what was overtaken has been done over. Safe to run twice.

    An object of which the index holds a newer version counts as unchanged.

    Raises:
        TransientError: others were faster again and again. The batch comes back.
    """
    seen: dict[str, int] = {}  # entries with which all is well: their sequence by image id
    report = _accept_newer(batch, report, deps)
    for _ in range(ROUNDS):
        newer = find_overtaken(batch, report.versions, deps)
        late = {image_id: entry for image_id, entry in newer.items() if seen.get(image_id) != entry.sequence}
        if not late:
            return replace(report, seconds=clock.seconds()) if seen else report
        anew = _look_anew(batch, late, deps, clock)
        seen |= {image_id: late[image_id].sequence for image_id in anew.settled}
        report = _without(report, anew.settled)
        report = _bring_in(replace(batch, refs=anew.missing), report, anew, deps, limits, clock)
    raise TransientError(f"batch {batch.path} of job {batch.job_id}: its objects change too fast")


def may_have_harmed(batch: EmbedBatch, deps: Deps) -> bool:
    """Whether a delivery of a closed batch could have written rows that the book does not know, or not so."""
    return bool(find_overtaken(batch, (), deps) or _unknown_ids(batch, deps))


def mend_closed(batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock) -> None:
    """Of a batch that is closed already: mend what a delivery of it has written since. Safe to run twice."""
    _remove_unknown(batch, deps)
    report = BatchReport(
        job_id=batch.job_id, path=batch.path, indexed=0, unchanged=len(batch.refs), rejected=()
    )
    mended = catch_up(batch, report, deps, limits, clock)
    if mended.versions:
        deps.ledger.book.write(batch.target.generation, mended.versions)


def _remove_unknown(batch: EmbedBatch, deps: Deps) -> None:
    """Each planned object has an entry until it is removed and no batch of it is open: these are removed."""
    stored = deps.index.get_versions(batch.target, unknown) if (unknown := _unknown_ids(batch, deps)) else {}
    if stored:
        deps.index.delete_images(batch.target, sorted(stored))
        generation = batch.target.generation
        deps.ledger.book.claim(generation, deps.ledger.book.find(generation, sorted(stored)))


def _unknown_ids(batch: EmbedBatch, deps: Deps) -> list[str]:
    generation = batch.target.generation
    image_ids = [ref.image_id for ref in batch.refs]
    known = {entry.ref.image_id for entry in deps.ledger.book.find(generation, image_ids)}
    unknown = [image_id for image_id in image_ids if image_id not in known]
    # Before the book is filled from an older index, it knows less than there is.
    return unknown if unknown and deps.ledger.book.filled_to(generation) is None else []


@dataclass(frozen=True, kw_only=True, slots=True)
class _Anew:
    """What a second look says of late objects. `sequences` are of those that this batch has claimed."""

    settled: frozenset[str]  # all is well with them as long as their entry stays as it is
    held: tuple[ObjectRef, ...] = ()  # claimed, and the index has this version
    missing: tuple[ObjectRef, ...] = ()  # claimed, and to be brought into the index
    stored: Mapping[str, int] = field(default_factory=dict)  # rows of each that has any
    sequences: Mapping[str, int] = field(default_factory=dict)


def _look_anew(batch: EmbedBatch, late: Mapping[str, VersionEntry], deps: Deps, clock: PhaseClock) -> _Anew:
    with clock.measure("lookup"):
        stored = deps.index.get_versions(batch.target, sorted(late))
    settled, held, missing = set[str](), set[str](), list[tuple[VersionEntry, ObjectRef]]()
    for planned in batch.refs:
        image_id = planned.image_id
        if (entry := late.get(image_id)) is None:
            continue
        if entry.state is VersionState.REMOVED:
            settled.add(image_id)
            continue
        present = ask_store(entry.ref, deps.store)
        if is_settled(entry, planned, present, stored.get(image_id)):
            settled.add(image_id)
            continue
        ref = present or entry.ref  # what is gone is tried, and fails with that reason
        missing.append((entry, ref))
        # Of what was planned, the same bytes may have been written again since, with other metadata.
        is_known = present is not None and entry.state is not VersionState.PLANNED
        is_held = is_known and _etag_of(image_id, stored) == ref.etag
        if is_held and (planned != ref or is_same_write(planned, ref)):
            held.add(image_id)
    # Taken out on purpose: whatever the store says, it stays out.
    if doomed := sorted(settled & stored.keys() & _removed(late)):
        deps.index.delete_images(batch.target, doomed)
    generation = batch.target.generation
    entries = [entry for entry, _ in missing]
    sequences = deps.ledger.book.claim(generation, entries) if entries else {}
    claimed = [ref for _, ref in missing if ref.image_id in sequences]
    return _Anew(
        settled=frozenset(settled),
        held=tuple(ref for ref in claimed if ref.image_id in held),
        missing=tuple(ref for ref in claimed if ref.image_id not in held),
        stored={image_id: version.rows for image_id, version in stored.items()},
        sequences=sequences,
    )


def _etag_of(image_id: str, stored: Mapping[str, StoredVersion]) -> str | None:
    version = stored.get(image_id)
    return version.etag if version else None


def _removed(entries: Mapping[str, VersionEntry]) -> set[str]:
    return {image_id for image_id, entry in entries.items() if entry.state is VersionState.REMOVED}


def _bring_in(
    part: EmbedBatch,
    report: BatchReport,
    anew: _Anew,
    deps: Deps,
    limits: ImageLimits,
    clock: PhaseClock,
) -> BatchReport:
    held = [
        replace(indexed_version(ref, anew.stored[ref.image_id]), sequence=anew.sequences[ref.image_id])
        for ref in anew.held
    ]
    report = _with_results(report, held, written=False)
    if not part.refs:
        return report
    with closing(prepare_refs(part.refs, part.target, deps, limits, clock)) as outcomes:
        prepared = PreparedBatch(outcomes=outcomes, stored=anew.stored)
        done = index_prepared(part, prepared, deps, clock, claimed=anew.sequences)
    return _with_results(report, done.versions, written=True, rejected=done)


def _accept_newer(batch: EmbedBatch, report: BatchReport, deps: Deps) -> BatchReport:
    """What was overwritten since the listing is no failure if another batch has brought in what is there."""
    changed = [rejected.ref for rejected in report.rejected if rejected.reason is Reason.CHANGED]
    if not changed:
        return report
    stored = deps.index.get_versions(batch.target, [ref.image_id for ref in changed])
    present = [ask_store(ref, deps.store) for ref in changed]
    held = [
        indexed_version(ref, stored[ref.image_id].rows)
        for ref in present
        if ref is not None and _etag_of(ref.image_id, stored) == ref.etag
    ]
    return _with_results(report, held, written=False)


def _without(report: BatchReport, image_ids: Collection[str]) -> BatchReport:
    """A failure with an old version says nothing: the index holds what it should."""
    rejected = tuple(item for item in report.rejected if item.ref.image_id not in image_ids)
    failed = {item.ref.image_id for item in report.rejected} & set(image_ids)
    return replace(
        report,
        rejected=rejected,
        unchanged=report.unchanged + len(failed),
        versions=tuple(version for version in report.versions if version.ref.image_id not in failed),
    )


def _with_results(
    report: BatchReport,
    results: Iterable[VersionEntry],
    *,
    written: bool,
    rejected: BatchReport | None = None,
) -> BatchReport:
    """Put later results in the place of earlier ones. What was counted as indexed or unchanged stays so."""
    later = {version.ref.image_id: version for version in results}
    failed = {item.ref.image_id for item in report.rejected}
    counted = {version.ref.image_id for version in report.versions} - failed
    fails_now = [] if rejected is None else rejected.rejected
    new_failures = [item for item in fails_now if item.ref.image_id not in counted]
    kept = [item for item in report.rejected if item.ref.image_id not in later]
    indexed = sum(
        written and version.state is not VersionState.FAILED and image_id not in counted
        for image_id, version in later.items()
    )
    items = report.indexed + report.unchanged + len(report.rejected)
    failures = (*kept, *new_failures)
    return replace(
        report,
        indexed=report.indexed + indexed,
        unchanged=items - report.indexed - indexed - len(failures),
        rejected=failures,
        versions=(
            *(version for version in report.versions if version.ref.image_id not in later),
            *later.values(),
        ),
    )

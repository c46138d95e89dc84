"""From a listing and the version book to batches: streamed, in order, resumable from a cursor."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from pipeline.ingest.compare import Change, Compared, compare_versions
from pipeline.ingest.message import encode_batch
from pipeline.ingest.selection import selection_of
from pipeline.ports import NO_FINDINGS, ObjectStore, VersionBook, is_storable
from pipeline.types import (
    EmbedBatch,
    FailedAt,
    Findings,
    Job,
    JobRequest,
    ObjectRef,
    PlannedBatch,
    Rejected,
    VersionEntry,
    generation_of,
)

logger = logging.getLogger(__name__)

# Keys of 4 KiB are legal, and JSON makes six bytes of a control character: 3 MiB at worst, which every reader
# takes and no broker refuses.
MAX_BATCH_KEY_BYTES = 2**19
# A bucket may hold millions of keys that are no images or have not changed: the cursor moves on through them.
MAX_PASSED_KEYS = 10_000
MAX_NAMED_KEYS = 1_000  # that a step names one by one: missing, known to fail, noted


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanStep:
    """One batch, and the changes that must be recorded with it in the same transaction.

    `batch` is None when no key of this stretch has to be embedded.
    """

    batch: PlannedBatch | None
    cursor: str
    ignored: int  # objects ignored since the previous step
    findings: Findings = NO_FINDINGS


GoOn = Callable[[], bool]


class JobPlan(Iterator[PlanStep]):
    """The steps of the rest of a job. Holds one batch and a page of listing and book in memory."""

    def __init__(self, compared: Iterable[Compared], job: Job, go_on: GoOn, *, since: int) -> None:
        self.is_whole = False  # whether the listing has come to its end, once no step is left
        self._go_on = go_on
        self._steps = cut_batches(
            self._watched(compared),
            job_id=job.job_id,
            request=job.request,
            first_number=job.planned_batches,
            since=since,
        )

    def __next__(self) -> PlanStep:
        return next(self._steps)

    def _watched(self, compared: Iterable[Compared]) -> Iterator[Compared]:
        for found in compared:
            yield found
            # Only where the cursor moves on with it: a plan that stops before would begin at the same place.
            if found.change is not Change.KEPT and not self._go_on():
                return
        self.is_whole = True


def plan_job(
    job: Job,
    store: ObjectStore,
    book: VersionBook,
    *,
    go_on: GoOn = lambda: True,
    on_missed_link: Callable[[ObjectRef], None] = lambda _: None,
) -> JobPlan:
    """Cut the rest of a job into batches.

    Args:
        go_on: asked after each key. When it says no, the keys so far become the last step.
        on_missed_link: is told of each link that is not followed and would be tried if it were.
    """
    request = job.request
    generation = generation_of(request.collection, request.fingerprint)
    selection = selection_of(request.include, request.exclude)
    since = book.last_sequence(generation)  # before the first page of the listing

    def listed() -> Iterator[ObjectRef]:
        for ref in store.list_objects(request.bucket, request.prefix, job.cursor):
            if selection.misses(ref):
                on_missed_link(ref)
            if is_storable(ref.key):
                yield ref
            else:  # not even as a failure: nothing could be recorded of it
                shown = f"{ref.key!a:.300}"
                logger.warning("a key with a character that no database keeps", extra={"key": shown})

    entries = book.list_versions(
        generation,
        request.bucket,
        request.prefix,
        start_after=job.cursor,
    )
    return JobPlan(compare_versions(listed(), entries, request), job, go_on, since=since)


def cut_batches(
    compared: Iterable[Compared],
    *,
    job_id: str,
    request: JobRequest,
    first_number: int = 0,
    since: int | None = None,
) -> Iterator[PlanStep]:
    """Cut new and changed objects into numbered batches, and count the rest.

    Args:
        first_number: the number of batches planned before; paths go on from there.
        since: see `Findings`.
    """
    draft, number = _Draft(since=since), first_number
    for found in compared:
        draft.take(found)
        if draft.is_full(request.batch_items):
            step = draft.to_step(number, job_id=job_id, request=request)
            yield step
            number += step.batch is not None
            draft = _Draft(since=since)
    if draft.cursor:
        yield draft.to_step(number, job_id=job_id, request=request)


def sum_findings(steps: Iterable[PlanStep]) -> Findings:
    """The changes that are recorded in one transaction."""
    parts = [step.findings for step in steps]
    return Findings(
        unchanged=sum(part.unchanged for part in parts),
        known=tuple(rejected for part in parts for rejected in part.known),
        missing=tuple(image_id for part in parts for image_id in part.missing),
        planned=tuple(ref for part in parts for ref in part.planned),
        noted=tuple(ref for part in parts for ref in part.noted),
        held=sum(part.held for part in parts),
        lost=sum(part.lost for part in parts),
        since=min((part.since for part in parts if part.since is not None), default=None),
    )


@dataclass(slots=True)
class _Draft:
    """The step that is being put together."""

    since: int | None
    cursor: str = ""
    chosen: list[ObjectRef] = field(default_factory=list)
    rewritten: set[str] = field(default_factory=set)
    key_bytes: int = 0
    ignored: int = 0
    unchanged: int = 0
    held: int = 0
    lost: int = 0
    known: list[Rejected] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    noted: list[ObjectRef] = field(default_factory=list)

    def take(self, found: Compared) -> None:
        if found.change is Change.KEPT:
            # The cursor stays in front of it: a later step would not know why it is kept.
            return
        self.cursor = found.ref.key
        if found.change is Change.IGNORED:
            self.ignored += 1
            return
        self.held += found.is_held
        match found.change:
            case Change.NEW | Change.CHANGED | Change.AGAIN:
                self._choose(found.ref)
            case Change.REWRITTEN:
                self._choose(found.ref)
                self.rewritten.add(found.ref.key)
            case Change.UNCHANGED:
                self.unchanged += 1
            case Change.NOTED:
                self.unchanged += 1
                self.noted.append(found.ref)
            case Change.KNOWN_FAILURE:
                self.known.append(_known_failure(found.ref, found.entry))
            case Change.MISSING:
                self.lost += found.is_held
                self.missing.append(found.ref.image_id)
            case _:
                assert_never(found.change)

    def _choose(self, ref: ObjectRef) -> None:
        self.chosen.append(ref)
        self.key_bytes += len(ref.key.encode())

    def is_full(self, batch_items: int) -> bool:
        return (
            len(self.chosen) == batch_items
            or self.key_bytes >= MAX_BATCH_KEY_BYTES
            or self.ignored + self.unchanged >= MAX_PASSED_KEYS
            or len(self.known) + len(self.missing) + len(self.noted) >= MAX_NAMED_KEYS
        )

    def to_step(self, number: int, *, job_id: str, request: JobRequest) -> PlanStep:
        batch = None
        if self.chosen:
            batch = make_batch(
                self.chosen,
                job_id=job_id,
                request=request,
                path=f"{number:08d}",
                rewritten=frozenset(self.rewritten),
            )
        findings = Findings(
            unchanged=self.unchanged,
            known=tuple(self.known),
            missing=tuple(self.missing),
            planned=tuple(self.chosen),
            noted=tuple(self.noted),
            held=self.held,
            lost=self.lost,
            since=self.since,
        )
        return PlanStep(batch=batch, cursor=self.cursor, ignored=self.ignored, findings=findings)


def _known_failure(ref: ObjectRef, entry: VersionEntry | None) -> Rejected:
    assert entry is not None
    assert entry.reason is not None
    return Rejected(ref=ref, stage=entry.stage or FailedAt.WORKER, reason=entry.reason, detail=entry.detail)


def make_batch(
    refs: Sequence[ObjectRef],
    *,
    job_id: str,
    request: JobRequest,
    path: str,
    rewritten: frozenset[str] = frozenset(),
) -> PlannedBatch:
    batch = EmbedBatch(
        job_id=job_id,
        path=path,
        collection=request.collection,
        fingerprint=request.fingerprint,
        refs=tuple(refs),
        rewritten=rewritten,
    )
    return PlannedBatch(path=path, items=len(batch.refs), body=encode_batch(batch))


def retry_batches(refs: Sequence[ObjectRef], *, job: Job, attempt: str) -> list[PlannedBatch]:
    """Batches of the given objects alone; `attempt` makes their paths new: "retry1-00000000"."""
    runs = _runs(refs, job.request.batch_items)
    return [
        make_batch(run, job_id=job.job_id, request=job.request, path=f"{attempt}-{number:08d}")
        for number, run in enumerate(runs)
    ]


def again_batches(refs: Sequence[ObjectRef], *, job_id: str, request: JobRequest) -> list[PlannedBatch]:
    """Batches of objects that have to be written again, whatever the index seems to hold of them."""
    attempt = f"again{time.time_ns() // 1000:x}"  # a path never used before in this job
    return [
        make_batch(
            run,
            job_id=job_id,
            request=request,
            path=f"{attempt}-{number:08d}",
            rewritten=frozenset(ref.key for ref in run),
        )
        for number, run in enumerate(_runs(refs, request.batch_items))
    ]


def _runs(refs: Iterable[ObjectRef], max_items: int) -> Iterator[list[ObjectRef]]:
    run: list[ObjectRef] = []
    key_bytes = 0
    for ref in refs:
        run.append(ref)
        key_bytes += len(ref.key.encode())
        if len(run) == max_items or key_bytes >= MAX_BATCH_KEY_BYTES:
            yield run
            run, key_bytes = [], 0
    if run:
        yield run

"""From a listing to batches: streamed, in order, resumable from a cursor."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.message import encode_batch
from pipeline.ports import ObjectStore
from pipeline.selection import Selection
from pipeline.types import EmbedBatch, Job, JobRequest, ObjectRef, PlannedBatch

# Keys of 4 KiB are legal, and JSON makes six bytes of a control character: 3 MiB at worst, which every reader
# takes and no broker refuses.
MAX_BATCH_KEY_BYTES = 2**19
# A bucket may hold millions of keys that are no images: the cursor moves on through them, too.
MAX_IGNORED_KEYS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanStep:
    """One batch and what must be recorded with it in the same transaction.

    `batch` is None when there were ignored keys only, many of them or the last ones.
    """

    batch: PlannedBatch | None
    cursor: str
    ignored: int  # objects ignored since the previous step


def plan_job(
    job: Job, store: ObjectStore, *, on_missed_link: Callable[[ObjectRef], None] = lambda _: None
) -> Iterator[PlanStep]:
    """Cut what is left of a job's listing into batches. Holds one batch and one listing page in memory.

    Args:
        on_missed_link: is told of each link that is not followed and would be tried if it were.
    """
    request = job.request
    selection = Selection(include=request.include, exclude=request.exclude)

    def listed() -> Iterator[ObjectRef]:
        for ref in store.list_objects(request.bucket, request.prefix, job.cursor):
            if selection.misses(ref):
                on_missed_link(ref)
            yield ref

    return cut_batches(listed(), job_id=job.job_id, request=request, first_number=job.planned_batches)


def cut_batches(
    refs: Iterable[ObjectRef], *, job_id: str, request: JobRequest, first_number: int = 0
) -> Iterator[PlanStep]:
    """Choose objects and cut them into numbered batches.

    Args:
        first_number: the number of batches planned before; paths go on from there.
    """
    selection = Selection(include=request.include, exclude=request.exclude)
    chosen: list[ObjectRef] = []
    number, ignored, key_bytes, cursor = first_number, 0, 0, ""
    for ref in refs:
        cursor = ref.key
        if selection.wants(ref):
            chosen.append(ref)
            key_bytes += len(ref.key.encode())
        else:
            ignored += 1
        full = len(chosen) == request.batch_items or key_bytes >= MAX_BATCH_KEY_BYTES
        if full or ignored == MAX_IGNORED_KEYS:
            batch = _numbered_batch(chosen, number, job_id=job_id, request=request)
            yield PlanStep(batch=batch, cursor=cursor, ignored=ignored)
            number += batch is not None
            chosen, ignored, key_bytes = [], 0, 0
    if chosen or ignored:
        batch = _numbered_batch(chosen, number, job_id=job_id, request=request)
        yield PlanStep(batch=batch, cursor=cursor, ignored=ignored)


def _numbered_batch(
    refs: Sequence[ObjectRef], number: int, *, job_id: str, request: JobRequest
) -> PlannedBatch | None:
    return make_batch(refs, job_id=job_id, request=request, path=f"{number:08d}") if refs else None


def make_batch(refs: Sequence[ObjectRef], *, job_id: str, request: JobRequest, path: str) -> PlannedBatch:
    batch = EmbedBatch(
        job_id=job_id,
        path=path,
        collection=request.collection,
        fingerprint=request.fingerprint,
        refs=tuple(refs),
    )
    return PlannedBatch(path=path, items=len(batch.refs), body=encode_batch(batch))


def retry_batches(refs: Sequence[ObjectRef], *, job: Job, attempt: str) -> list[PlannedBatch]:
    """Batches of the given objects alone; `attempt` makes their paths new: "retry1-00000000"."""
    runs = _runs(refs, job.request.batch_items)
    return [
        make_batch(run, job_id=job.job_id, request=job.request, path=f"{attempt}-{number:08d}")
        for number, run in enumerate(runs)
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

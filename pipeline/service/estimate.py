"""What a job would take, before it is submitted: from a listing, and from the pace of an earlier job."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.ingest.compare import Change, compare_versions
from pipeline.ports import Ledger, ObjectStore
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.preview import check_book
from pipeline.types import CollectionInfo, JobRequest, ModelSpec, Pace

MAX_LISTED = 100_000  # objects; a bucket lists some thousand a second
MAX_LIST_S = 10.0
CLOCK_EVERY = 256  # objects between two looks at the clock

NUMBER_BYTES = {"float32": 4, "float16": 2}
DONE_OVER = frozenset({Change.NEW, Change.CHANGED, Change.REWRITTEN, Change.AGAIN})
SETTLED = frozenset({Change.UNCHANGED, Change.NOTED, Change.KNOWN_FAILURE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Counts of objects in a listing. `objects` are those that the job would read, of `size_bytes` in all.

    `is_complete` is False when the listing was left before its end: the counts are of its first part.
    `vector_bytes` is None for a model that looks at parts of images, of which there may be any number.
    `pace` is None when no job of this model has ended in this ledger.
    """

    is_complete: bool
    listed: int
    ignored: int
    unchanged: int
    objects: int
    size_bytes: int
    vector_bytes: int | None
    pace: Pace | None

    @property
    def seconds(self) -> float | None:
        return self.pace.seconds / self.pace.objects * self.objects if self.pace else None


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimatePorts:
    store: ObjectStore
    ledger: Ledger
    clock_s: Callable[[], float] = time.monotonic


def estimate_job(
    request: JobRequest,
    spec: ModelSpec,
    existing: CollectionInfo | None,
    vector_type: str,
    ports: EstimatePorts,
    caller: Caller,
) -> Estimate:
    """Compare a listing with the version book. Nothing is written, and no object is read.

    Args:
        existing: the generation, if it is there.
        vector_type: of the collection, or of one that would be made.

    Raises:
        ConflictError: the collection is older than the version book, which has not been filled from it yet.
        DeniedError: the caller may not submit this job.
    """
    require(caller, Permission.WRITE)
    require_names(caller, collection=request.collection, buckets=[request.bucket])
    check_book(request, existing, ports.ledger.book)
    counts, size_bytes, is_complete = _count(request, ports)
    objects = sum(counts[change] for change in DONE_OVER)
    return Estimate(
        is_complete=is_complete,
        listed=counts.total(),
        ignored=counts[Change.IGNORED],
        unchanged=sum(counts[change] for change in SETTLED),
        objects=objects,
        size_bytes=size_bytes,
        vector_bytes=None if spec.has_views else objects * spec.dim * NUMBER_BYTES[vector_type],
        pace=ports.ledger.find_pace(request.fingerprint),
    )


def _count(request: JobRequest, ports: EstimatePorts) -> tuple[Counter[Change], int, bool]:
    """Listed objects by their change, the bytes of those to read, and whether the listing is at its end."""
    counts: Counter[Change] = Counter()
    size_bytes, ends_s = 0, ports.clock_s() + MAX_LIST_S
    book = ports.ledger.book
    entries = book.list_versions(request.target.generation, request.bucket, request.prefix)
    refs = ports.store.list_objects(request.bucket, request.prefix)
    for number, compared in enumerate(compare_versions(refs, entries, request)):
        if compared.change in (Change.MISSING, Change.KEPT):
            continue  # of the book, and not listed
        late = number % CLOCK_EVERY == 0 and ports.clock_s() > ends_s
        if late or counts.total() == MAX_LISTED:
            return counts, size_bytes, False
        counts[compared.change] += 1
        if compared.change in DONE_OVER:
            size_bytes += compared.ref.size_bytes
    return counts, size_bytes, True

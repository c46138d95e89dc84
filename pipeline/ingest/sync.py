"""The steps around the plan of a job: the book is made ready before, vanished objects are removed after.

Removal is the last act of a job. It begins in the book, where it makes batches of older plans late. Then the
rows leave the index, and then the entries leave the book. After a process that dies in between, entries are
still marked, and the next one goes on with them. Days may lie between a listing and the removal, when a job
is resumed. So the store is asked about each object once more.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

from pipeline.ingest.compare import Change, Compared, compare_versions
from pipeline.ingest.precedence import ask_store
from pipeline.ingest.removal import find_harmed, plan_once_more
from pipeline.ports import Deps, ObjectStore, VersionBook
from pipeline.types import (
    Job,
    JobRequest,
    JobState,
    VersionEntry,
    VersionState,
    generation_of,
    indexed_version,
)

DEFAULT_DELETE_SHARE = 0.2
ALWAYS_REMOVED = 4  # objects; of ten pictures, who deletes three means it. Only where no share was asked for
FILL_ENTRIES = 1000  # in one transaction
REMOVED_AT_ONCE = 1000  # objects; one call of the index and one transaction
ASKED_AT_ONCE = 16  # requests; a store answers each in milliseconds and takes many side by side

GoOn = Callable[[], bool]


def prepare_book(job: Job, deps: Deps, go_on: GoOn) -> bool:
    """Enter the rows of the index into the book. Takes long once, for a collection from before the book.

    All rows are read, also those of other sources: an index lists them by id, and only the book knows later
    which of them a source has lost. Without them every object would count as new. They come by pages, each
    a transaction, so memory is bounded and whoever is stopped goes on behind the last page.

    Args:
        go_on: asked before each piece of work; when it says no, the next call continues from there.

    Returns:
        Whether the book is ready.
    """
    generation, book = _generation(job.request), deps.ledger.book
    filled_to = book.filled_to(generation)
    if filled_to is None and job.cursor is not None:
        return True
    info = deps.index.get_generation(job.request.target)
    if info is None:
        return True  # dropped since the job was made: its batches will say so
    if info.rows == 0 and book.holds_rows(generation):
        # Dropped and made anew, or lost. Or a removal is between index and book: what was taken out stays.
        book.lose_rows(generation)
    if filled_to is None:
        return True
    # A listing first waits for the writes of others, 0.3 s. Where the count is 0, this job's submission has.
    is_empty = info.rows == 0 and not info.beside
    images = iter(()) if is_empty else deps.index.list_images(job.request.target, start_after=filled_to)
    while go_on():
        entries = [indexed_version(image.ref, image.rows) for image in islice(images, FILL_ENTRIES)]
        book.record_fill(generation, entries, filled_to=entries[-1].ref.image_id if entries else None)
        if not entries:
            return True
    return False


def remove_missing(job_id: str, deps: Deps, go_on: GoOn) -> bool:
    """Remove from index and book the objects that a job's complete listing did not show. Safe to run twice.

    Returns:
        Whether this is settled: removed, or refused in the job's `error`.
    """
    job = deps.ledger.get_job(job_id)
    settle_doubt(job, deps)
    if not job.removals_due:
        return True
    if not _may_remove(job):
        return False
    if job.request.keep_missing:  # said when the job was resumed, after its listing
        deps.ledger.finish_removals(job_id)
        return True
    if error := refusal(job.request, scanned=job.counts.scanned, held=job.held, lost=job.lost):
        deps.ledger.finish_removals(job_id, error=error)
        return True
    while go_on() and _may_remove(deps.ledger.get_job(job_id)):
        missing = deps.ledger.missing(job_id, limit=REMOVED_AT_ONCE)
        if not missing:
            deps.ledger.finish_removals(job_id)
            return True
        _remove(job, missing, deps)
    return False


def settle_doubt(job: Job, deps: Deps) -> None:
    """Whoever removed before may have died. Has it deleted rows that a newer plan had written meanwhile?"""
    if not job.removing:
        return
    target = job.request.target
    image_ids: Sequence[str] = job.removing
    if _may_remove(job):  # what is still to be removed is not in doubt
        entries = deps.ledger.book.find(target.generation, image_ids)
        image_ids = [entry.ref.image_id for entry in entries if entry.missing_in != job.job_id]
    if harmed := find_harmed(target, image_ids, deps.index, deps.ledger.book):
        plan_once_more(job, harmed, deps.ledger)
    deps.ledger.forget_removing(job.job_id)


def _remove(job: Job, missing: Sequence[VersionEntry], deps: Deps) -> None:
    image_ids = [entry.ref.image_id for entry in missing]
    sequence = deps.ledger.begin_removal(job.job_id, image_ids)
    # After that, so that no batch of an older plan can write what the store has no more.
    with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="stat") as pool:
        present = list(pool.map(lambda entry: ask_store(entry.ref, deps.store), missing))
    gone = [entry.ref.image_id for entry, ref in zip(missing, present, strict=True) if ref is None]
    back = [entry.ref.image_id for entry, ref in zip(missing, present, strict=True) if ref is not None]
    if back:  # the next job compares it with its listing
        deps.ledger.note_present(job.job_id, back)
    if gone:
        deps.index.delete_images(job.request.target, gone)
        deps.ledger.persons.forget_images(job.request.collection, gone)  # before this is settled
        deps.ledger.record_removal(job.job_id, gone, sequence)
    settle_doubt(replace(job, removing=tuple(image_ids)), deps)


def _may_remove(job: Job) -> bool:
    """Not while its listing goes on or was given up, nor after somebody has stopped it.

    A worker of the version before completes a job without a look at its removals: they are still due.
    """
    return job.planned and job.state in (JobState.RUNNING, JobState.COMPLETED)


def refusal(request: JobRequest, *, scanned: int, held: int, lost: int) -> str:
    """Why nothing may be removed, or an empty text.

    Args:
        scanned: objects that the listing showed.
        held: objects of the source that the index had.
        lost: of these, the ones that the listing did not show.
    """
    share, gone = request.max_delete_share, f"{lost} of {held} indexed objects of {request.location} are gone"
    advice = "if they are meant to be gone, run it again with --max-delete-share 1"
    if share is None:
        if lost and not scanned:
            return f"{gone} and the source is empty: nothing was removed; is it mounted? {advice}"
        if lost <= ALWAYS_REMOVED:
            return ""
        share = DEFAULT_DELETE_SHARE
    if lost <= share * held:
        return ""
    return f"{gone}, more than the share of {share:g} that may be removed: nothing was removed; {advice}"


@dataclass(slots=True)
class Outlook:
    """The changes that a job would make, each with its number of objects and the first keys."""

    counts: dict[Change, int] = field(default_factory=lambda: dict.fromkeys(Change, 0))
    first_keys: dict[Change, list[str]] = field(default_factory=lambda: {change: [] for change in Change})
    held: int = 0
    lost: int = 0

    @property
    def scanned(self) -> int:
        unlisted = (Change.IGNORED, Change.MISSING, Change.KEPT)
        return sum(count for change, count in self.counts.items() if change not in unlisted)


def preview(request: JobRequest, store: ObjectStore, book: VersionBook, *, first: int) -> Outlook:
    """Compare source and book, and write nothing.

    Args:
        first: how many keys are named of each change.
    """
    outlook = Outlook()
    entries = book.list_versions(_generation(request), request.bucket, request.prefix)
    for found in compare_versions(store.list_objects(request.bucket, request.prefix), entries, request):
        change = _as_shown(found)
        outlook.counts[change] += 1
        if len(outlook.first_keys[change]) < first:
            outlook.first_keys[change].append(found.ref.key)
        if change not in (Change.IGNORED, Change.KEPT):
            outlook.held += found.is_held
            outlook.lost += found.is_held and change is Change.MISSING
    return outlook


def _as_shown(found: Compared) -> Change:
    """To a reader, an object that was planned once and never indexed is new."""
    was_planned = found.entry is not None and found.entry.state is VersionState.PLANNED
    is_work = found.change in (Change.CHANGED, Change.REWRITTEN)
    return Change.NEW if was_planned and is_work and not found.is_held else found.change


def holds_any(request: JobRequest, book: VersionBook) -> bool:
    """Whether the book has objects of this source in the index."""
    entries = book.list_versions(_generation(request), request.bucket, request.prefix)
    return any(entry.vectors for entry in entries)


def _generation(request: JobRequest) -> str:
    return generation_of(request.collection, request.fingerprint)

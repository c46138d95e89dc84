"""Objects are taken out of the index, and whatever a newer plan has brought in meanwhile is put back.

The order is: the book first, so that batches of older plans are late from then on; the index; the book
again. Between the first two, a newer plan may write a row that is then deleted. So the index is compared with
the book afterwards, and what is missing is planned once more (decision 0079).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from pipeline.ingest.plan import again_batches
from pipeline.ports import Ledger, VectorIndex, VersionBook
from pipeline.types import (
    CollectionInfo,
    CollectionRef,
    Job,
    JobRequest,
    ObjectRef,
    StoredVersion,
    VersionEntry,
    VersionState,
)

ROUNDS = 8  # each is lost only to a report
AGAIN = "again-"  # how the ids of jobs begin that put back what a removal took along


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """`kept` objects were left alone, because they were planned later. `again` is the id of the job that
    brings in what was taken along by mistake, or empty.
    """

    kept: int
    again: str = ""


def take_out(
    image_ids: Sequence[str],
    info: CollectionInfo,
    index: VectorIndex,
    ledger: Ledger,
    *,
    meant_at: datetime,
    driver: str,
) -> Removal:
    """Remove what was planned up to a moment. Safe to run twice, at any later time.

    Args:
        driver: of the job that may be needed afterwards.
    """
    generation, book = info.ref.generation, ledger.book
    sequence = book.sequence_at(generation, meant_at)
    newer = {entry.ref.image_id for entry in book.begin_removal(generation, image_ids, sequence)}
    doomed = [image_id for image_id in image_ids if image_id not in newer]
    index.delete_images(info.ref, doomed)
    ledger.persons.forget_images(info.name, doomed)
    book.end_removal(generation, doomed, sequence)
    # Also what was left alone: an earlier delivery may have died after it had deleted a row of theirs.
    harmed = find_harmed(info.ref, image_ids, index, book)
    again = _plan_in_new_job(harmed, info, ledger, driver) if harmed else ""
    return Removal(kept=len(newer), again=again)


def find_harmed(
    target: CollectionRef, image_ids: Sequence[str], index: VectorIndex, book: VersionBook
) -> list[ObjectRef]:
    """Objects of which the index does not hold what the book says, as all writes up to now have left them.

    What is planned and not reported yet is claimed: then its batch looks once more before its report.
    """
    for _ in range(ROUNDS):
        entries = book.find(target.generation, image_ids)
        planned = [entry for entry in entries if entry.state is VersionState.PLANNED]
        if not planned or len(book.claim(target.generation, planned)) == len(planned):
            break  # else one has been reported meanwhile
    settled = [entry for entry in entries if entry.state not in (VersionState.PLANNED, VersionState.REMOVED)]
    stored = index.get_versions(target, [entry.ref.image_id for entry in settled]) if settled else {}
    return [entry.ref for entry in settled if not _is_kept(entry, stored.get(entry.ref.image_id))]


def _is_kept(entry: VersionEntry, stored: StoredVersion | None) -> bool:
    if entry.state is VersionState.INDEXED:
        return stored == StoredVersion(etag=entry.ref.etag, rows=entry.vectors)
    return (stored is not None) == (entry.vectors > 0)


def plan_once_more(job: Job, refs: Sequence[ObjectRef], ledger: Ledger) -> None:
    """Put objects into new batches of a job. If it is not running any more, the next job looks at them."""
    batches = again_batches(refs, job_id=job.job_id, request=job.request)
    if not ledger.plan_again(job.job_id, batches, refs):
        generation = job.request.target.generation
        ledger.book.claim(generation, ledger.book.find(generation, [ref.image_id for ref in refs]))


def _plan_in_new_job(refs: Sequence[ObjectRef], info: CollectionInfo, ledger: Ledger, driver: str) -> str:
    """The workers' watch takes up one of theirs within a minute. Any other is the caller's to run."""
    bucket = refs[0].bucket
    request = JobRequest(
        location=f"file://{quote(bucket)}" if bucket.startswith("/") else f"s3://{bucket}",
        bucket=bucket,
        prefix="",
        collection=info.name,
        model_name=info.model_name,
        fingerprint=info.fingerprint,
        keep_missing=True,
    )
    job = ledger.create_job(request, driver=driver, job_id=f"{AGAIN}{secrets.token_hex(8)}")
    plan_once_more(job, refs, ledger)
    ledger.finish_planning(job.job_id, ignored=0)
    return job.job_id

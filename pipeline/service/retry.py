"""Try the failed objects of a job again, in the same job (decision 0007)."""

import secrets

from pipeline.errors import ImageError
from pipeline.ingest.plan import retry_batches
from pipeline.ports import Ledger, ObjectStore
from pipeline.service.access import Caller
from pipeline.service.move import Move, check_move
from pipeline.types import WORKERS, JobState, ObjectRef


def retry_failures(job_id: str, ledger: Ledger, store: ObjectStore, caller: Caller) -> int:
    """Turn the failures of a job into pending batches, with the versions that the objects have now.

    It is one transaction, and runs nothing: that is for the driver of the job.

    Returns:
        How many objects will be tried again.

    Raises:
        ConflictError: the job is paused or cancelled, or another retry came first.
    """
    job = check_move(job_id, Move.RETRY, ledger, caller)
    refs = [failure.ref for failure in ledger.failures(job.job_id)]
    if refs:
        if (job.driver, job.state) == (WORKERS, JobState.FAILED):
            # The job runs again, and the messages that failed it were acknowledged: without this their
            # batches would be waited for in vain.
            ledger.forget_published(job.job_id)
        attempt = (
            f"retry{secrets.token_hex(8)}"  # a path never used before in this job, whatever the clock says
        )
        batches = retry_batches([_present_version(ref, store) for ref in refs], job=job, attempt=attempt)
        ledger.retry_failures(job.job_id, batches, [ref.image_id for ref in refs])
    return len(refs)


def _present_version(ref: ObjectRef, store: ObjectStore) -> ObjectRef:
    try:
        return store.stat(ref.bucket, ref.key)
    except ImageError:
        return ref  # gone or forbidden: the batch itself will say so

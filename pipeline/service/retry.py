"""Try the failed objects of a job again, in the same job (decision 0007)."""

import time

from pipeline.errors import ImageError
from pipeline.plan import retry_batches
from pipeline.ports import Ledger, ObjectStore
from pipeline.service.access import Caller, Role, require
from pipeline.types import Job, ObjectRef


def retry_failures(job: Job, ledger: Ledger, store: ObjectStore, caller: Caller) -> int:
    """Turn the failures of a job into pending batches, with the versions that the objects have now.

    It is one transaction, and runs nothing: that is for the driver of the job.

    Returns:
        How many objects will be tried again.
    """
    require(caller, Role.OPERATE)
    refs = [failure.ref for failure in ledger.failures(job.job_id)]
    if refs:
        attempt = f"retry{time.time_ns() // 1000:x}"  # a path never used before in this job
        batches = retry_batches([_present_version(ref, store) for ref in refs], job=job, attempt=attempt)
        ledger.retry_failures(job.job_id, batches, [ref.image_id for ref in refs])
    return len(refs)


def _present_version(ref: ObjectRef, store: ObjectStore) -> ObjectRef:
    try:
        return store.stat(ref.bucket, ref.key)
    except ImageError:
        return ref  # gone or forbidden: the batch itself will say so

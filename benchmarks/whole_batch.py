"""Whole batches through `handle_embed`, in this process, so that its clock tells what they cost."""

from collections.abc import Sequence

from pipeline.ingest.handle import handle_embed
from pipeline.ingest.plan import plan_job
from pipeline.ports import Deps, ImageLimits
from pipeline.types import WORKERS, JobRequest, JobState, Verdict


def plan_whole_job(deps: Deps, *, bucket: str, collection: str, batch_items: int) -> tuple[str, list[bytes]]:
    """Make a collection and a job over a bucket, and plan all of it.

    Returns:
        The job's id, and its messages.
    """
    spec = deps.embedder.spec
    deps.index.create_collection(collection, spec)
    request = JobRequest(
        location=f"s3://{bucket}",
        bucket=bucket,
        prefix="",
        collection=collection,
        model_name=spec.name,
        fingerprint=spec.fingerprint,
        batch_items=batch_items,
    )
    job = deps.ledger.create_job(request, driver=WORKERS)
    bodies, cursor = [], job.cursor
    for step in plan_job(job, deps.store, deps.ledger.book):
        batches = [step.batch] if step.batch else []
        deps.ledger.record_plan(
            job.job_id,
            batches,
            after=cursor,
            cursor=step.cursor,
            ignored=step.ignored,
            findings=step.findings,
        )
        cursor = step.cursor
        bodies += [batch.body for batch in batches]
    deps.ledger.finish_planning(job.job_id, ignored=0)
    return job.job_id, bodies


def handle_all(bodies: Sequence[bytes], deps: Deps, limits: ImageLimits) -> None:
    """Raises RuntimeError when a message is not acknowledged."""
    for body in bodies:
        handled = handle_embed(body, deps, limits)
        if handled.verdict is not Verdict.ACK:
            raise RuntimeError(f"a batch ended with {handled.verdict}: {handled.error}")


def check_all_indexed(job_id: str, images: int, deps: Deps) -> None:
    """Raises RuntimeError unless the job is complete and every image has a vector."""
    job = deps.ledger.get_job(job_id)
    if job.state is not JobState.COMPLETED or job.counts.indexed != images:
        raise RuntimeError(f"job is {job.state} with {job.counts}, {images} images were expected")

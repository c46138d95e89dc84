"""Operations on jobs, which bring a collection in step with a source."""

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from pipeline.client.calls import JSON_HEADERS, Call, Pages, json_body, new_key
from pipeline.client.requests import job_path, page_of
from pipeline.client.results import AnswerObject, Estimate, Failure, Job, Retried, reader_of

A = TypeVar("A", bound=AnswerObject)


def submit_job(
    source: str,
    *,
    collection: str = "",
    model: str = "",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    keep_missing: bool = False,
    max_delete_share: float | None = None,
    retry_failed: bool = False,
    batch_items: int = 0,
    restart: bool = False,
    resume: bool = False,
    idempotency_key: str = "",
) -> Call[Job]:
    """Bring a collection in step with a source. The job runs after the answer.

    Args:
        source: s3://bucket/prefix, or the absolute path of a folder that the service may read.
        collection, model: "" for those of the service.
        max_delete_share: 0..1; when more of the source's indexed objects are gone, none is removed.
        batch_items: objects per batch, 0 for the service's own number.
        restart: cancel an unfinished job of the same source, and begin anew.
        resume: go on with an unfinished job of the same source, if there is one; `Job.resumed` tells.
        idempotency_key: the same key twice is one job. "" makes a new one for this call, so that the client
            can send it again. Give your own for a submission that you may repeat. Not with `resume`.

    Raises:
        ConflictError: another submission has had this key.
    """
    # With a key, a job is new in any case. Without one, the same request is the same unfinished job.
    key = {} if resume else {"idempotency-key": idempotency_key or new_key()}
    return Call(
        method="POST",
        path="/v1/jobs",
        headers=JSON_HEADERS | key,
        body=json_body(
            {
                "source": source,
                "collection": collection,
                "model": model,
                "include": list(include),
                "exclude": list(exclude),
                "keep_missing": keep_missing,
                "max_delete_share": max_delete_share,
                "retry_failed": retry_failed,
                # Only when asked for: a service of the version before refuses fields that it does not know.
                "batch_items": batch_items or None,
                "restart": restart or None,
            }
        ),
        read=reader_of(Job),
    )


def estimate_job(
    source: str,
    *,
    collection: str = "",
    model: str = "",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    retry_failed: bool = False,
) -> Call[Estimate]:
    """What `submit_job` with these arguments would take. Nothing is made, and no object is read."""
    fields = {
        "source": source,
        "collection": collection,
        "model": model,
        "include": list(include),
        "exclude": list(exclude),
        "retry_failed": retry_failed,
    }
    return Call(
        method="POST",
        path="/v1/jobs/estimate",
        headers=JSON_HEADERS,
        body=json_body(fields),
        read=reader_of(Estimate),
    )


def list_jobs(*, page_items: int = 50, of_one_image: bool = False) -> Pages[Job]:
    """Jobs, newest first.

    Args:
        page_items: 1..1000 are asked for at once.
        of_one_image: also jobs of images that were indexed one by one.
    """
    params = {"of_one_image": "true"} if of_one_image else {}
    return Pages(call=lambda token: page_of("/v1/jobs", "jobs", Job, page_items, token, params))


def show_job(job_id: str) -> Call[Job]:
    """One job: its state and counts, where the time went and what held it up. Raises NotFoundError."""
    return Call(method="GET", path=job_path(job_id), read=reader_of(Job))


def job_failures(job_id: str, *, page_items: int = 100) -> Pages[Failure]:
    """Each object that failed, by key. Args: `page_items`, 1..1000, are asked for at once."""
    return Pages(call=partial(page_of, f"{job_path(job_id)}/failures", "failures", Failure, page_items))


def pause_job(job_id: str) -> Call[Job]:
    """Plan nothing more for now. Batches that are queued are finished. Raises ConflictError."""
    return _move(job_id, "pause", Job)


def cancel_job(job_id: str) -> Call[Job]:
    """Stop a job for good. What is indexed stays. Raises ConflictError."""
    return _move(job_id, "cancel", Job)


def resume_job(job_id: str) -> Call[Job]:
    """Let a paused or failed job go on, or a running one that nobody runs. Raises ConflictError."""
    return _move(job_id, "resume", Job)


def retry_job(job_id: str) -> Call[Retried]:
    """Try the objects again that failed, and only those. Raises ConflictError."""
    return _move(job_id, "retry", Retried)


def _move(job_id: str, move: str, kind: type[A]) -> Call[A]:
    # Not repeatable: the second time it would be refused, as the job is paused already.
    return Call(method="POST", path=f"{job_path(job_id)}/{move}", read=reader_of(kind), is_repeatable=False)

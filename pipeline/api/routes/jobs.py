"""Jobs: submit, follow, move."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.cursors import cursors_of
from pipeline.api.idempotency import IdempotencyKey, is_same, job_id_of, key_reused
from pipeline.api.job_bodies import (
    EstimateBody,
    FailureBody,
    Failures,
    JobBody,
    Jobs,
    NewJob,
    Retried,
    SubmittedJob,
)
from pipeline.api.middleware.callers import asks_still
from pipeline.errors import ConflictError, TransientError
from pipeline.names import check_collection_name
from pipeline.ports.model_binding import check_target
from pipeline.service import move, show
from pipeline.service.access import Caller, Permission, require
from pipeline.service.answers import estimate_json, failure_json, job_json
from pipeline.service.estimate import EstimatePorts, estimate_job
from pipeline.service.failed_picture import failed_picture
from pipeline.service.retry import retry_failures
from pipeline.service.submit import Submission
from pipeline.types import Job, JobState

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

POLL_S = 0.5  # as often as the ledger is asked for each stream of events
AWAY_POLL_S = 5.0  # and while it is away
HEARTBEAT_POLLS = 30  # a comment every 15 s, since proxies end a stream that is silent for a minute
OVER = (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)

PageSize = Annotated[int, Query(ge=1, le=1000, description="Entries of a page")]
NextToken = Annotated[str, Query(max_length=4096, description="As the page before gave it")]


@router.get("")
def list_jobs(
    ports: Ports,
    caller: Asks,
    request: Request,
    max_results: PageSize = 50,
    next_token: NextToken = "",
    of_one_image: Annotated[bool, Query(description="Also jobs of images indexed one by one")] = False,
) -> Jobs:
    """Jobs, newest first. Those of images that were indexed one by one are left out by default."""
    cursors = cursors_of(request)
    before = cursors.read(next_token, of="jobs") if next_token else None
    found = show.list_jobs(
        ports.ledger, caller, limit=max_results + 1, before=before, of_one_image=of_one_image
    )
    page = found[:max_results]
    more = cursors.sign(page[-1].job_id, of="jobs") if len(found) > max_results else None
    return Jobs(jobs=[_body(job) for job in page], next_token=more)


@router.post("", status_code=202)
def submit_job(
    body: NewJob,
    ports: Ports,
    caller: Asks,
    response: Response,
    idempotency_key: IdempotencyKey = "",
) -> SubmittedJob:
    """Bring a collection in step with a folder or bucket. The job runs after the answer."""
    wanted = _wanted(body, ports, caller)
    job_id = job_id_of(idempotency_key, caller)
    earlier = show.find_job_if_any(job_id, ports.ledger, caller) if job_id else None
    if earlier:
        job, resumed = earlier, False
    else:
        job, resumed = ports.submit(wanted, body.model, caller, job_id=job_id, restart=body.restart)
    if job_id:  # also of a new job: another process may have made it a moment before
        _check_same(job, wanted, body, ports)
    response.headers["location"] = f"/v1/jobs/{job.job_id}"
    return SubmittedJob.model_validate(job_json(job) | {"resumed": resumed})


@router.post("/estimate")
def estimate(body: NewJob, ports: Ports, caller: Asks) -> EstimateBody:
    """What this submission would take. Nothing is made and no object is read.

    The source is listed for 10 seconds and 100,000 objects at most. The time follows from an earlier job of
    the same model; without one it is not known.
    """
    wanted = _wanted(body, ports, caller)
    existing = ports.index.get_collection(wanted.collection)
    spec = ports.model_for_job(body.model, wanted.collection).spec
    if existing is not None:
        check_target(existing, spec)
    estimated = estimate_job(
        wanted.request_for(spec),
        spec,
        existing,
        existing.vector_type if existing is not None else ports.settings.vector_type,
        EstimatePorts(store=ports.store, ledger=ports.ledger),
        caller,
    )
    asked = {"source": wanted.location.url, "collection": wanted.collection, "model": spec.name}
    return EstimateBody.model_validate(asked | estimate_json(estimated))


@router.get("/{job_id}")
def show_job(job_id: str, ports: Ports, caller: Asks) -> JobBody:
    """One job: its state and counts, where the time went and what held it up."""
    return JobBody.model_validate(_shown(job_id, ports, caller))


@router.get("/{job_id}/failures")
def show_failures(
    job_id: str,
    ports: Ports,
    caller: Asks,
    request: Request,
    max_results: PageSize = 100,
    next_token: NextToken = "",
) -> Failures:
    """Each object that failed, with stage, reason and detail, by key."""
    cursors, of = cursors_of(request), f"failures of {job_id}"
    after = cursors.read(next_token, of=of) if next_token else ""
    failures = show.show_failures(job_id, ports.ledger, caller, start_after=after)
    found = list(islice(failures, max_results + 1))
    page = found[:max_results]
    more = cursors.sign(page[-1].ref.key, of=of) if len(found) > max_results else None
    return Failures(
        failures=[FailureBody.model_validate(failure_json(failure)) for failure in page], next_token=more
    )


@router.get(
    "/{job_id}/failures/{image_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "JPEG, upright"}},
)
def failure_thumbnail(
    job_id: str,
    image_id: str,
    ports: Ports,
    caller: Asks,
    side_px: Annotated[int, Query(ge=16, le=1024, description="Longer side")] = 220,
) -> Response:
    """A small picture of an object that failed, as it is now. Most of them still cannot be drawn."""
    with ports.decoding:
        body = failed_picture(
            job_id, image_id, ports.ledger, ports.store, ports.limits, caller, side_px=side_px
        )
    return Response(body, media_type="image/jpeg")


@router.get("/{job_id}/events", response_class=StreamingResponse)
async def follow_job(
    job_id: str,
    ports: Ports,
    caller: Asks,
    request: Request,
    last_event_id: Annotated[str, Header(description="Of the last event that arrived")] = "",
) -> StreamingResponse:
    """Server-sent events: the whole job each time that it has changed, until it is over.

    An event that was missed is never needed: the next one holds all of the job.
    """
    await run_in_threadpool(show.find_job, job_id, ports.ledger, caller)  # 404 before the stream begins
    events = _events(job_id, ports, caller, last_event_id, request)
    return StreamingResponse(events, media_type="text/event-stream")


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, ports: Ports, caller: Asks) -> JobBody:
    """Plan nothing more, and skip the batches that are still queued. What is indexed stays."""
    move.cancel_job(job_id, ports.ledger, caller)
    return _body(ports.ledger.get_job(job_id))


@router.post("/{job_id}/pause")
def pause_job(job_id: str, ports: Ports, caller: Asks) -> JobBody:
    """Plan nothing more for now. Batches that are queued are finished."""
    move.pause_job(job_id, ports.ledger, caller)
    return _body(ports.ledger.get_job(job_id))


@router.post("/{job_id}/resume", status_code=202)
def resume_job(job_id: str, ports: Ports, caller: Asks) -> JobBody:
    """Let a paused or failed job go on. A running job that nobody runs goes on, too."""
    _check_driver(job_id, ports)
    job = move.resume_job(job_id, ports.ledger, caller)
    ports.runner.start(job_id)
    return _body(job)


@router.post("/{job_id}/retry", status_code=202)
def retry_job(job_id: str, ports: Ports, caller: Asks) -> Retried:
    """Try the objects again that failed, and only those."""
    _check_driver(job_id, ports)
    count = retry_failures(job_id, ports.ledger, ports.store, caller)
    if count:
        ports.runner.start(job_id)
    return Retried(job=_body(ports.ledger.get_job(job_id)), retried=count)


async def _events(
    job_id: str, ports: Backend, caller: Caller, seen: str, request: Request
) -> AsyncIterator[str]:
    polls = 0
    while True:
        try:
            if not await asks_still(request.scope):  # a key may be revoked in the middle
                return
            fields = await run_in_threadpool(_shown, job_id, ports, caller)
        except TransientError:  # it comes back, and so would the caller, again and again
            yield ": the ledger is away\n\n"
            if ports.stopping.is_set():
                return
            await asyncio.sleep(AWAY_POLL_S)
            continue
        body = json.dumps(fields)
        event_id = hashlib.sha256(body.encode()).hexdigest()[:16]
        if event_id != seen:
            yield f"id: {event_id}\nevent: job\ndata: {body}\n\n"
            seen = event_id
        if fields["state"] in OVER or ports.stopping.is_set():
            return  # whoever follows a job that is not over comes back, and gets another process
        polls += 1
        if polls % HEARTBEAT_POLLS == 0:
            yield ": still here\n\n"
        await asyncio.sleep(POLL_S)


def _shown(job_id: str, ports: Backend, caller: Caller) -> Mapping[str, object]:
    return show.shown_json(show.show_job(job_id, ports.ledger, ports.concurrency, caller))


def _body(job: Job) -> JobBody:
    return JobBody.model_validate(job_json(job))


def _wanted(body: NewJob, ports: Backend, caller: Caller) -> Submission:
    """Raises ArgumentError, DeniedError: no place or collection can be meant, or it may not be read."""
    require(caller, Permission.WRITE)  # before a model is read: its weights may be fetched from elsewhere
    return Submission(
        location=ports.location_of(body.source),
        collection=check_collection_name(body.collection or ports.settings.collection),
        include=body.include,
        exclude=body.exclude,
        batch_items=body.batch_items or ports.settings.batch_items,
        keep_missing=body.keep_missing,
        max_delete_share=body.max_delete_share,
        retry_failed=body.retry_failed,
    )


def _check_same(job: Job, wanted: Submission, body: NewJob, ports: Backend) -> None:
    """Raises ProblemError: the key belongs to other arguments."""
    same = is_same(job, wanted)
    if same and body.model:
        same = ports.model_for(body.model, wanted.collection).spec.fingerprint == job.request.fingerprint
    if not same:
        raise key_reused(job)


def _check_driver(job_id: str, ports: Backend) -> None:
    driver = ports.ledger.get_job(job_id).driver
    if driver != ports.driver:
        raise ConflictError(f"job {job_id} is run by {driver}, and this service runs those of {ports.driver}")

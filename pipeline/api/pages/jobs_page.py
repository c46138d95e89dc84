"""The pages of jobs: finished, running and failed ones, with reasons."""

import secrets
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field, ValidationError

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.bodies import MAX_TEXT_CHARS
from pipeline.api.job_bodies import EstimateBody, NewJob
from pipeline.api.pages.forms import FormBody, read_form
from pipeline.api.pages.rendering import render
from pipeline.api.problems import KINDS, ProblemError
from pipeline.api.routes import jobs
from pipeline.errors import PictorError
from pipeline.service import show
from pipeline.service.access import Caller, Permission
from pipeline.service.answers import http_status_of
from pipeline.types import WORKERS, Failure, JobState

router = APIRouter()

JOBS_SHOWN = 50
FAILURES_SHOWN = 24  # of each reason; the API has all of them, page by page
FAILURES_COUNTED = 100_000  # by reason


@dataclass(frozen=True, kw_only=True, slots=True)
class FailuresOfReason:
    reason: str
    count: int
    first: tuple[Failure, ...]


class JobForm(BaseModel):
    """A job that somebody may want. `token` is given with its estimate, and makes it one job."""

    source: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""
    collection: Annotated[str, Field(max_length=100)] = ""
    token: Annotated[str, Field(max_length=64)] = ""

    def job(self) -> NewJob:
        return NewJob(source=self.source.strip(), collection=self.collection)


@router.get("/jobs")
def jobs_page(request: Request, ports: Ports, caller: Asks, of_one_image: bool = False) -> HTMLResponse:
    """The newest jobs with their counts."""
    return _jobs_page(request, ports, caller, of_one_image=of_one_image)


@router.post("/jobs", response_model=None)
def new_job(request: Request, form: FormBody, ports: Ports, caller: Asks) -> Response:
    """What a job would take, and then the job: it is submitted with the token of its estimate alone."""
    wanted = read_form(form, JobForm)
    try:
        if wanted.token:
            job = jobs.submit_job(wanted.job(), ports, caller, Response(), wanted.token)
            return RedirectResponse(f"/jobs/{quote(job.job_id)}", status_code=303)
        estimate = jobs.estimate(wanted.job(), ports, caller)
    except (PictorError, ProblemError) as err:
        status = http_status_of(err.code) if isinstance(err, PictorError) else KINDS[err.code].status
        return _jobs_page(request, ports, caller, wanted=wanted, error=str(err), status=status)
    except ValidationError as err:
        raise RequestValidationError(err.errors()) from err
    token = f"page-{secrets.token_hex(16)}"
    return _jobs_page(
        request, ports, caller, wanted=wanted.model_copy(update={"token": token}), estimate=estimate
    )


def _jobs_page(
    request: Request,
    ports: Backend,
    caller: Caller,
    *,
    wanted: JobForm | None = None,
    estimate: EstimateBody | None = None,
    error: str = "",
    status: int = 200,
    of_one_image: bool = False,
) -> HTMLResponse:
    return render(
        request,
        "jobs.html",
        status=status,
        jobs=show.list_jobs(ports.ledger, caller, limit=JOBS_SHOWN, of_one_image=of_one_image),
        of_one_image=of_one_image,
        may_submit=Permission.WRITE in caller.permissions,
        wanted=wanted or JobForm(collection=ports.settings.collection),
        estimate=estimate,
        error=error,
        of_workers=ports.driver == WORKERS,
    )


@router.get("/jobs/{job_id}")
def job_page(request: Request, job_id: str, ports: Ports, caller: Asks) -> HTMLResponse:
    """One job: progress, bottleneck, failures by reason."""
    try:
        shown = show.show_job(job_id, ports.ledger, ports.concurrency, caller)
    except PictorError as err:
        return render(request, "error.html", status=http_status_of(err.code), error=str(err))
    failures = _failures(job_id, ports, caller)
    here = shown.job.driver == ports.driver
    is_left = shown.job.state is JobState.RUNNING and not ports.runner.has(job_id)
    return render(
        request, "job.html", shown=shown, job=shown.job, failures=failures, here=here, is_left=is_left
    )


def _failures(job_id: str, ports: Backend, caller: Caller) -> list[FailuresOfReason]:
    """The most frequent reason first."""
    first: defaultdict[str, list[Failure]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for failure in islice(show.show_failures(job_id, ports.ledger, caller), FAILURES_COUNTED):
        reason = failure.reason.value
        counts[reason] += 1
        if len(first[reason]) < FAILURES_SHOWN:
            first[reason].append(failure)
    return [
        FailuresOfReason(reason=reason, count=count, first=tuple(first[reason]))
        for reason, count in counts.most_common()
    ]

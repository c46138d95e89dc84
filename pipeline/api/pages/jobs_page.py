"""The pages of jobs: finished, running and failed ones, with reasons."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.pages.rendering import render
from pipeline.errors import PictorError
from pipeline.service import show
from pipeline.service.access import Caller
from pipeline.service.answers import http_status_of
from pipeline.types import Failure, JobState

router = APIRouter()

JOBS_SHOWN = 50
FAILURES_SHOWN = 24  # of each reason; the API has all of them, page by page
FAILURES_COUNTED = 100_000  # by reason


@dataclass(frozen=True, kw_only=True, slots=True)
class FailuresOfReason:
    reason: str
    count: int
    first: tuple[Failure, ...]


@router.get("/jobs")
def jobs_page(request: Request, ports: Ports, caller: Asks, of_one_image: bool = False) -> HTMLResponse:
    """The newest jobs with their counts."""
    jobs = show.list_jobs(ports.ledger, caller, limit=JOBS_SHOWN, of_one_image=of_one_image)
    return render(request, "jobs.html", jobs=jobs, of_one_image=of_one_image)


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

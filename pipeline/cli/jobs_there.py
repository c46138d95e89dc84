"""The jobs of a running service."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

from pipeline.cli.output import counted, note
from pipeline.cli.running_service import RunningService
from pipeline.client import Pictor

MAX_PAGE_ITEMS = 1000
BY_WORKERS = "workers"  # `Job.driver` of jobs that no service runs itself

Fields = Mapping[str, object]


@contextmanager
def jobs_there(service: RunningService) -> Iterator["JobsThere"]:
    with service.connect() as pictor:
        yield JobsThere(pictor, service)


class JobsThere:
    def __init__(self, pictor: Pictor, service: RunningService) -> None:
        self._pictor = pictor
        self._service = service

    def list(self, limit: int, *, of_one_image: bool) -> Iterable[Fields]:
        page_items = min(limit, MAX_PAGE_ITEMS)
        jobs = self._pictor.list_jobs(page_items=page_items, of_one_image=of_one_image)
        return [job.raw for job in islice(jobs, limit)]

    def show(self, job_id: str) -> Fields:
        return self._pictor.show_job(job_id).raw

    def failures(self, job_id: str) -> Iterable[Fields]:
        failures = self._pictor.job_failures(job_id, page_items=MAX_PAGE_ITEMS)
        return (failure.raw for failure in failures)

    def pause(self, job_id: str) -> None:
        self._pictor.pause_job(job_id)

    def cancel(self, job_id: str) -> None:
        self._pictor.cancel_job(job_id)

    def retry(self, job_id: str, *, as_json: bool) -> None:
        from pipeline.cli.follow_there import follow_to_end

        retried = self._pictor.retry_job(job_id)
        note(f"retrying {counted(retried.retried, 'object')} of job {job_id}")
        follow_to_end(retried.job, self._pictor, as_json=as_json)

    def resume(self, job_id: str) -> None:
        from pipeline.cli.follow_there import follow_to_end

        job = self._pictor.resume_job(job_id)
        if job.driver == BY_WORKERS:
            note(f"job {job_id} is running")
            return
        note(f"job {job_id} is running in the service at {self._service.url}")
        follow_to_end(job, self._pictor, as_json=False)

    def wait(self, job_id: str, *, as_json: bool) -> None:
        from pipeline.cli.follow_there import follow_to_end

        follow_to_end(self._pictor.show_job(job_id), self._pictor, as_json=as_json, while_paused=True)

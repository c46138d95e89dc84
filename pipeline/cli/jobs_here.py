"""The jobs of the ledger that this process opens. Those of this host are run here, too."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from pipeline import wiring
from pipeline.cli.outcome import done_of, print_counts, settle
from pipeline.cli.output import counted, note
from pipeline.cli.progress import JobProgress, ProgressState
from pipeline.cli.remote import wake_planner
from pipeline.cli.run_here import deps_of_job, finish, job_held_here
from pipeline.ports import WatchedLedger
from pipeline.service import move, show
from pipeline.service.access import local_caller
from pipeline.service.answers import failure_json, job_json
from pipeline.service.retry import retry_failures
from pipeline.settings import Settings
from pipeline.types import WORKERS, JobState

POLL_S = 0.5

Fields = Mapping[str, object]


@contextmanager
def jobs_here() -> Iterator["JobsHere"]:
    settings = Settings.from_env()
    with wiring.open_ledger(settings) as ledger:
        yield JobsHere(ledger, settings)


class JobsHere:
    def __init__(self, ledger: WatchedLedger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings

    def list(self, limit: int, *, of_one_image: bool) -> Iterable[Fields]:
        found = show.list_jobs(self._ledger, local_caller(), limit=limit, of_one_image=of_one_image)
        return [job_json(job) for job in found]

    def show(self, job_id: str) -> Fields:
        job = show.find_job(job_id, self._ledger, local_caller())
        # Of workers with the settings of whoever asks.
        concurrency = wiring.concurrency_of(self._settings, wiring.load_of_job(job, self._settings))
        return show.shown_json(show.show_job(job_id, self._ledger, concurrency, local_caller()))

    def failures(self, job_id: str) -> Iterable[Fields]:
        return (failure_json(failure) for failure in show.show_failures(job_id, self._ledger, local_caller()))

    def pause(self, job_id: str) -> None:
        move.pause_job(job_id, self._ledger, local_caller())

    def cancel(self, job_id: str) -> None:
        move.cancel_job(job_id, self._ledger, local_caller())

    def retry(self, job_id: str, *, as_json: bool) -> None:
        if self._is_of_workers(job_id):
            self._retry_by_workers(job_id, as_json=as_json)
            return
        ledger, settings = self._ledger, self._settings
        with job_held_here(job_id, ledger, settings) as job, deps_of_job(job, ledger, settings) as deps:
            count = retry_failures(job_id, ledger, deps.store, local_caller())
            note(f"retrying {counted(count, 'object')} of job {job_id}")
            finish(ledger.get_job(job_id), deps, settings, max_failure_rate=1.0, as_json=as_json)

    def resume(self, job_id: str) -> None:
        ledger, settings = self._ledger, self._settings
        if self._is_of_workers(job_id):
            move.resume_job(job_id, ledger, local_caller())
            note(f"job {job_id} is running")
            wake_planner(job_id, ledger, settings)
            return
        with job_held_here(job_id, ledger, settings) as job, deps_of_job(job, ledger, settings) as deps:
            resumed = move.resume_job(job_id, ledger, local_caller())
            note(f"job {job_id} is running in this process")
            finish(resumed, deps, settings, max_failure_rate=1.0, as_json=False)

    def wait(self, job_id: str, *, as_json: bool) -> None:
        started = time.perf_counter()
        before = job = show.find_job(job_id, self._ledger, local_caller())
        with JobProgress(done_before=done_of(before.counts)) as progress:
            while job.state in (JobState.RUNNING, JobState.PAUSED):
                progress.show(ProgressState.of(job))
                time.sleep(POLL_S)
                job = self._ledger.get_job(job_id)
        settle(
            job_id,
            ProgressState.of(job),
            seconds=time.perf_counter() - started,
            done=done_of(job.counts) - done_of(before.counts),
            as_json=as_json,
        )

    def _is_of_workers(self, job_id: str) -> bool:
        return self._ledger.get_job(job_id).driver == WORKERS

    def _retry_by_workers(self, job_id: str, *, as_json: bool) -> None:
        store = wiring.open_store(self._settings)
        count = retry_failures(job_id, self._ledger, store, local_caller())
        note(f"the workers try {counted(count, 'object')} of job {job_id} again")
        if count:
            wake_planner(job_id, self._ledger, self._settings)
        print_counts(job_id, self._ledger.get_job(job_id).counts, 0.0, 0, as_json=as_json)

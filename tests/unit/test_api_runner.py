"""The thread of the service that runs embedded jobs."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.runner import EmbeddedRunner, TwoLanes
from pipeline.embedded import DriverOptions
from pipeline.errors import TargetError
from pipeline.ports import Deps
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import Job, JobState
from tests.unit.fakes import BUCKET, HERE, LIMITS, distinct_png, indexed_keys, request_of

LIMIT_S = 60.0


class Watched:
    """A runner whose end of each job can be waited for."""

    def __init__(self, deps: Deps, folder: Path, kind: type[EmbeddedRunner] = EmbeddedRunner) -> None:
        self.deps = deps
        self.refused: set[str] = set()
        self.begun: list[str] = []
        self.runner = kind(
            self._deps_of,
            LIMITS,
            DriverOptions(batch_threads=1),
            driver=HERE,
            lock_folder=folder,
            ledger=deps.ledger,
        )

    def _deps_of(self, job: Job) -> Deps:
        self.begun.append(job.job_id)
        if job.job_id in self.refused:
            raise TargetError("no such collection")
        return self.deps

    def state(self, job_id: str) -> JobState:
        return self.deps.ledger.get_job(job_id).state


@pytest.fixture
def watched(deps: Deps, store: MemoryStore, tmp_path: Path) -> Watched:
    for number in range(3):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    return Watched(deps, tmp_path)


def job_id_of(ledger: SqlLedger) -> str:
    return ledger.create_job(request_of(), driver=HERE).job_id


def test_jobs_run_one_after_another_and_a_bad_one_costs_no_other(watched: Watched, ledger: SqlLedger) -> None:
    bad, good = job_id_of(ledger), job_id_of(ledger)
    watched.refused.add(bad)
    watched.runner.start(bad)
    watched.runner.start(good)
    _wait(lambda: watched.state(good) is JobState.COMPLETED)
    watched.runner.close()
    assert watched.begun == [bad, good]
    failed = ledger.get_job(bad)
    assert (failed.state, failed.error) == (JobState.FAILED, "no such collection")  # followers are told why
    assert indexed_keys(watched.deps) == ["0.png", "1.png", "2.png"]


def test_a_job_that_is_waiting_already_is_not_run_twice(watched: Watched, ledger: SqlLedger) -> None:
    first, second = job_id_of(ledger), job_id_of(ledger)
    hold = threading.Event()
    inner = watched._deps_of

    def held(job: Job) -> Deps:
        hold.wait(LIMIT_S)
        return inner(job)

    watched.runner._deps_of = held
    for job_id in (first, second, second, first):
        watched.runner.start(job_id)
    hold.set()
    _wait(lambda: watched.state(second) is JobState.COMPLETED)
    watched.runner.close()
    assert watched.begun == [first, second]


def test_a_job_of_one_image_does_not_wait_behind_a_large_one(
    watched: Watched, ledger: SqlLedger, deps: Deps, tmp_path: Path
) -> None:
    small = Watched(deps, tmp_path)
    lanes = TwoLanes(
        small=small.runner, large=watched.runner, is_small=lambda job_id: job_id.startswith("one-")
    )
    hold, inner = threading.Event(), watched._deps_of

    def held(job: Job) -> Deps:
        hold.wait(LIMIT_S)
        return inner(job)

    watched.runner._deps_of = held
    large = job_id_of(ledger)
    one = ledger.create_job(request_of(prefix="0.png"), driver=HERE, job_id="one-1").job_id
    for job_id in (large, one):
        lanes.start(job_id)
    _wait(lambda: small.state(one) is JobState.COMPLETED)
    assert watched.state(large) is JobState.RUNNING
    hold.set()
    _wait(lambda: watched.state(large) is JobState.COMPLETED)
    for runner in (small.runner, watched.runner):
        runner.close()


class ResumedLate(EmbeddedRunner):
    """Each job is paused before its first run. Somebody resumes it when that run ends."""

    def _go_on(self, job: Job) -> None:
        if job.state is JobState.PAUSED:
            self._ledger.set_state(job.job_id, JobState.RUNNING)
            self.start(job.job_id)
        super()._go_on(job)


def test_a_job_that_is_resumed_before_its_run_has_ended_goes_on(
    deps: Deps, store: MemoryStore, ledger: SqlLedger, tmp_path: Path
) -> None:
    store.put(BUCKET, "0.png", distinct_png(0))
    watched = Watched(deps, tmp_path, ResumedLate)
    inner, job_id = watched._deps_of, job_id_of(ledger)

    def pause_once(job: Job) -> Deps:
        if not watched.begun:
            ledger.set_state(job_id, JobState.PAUSED)
        return inner(job)

    watched.runner._deps_of = pause_once
    watched.runner.start(job_id)
    _wait(lambda: watched.state(job_id) is JobState.COMPLETED)
    watched.runner.close()
    assert watched.begun == [job_id, job_id]


def test_a_job_that_is_cancelled_while_it_waits_is_not_begun(watched: Watched, ledger: SqlLedger) -> None:
    first, second, third = (job_id_of(ledger) for _ in range(3))
    ledger.set_state(second, JobState.CANCELLED)
    for job_id in (first, second, third):
        watched.runner.start(job_id)
    _wait(lambda: watched.state(third) is JobState.COMPLETED)
    watched.runner.close()
    assert watched.begun == [first, third]


def test_a_closed_runner_begins_nothing(watched: Watched, ledger: SqlLedger) -> None:
    watched.runner.close()
    watched.runner.start(job_id_of(ledger))
    assert watched.begun == []


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT_S:g} s"
        time.sleep(0.02)

"""What a worker's processes do beside their tasks: files for probes, waits, jobs that stand still."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from pipeline.adapters.ledger.schema import job as job_table
from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.types import WORKERS, JobState
from tests.unit.fake_clock import FakeClock
from tests.unit.fakes import request_of
from tests.unit.memory_broker import MemoryBroker
from workers.broker.publish import Publisher
from workers.broker.queue_wait import due_stamp
from workers.metrics.metrics import metrics
from workers.planning.claim import STALLED_AFTER_S
from workers.planning.watch import StalledPlanners, StalledWatch
from workers.process.context import Context
from workers.process.lifecycle import HEARTBEAT_S, Heartbeat, mark_stopping, record_wait
from workers.process.signs import drains, make_signs


def test_the_main_process_touches_its_heartbeat_from_its_own_event_loop(
    context: Context, tmp_path: Path
) -> None:
    repeated: list[tuple[float, Callable[[], None]]] = []
    timer = SimpleNamespace(call_repeatedly=lambda pause_s, call, **_: repeated.append((pause_s, call)))
    Heartbeat(None).start(SimpleNamespace(timer=timer))
    heartbeat = tmp_path / "heartbeat"
    assert heartbeat.exists()
    [(pause_s, touch)] = repeated
    assert pause_s == HEARTBEAT_S
    heartbeat.unlink()
    touch()
    assert heartbeat.exists()


def test_a_child_that_takes_no_task_is_told_that_its_worker_drains(context: Context, tmp_path: Path) -> None:
    make_signs(tmp_path)
    assert not drains(tmp_path)
    mark_stopping()
    assert drains(tmp_path)


def waits(queue: str) -> float:
    samples = [sample for family in metrics()._queue_wait.collect() for sample in family.samples]
    return sum(
        sample.value
        for sample in samples
        if sample.name == "pictor_queue_wait_seconds_count" and sample.labels == {"queue": queue}
    )


@pytest.mark.parametrize(
    ("name", "headers", "counted"),
    [
        ("pictor.embed_batch", due_stamp(), 1),
        ("pictor.embed_batch", {}, 0),  # a foreign sender need not say when it was due
        ("pictor.embed_batch", None, 0),
        ("celery.ping", due_stamp(), 0),
    ],
)
def test_the_wait_of_our_tasks_is_counted(
    context: Context, name: str, headers: dict[str, object] | None, counted: int
) -> None:
    before = waits("embed")
    record_wait(SimpleNamespace(name=name, request=SimpleNamespace(headers=headers)))
    assert waits("embed") - before == counted


@pytest.mark.parametrize(
    ("state", "standing_s", "restarts"),
    [
        (JobState.RUNNING, STALLED_AFTER_S + 1, 1),
        (JobState.RUNNING, STALLED_AFTER_S - 1, 0),
        (JobState.PAUSED, STALLED_AFTER_S + 1, 0),
    ],
)
@pytest.mark.parametrize("clock_jumps_by", [timedelta(0), timedelta(hours=1), timedelta(hours=-1)])
def test_the_planner_of_a_running_job_that_stands_still_is_started_again_whatever_the_time_of_day(
    broker: MemoryBroker,
    ledger: SqlLedger,
    state: JobState,
    standing_s: float,
    restarts: int,
    clock_jumps_by: timedelta,
) -> None:
    clock = FakeClock()
    planners = StalledPlanners(Publisher(broker.app, preparation="inline"), clock)
    job_id = ledger.create_job(request_of(), driver=WORKERS).job_id
    assert ledger.claim_step(job_id, 0, "lost")
    ledger.set_state(job_id, state)
    say_claimed_at(ledger, job_id, datetime.now(UTC) + clock_jumps_by)  # its clock was set
    planners.restart(ledger)
    clock.advance(standing_s)
    planners.restart(ledger)
    steps = [(step.kwargs["job_id"], step.kwargs["step"]) for step in broker.messages("plan")]
    assert steps == [(job_id, 1)] * restarts


@pytest.mark.parametrize("clock_jumps_by", [timedelta(0), timedelta(hours=1), timedelta(hours=-1)])
def test_a_planner_that_renews_its_claim_is_left_alone_whatever_the_time_of_day(
    broker: MemoryBroker, ledger: SqlLedger, clock_jumps_by: timedelta
) -> None:
    clock = FakeClock()
    planners = StalledPlanners(Publisher(broker.app, preparation="inline"), clock)
    job_id = ledger.create_job(request_of(), driver=WORKERS).job_id
    for look in range(8):
        assert ledger.claim_step(job_id, 0, "alive")
        if look > 3:
            say_claimed_at(ledger, job_id, datetime.now(UTC) + clock_jumps_by)
        planners.restart(ledger)
        clock.advance(15)
    assert broker.messages("plan") == []


def test_a_planner_that_was_started_again_is_given_as_long_once_more(
    broker: MemoryBroker, ledger: SqlLedger
) -> None:
    clock = FakeClock()
    planners = StalledPlanners(Publisher(broker.app, preparation="inline"), clock)
    ledger.create_job(request_of(), driver=WORKERS)
    for _ in range(13):  # three minutes
        planners.restart(ledger)
        clock.advance(15)
    assert len(broker.messages("plan")) == 2


def say_claimed_at(ledger: SqlLedger, job_id: str, at: datetime) -> None:
    with ledger._engine.begin() as connection:
        connection.execute(sa.update(job_table).where(job_table.c.job_id == job_id).values(stepped_at=at))


@pytest.fixture
def watch(context: Context, broker: MemoryBroker) -> StalledWatch:
    return StalledWatch(context.settings, broker.app)


def test_running_jobs_are_counted(watch: StalledWatch, ledger: SqlLedger) -> None:
    for _ in range(2):
        ledger.create_job(request_of(), driver=WORKERS)
    watch._record_progress(ledger)
    [family] = metrics()._jobs_running.collect()
    assert [sample.value for sample in family.samples] == [2]

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
from tests.unit.fakes import request_of
from tests.unit.memory_broker import MemoryBroker
from workers.broker.queue_wait import due_stamp
from workers.metrics.metrics import metrics
from workers.planning.planner import STALLED_AFTER_S
from workers.planning.watch import StalledWatch
from workers.process.context import Context
from workers.process.lifecycle import HEARTBEAT_S, Heartbeat, mark_stopping, record_wait


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
    mark_stopping()
    assert (tmp_path / "stopping").exists()


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


@pytest.fixture
def watch(context: Context, broker: MemoryBroker) -> StalledWatch:
    return StalledWatch(context.settings, broker.app)


def make_older(ledger: SqlLedger, job_id: str, by_s: float) -> None:
    past = datetime.now(UTC) - timedelta(seconds=by_s)
    with ledger._engine.begin() as connection:
        connection.execute(
            sa.update(job_table).where(job_table.c.job_id == job_id).values(created_at=past, stepped_at=past)
        )


@pytest.mark.parametrize(
    ("state", "age_s", "is_restarted"),
    [
        (JobState.RUNNING, STALLED_AFTER_S + 5, True),
        (JobState.RUNNING, STALLED_AFTER_S - 30, False),
        (JobState.PAUSED, STALLED_AFTER_S + 5, False),
    ],
)
def test_the_planner_of_a_running_job_that_stands_still_is_started_again(
    watch: StalledWatch,
    broker: MemoryBroker,
    ledger: SqlLedger,
    state: JobState,
    age_s: float,
    is_restarted: bool,
) -> None:
    job_id = ledger.create_job(request_of(), driver=WORKERS).job_id
    assert ledger.claim_step(job_id, 0, "lost")
    ledger.set_state(job_id, state)
    make_older(ledger, job_id, age_s)
    watch._restart_stalled(ledger)
    steps = [(step.kwargs["job_id"], step.kwargs["step"]) for step in broker.messages("plan")]
    assert steps == ([(job_id, 1)] if is_restarted else [])


def test_running_jobs_are_counted(watch: StalledWatch, ledger: SqlLedger) -> None:
    for _ in range(2):
        ledger.create_job(request_of(), driver=WORKERS)
    watch._record_progress(ledger)
    [family] = metrics()._jobs_running.collect()
    assert [sample.value for sample in family.samples] == [2]

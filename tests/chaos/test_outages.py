"""Each service away for a while during a job, a full disk, a wrong clock, a lost device: one clear line in
the log, nothing lost, no dead letters.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from devstack.rabbitmq import RabbitMQ
from pipeline.types import Job, JobState
from tests.chaos.conftest import MakeFleet
from tests.chaos.pictures import picture
from tests.conftest import missing
from tests.contract.ledger_databases import run_on
from tests.fleet import Fleet, Worker, wait_until
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server, Server
from workers.broker.connection import broker_connection
from workers.broker.dead_letters import QUEUE_HEADER
from workers.broker.queue_names import DEAD
from workers.broker.queues import DEAD_EXCHANGE

pytestmark = pytest.mark.outage  # minutes each: `make test-outages`

OBJECTS, BROKEN = 200, 400
MANY = 4  # retries: more than Celery's own limit of three
# A model slow enough that a job is still at work when its service goes away.
BATCHES = {"PICTOR_BATCH_ITEMS": "20", "PICTOR_TEST_GROUP_S": "0.2", "PICTOR_TEST_RETRY_DELAY_S": "1"}


# A call to Milvus takes 30 s to give up. Several batches would take turns, and none would come a third time.
ONE_IN_FLIGHT = {"PICTOR_OUTSTANDING_BATCHES": "1"}


@pytest.mark.parametrize(
    ("name", "retries", "more"), [("s3", MANY, {}), ("postgres", MANY, {}), ("milvus", 2, ONE_IN_FLIGHT)]
)
def test_a_job_outlasts_a_service_that_is_away(
    make_fleet: MakeFleet,
    name: str,
    retries: int,
    more: dict[str, str],
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
) -> None:
    server: Server = {"s3": s3_server, "milvus": milvus_server, "postgres": postgres}[name]
    fleet = make_fleet(**BATCHES, **more, PICTOR_S3_ATTEMPTS="2")
    worker, job_id = _at_work(fleet)
    server.stop()
    wait_until(lambda: f"retries={retries}" in worker.log(2000), "the batch is tried again and again", 120)
    server.start()
    _assert_all_done(fleet, job_id)


def test_a_job_outlasts_a_broker_that_crashes(make_fleet: MakeFleet, rabbitmq: RabbitMQServer) -> None:
    fleet = make_fleet(**BATCHES)
    worker, job_id = _at_work(fleet)
    rabbitmq.kill()
    wait_until(lambda: worker.log(2000).count("Connection refused") > 2, "the worker knocks again", 60)
    rabbitmq.start()
    _assert_all_done(fleet, job_id)
    assert worker.process.poll() is None, worker.log()


def test_a_lost_device_stops_its_worker_and_another_one_finishes_the_job(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(**BATCHES)
    lost = fleet.start(queues="embed", name="lost", extra_env={"PICTOR_TEST_LOST_DEVICE": "2"}).ready()
    _, job_id = _at_work(fleet)
    assert lost.wait() != 0
    assert "the device is lost" in lost.log()
    _assert_all_done(fleet, job_id)


def test_a_worker_whose_children_cannot_warm_up_ends_with_the_reason(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(**BATCHES)
    broken = fleet.start(
        queues="embed", name="broken", children=2, extra_env={"PICTOR_TEST_LOST_DEVICE": "0"}
    )
    assert broken.wait() != 0
    assert "worker stopped: builtin failed on cuda:0" in broken.log()
    assert broken.pids() == []


def test_a_worker_whose_clock_is_wrong_says_so_at_its_start(make_fleet: MakeFleet) -> None:
    fleet = make_fleet()
    late = fleet.start(queues="embed", extra_env={"PICTOR_TEST_CLOCK_S": "3600"})
    assert late.wait() != 0
    assert "the clocks differ too much" in late.log()


def test_a_full_disk_under_the_ledger_is_named_and_loses_nothing(
    make_fleet: MakeFleet, postgres: PostgresServer, tmp_path: Path
) -> None:
    fleet = make_fleet(**BATCHES)
    with _small_disk(tmp_path / "small", megabytes=24) as disk:
        _move_database(fleet, postgres, disk)
        # A failure is a row of its own, where a success changes one that is there.
        _, job_id = _planned(fleet, broken=BROKEN)
        # All of it, else the job may be done before the disk is full.
        fleet.wait_for_queue("embed", (OBJECTS + BROKEN) // 20)
        with (disk / "filler").open("wb") as filler:
            _fill(filler.fileno())
        worker = fleet.start(queues="embed").ready()
        wait_until(lambda: "the server's disk is full" in worker.log(2000), "it is said", 60)
        (disk / "filler").unlink()
        _assert_all_done(fleet, job_id, broken=BROKEN)
        fleet.stop()
        _move_database(fleet, postgres, None)


@pytest.mark.parametrize("preparation", ["inline", "staged"])
def test_a_job_outlasts_a_broker_whose_disk_is_full(
    make_fleet: MakeFleet, rabbitmq: RabbitMQServer, preparation: str
) -> None:
    fleet = make_fleet(**BATCHES, PICTOR_OUTSTANDING_BATCHES="2", PICTOR_PREPARATION=preparation)
    planner, job_id = _planned(fleet)
    queues = ("prepare", "embed") if preparation == "staged" else ("embed",)
    fleet.wait_for_queue(queues[0], 2)
    with _disk_alarm(rabbitmq):
        workers = [fleet.start(queues=queue).ready() for queue in queues]
        publisher = workers[0] if preparation == "staged" else planner
        wait_until(lambda: "holds publishers back" in publisher.log(2000), "it is said", 60)
        time.sleep(
            70
        )  # longer than an amqp client's usual tries, each of which would be a copy of the message
    _assert_all_done(fleet, job_id)
    assert "takes messages again" in publisher.log(2000)
    assert not [worker.name for worker in fleet.workers if "workers.delivery retry" in worker.log(5000)]


def test_a_submission_to_a_broker_whose_disk_is_full_is_not_called_refused(
    make_fleet: MakeFleet, rabbitmq: RabbitMQServer
) -> None:
    fleet = make_fleet()
    with _disk_alarm(rabbitmq):
        done = fleet.pictor("ingest", "s3://nobody", "--broker", fleet.env["PICTOR_BROKER_URL"])
    assert done.returncode == 1
    assert "did not confirm pictor.ingest of job job-" in done.stderr
    assert "nothing was submitted" not in done.stderr
    fleet.wait_for_queue("plan", 1)  # it did take it, once


def test_a_dead_letter_is_kept_while_its_copy_is_not_confirmed(
    make_fleet: MakeFleet, rabbitmq: RabbitMQServer
) -> None:
    fleet = make_fleet()
    with broker_connection(fleet.settings) as connection, connection.Producer() as producer:
        headers = {"task": "pictor.embed_batch", "id": "a-task", QUEUE_HEADER: fleet.queue("embed")}
        producer.publish([[], {}, {}], exchange=DEAD_EXCHANGE, routing_key=DEAD, headers=headers)
    with _disk_alarm(rabbitmq):
        done = fleet.pictor("dead", "replay")
    assert done.returncode == 1
    assert "did not confirm a dead letter that was sent again: it is kept" in done.stderr
    fleet.wait_for_queue("dead", 1)
    fleet.wait_for_queue("embed", 1)


def _planned(fleet: Fleet, *, broken: int = 0) -> tuple[Worker, str]:
    """A planner, and a job that nobody works on. `broken` of its objects are no images."""
    bucket = f"chaos-{fleet.vhost}"  # of this test alone, also on servers that outlive it
    fleet.put_all(bucket, {f"{number:03d}.jpg": picture(number) for number in range(OBJECTS)})
    fleet.put_all(bucket, {f"broken/{number:03d}.jpg": b"no image" for number in range(broken)})
    planner = fleet.start(queues="plan,search").ready()
    return planner, fleet.submit(f"s3://{bucket}")


def _at_work(fleet: Fleet) -> tuple[Worker, str]:
    """A worker, some of whose job is done and some is not."""
    worker = fleet.start(queues="embed").ready()
    _, job_id = _planned(fleet)
    wait_until(lambda: 0 < _done(fleet.job(job_id)) < OBJECTS, "some of the job is done", 60)
    return worker, job_id


def _done(job: Job | None) -> int:
    return job.counts.scanned - job.counts.pending if job else 0


def _assert_all_done(fleet: Fleet, job_id: str, *, broken: int = 0) -> None:
    job = fleet.wait_for_job(job_id, JobState.COMPLETED)
    counts = job.counts
    assert (counts.scanned, counts.failed) == (OBJECTS + broken, broken), counts
    assert counts.indexed + counts.unchanged == OBJECTS, counts
    assert len(fleet.indexed_keys()) == OBJECTS
    for queue in ("plan", "embed", "dead"):
        fleet.wait_for_queue(queue, 0)


@contextmanager
def _disk_alarm(rabbitmq: RabbitMQServer) -> Iterator[None]:
    """The broker takes its disk for full, and holds back whoever publishes."""
    if rabbitmq.service is None:
        missing("the broker is not ours to fill")
    service = cast("RabbitMQ", rabbitmq.service)
    service.control("set_disk_free_limit", "100000GB")
    try:
        yield
    finally:
        service.control("set_disk_free_limit", "50MB")  # RabbitMQ's default


@contextmanager
def _small_disk(folder: Path, *, megabytes: int) -> Iterator[Path]:
    """A file system of its own that PostgreSQL may write to."""
    if os.geteuid() != 0:
        missing("only root can mount a small file system")
    folder = Path("/tmp") / f"pictor-small-disk-{os.getpid()}"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(folder)], check=False
    )
    if mounted.returncode:
        folder.rmdir()
        missing("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def _move_database(fleet: Fleet, postgres: PostgresServer, disk: Path | None) -> None:
    database = fleet.settings.ledger_target.rpartition("/")[2].partition("?")[0]
    if disk is None:
        run_on(postgres.admin_url, f"ALTER DATABASE {database} SET TABLESPACE pg_default")
        run_on(postgres.admin_url, "DROP TABLESPACE small_disk")
        return
    place = disk / "tablespace"
    place.mkdir()
    shutil.chown(place, "postgres")
    run_on(postgres.admin_url, f"CREATE TABLESPACE small_disk LOCATION '{place}'")
    run_on(postgres.admin_url, f"ALTER DATABASE {database} SET TABLESPACE small_disk")


def _fill(descriptor: int) -> None:
    try:
        while True:
            os.write(descriptor, bytes(2**16))
    except OSError:
        return

"""A connection to the broker that dies without a word, as behind a NAT gateway or a lost node."""

import time
from urllib.parse import urlsplit

import pytest

from pipeline.types import Job, JobState
from tests.chaos.conftest import MakeFleet
from tests.chaos.pictures import picture
from tests.chaos.proxy import SilentProxy
from tests.fleet import wait_until

pytestmark = pytest.mark.outage  # minutes each: `make test-outages`

HEARTBEAT_S = 6
OBJECTS = 80


def test_a_worker_whose_connection_went_silent_is_back_at_work_within_two_heartbeats(
    make_fleet: MakeFleet,
) -> None:
    fleet = make_fleet(PICTOR_BATCH_ITEMS="2")
    bucket = f"chaos-{fleet.vhost}"
    fleet.put_all(bucket, {f"{number:03d}.jpg": picture(number) for number in range(OBJECTS)})
    broker = urlsplit(fleet.env["PICTOR_BROKER_URL"])
    with SilentProxy(broker.port or 5672) as proxy:
        login = broker.netloc.rpartition("@")[0]
        behind = broker._replace(netloc=f"{login}@127.0.0.1:{proxy.port}", query=f"heartbeat={HEARTBEAT_S}")
        fleet.start(queues="plan,search").ready()
        worker = fleet.start(queues="embed", extra_env={"PICTOR_BROKER_URL": behind.geturl()}).ready()
        job_id = fleet.submit(f"s3://{bucket}")
        wait_until(lambda: 0 < _indexed(fleet.job(job_id)) < OBJECTS, "the worker is at work", 60)
        assert proxy.silence() > 0
        silenced, before = time.monotonic(), _indexed(fleet.job(job_id))
        assert before < OBJECTS
        # What was in hand may still be reported: the batch's way to the ledger does not lead past the broker.
        wait_until(lambda: _indexed(fleet.job(job_id)) > before + 4, "it goes on", 60)
        back_after_s = time.monotonic() - silenced
        job = fleet.wait_for_job(job_id, JobState.COMPLETED)
        assert worker.process.poll() is None, worker.log()
    assert (job.counts.indexed + job.counts.unchanged, job.counts.failed) == (OBJECTS, 0)
    # And six seconds for the farewells and the new connection, on a busy machine.
    assert back_after_s < 2 * HEARTBEAT_S + 6
    assert len(fleet.indexed_keys()) == OBJECTS
    assert fleet.messages("dead") == 0


def _indexed(job: Job | None) -> int:
    return job.counts.scanned - job.counts.pending if job else 0

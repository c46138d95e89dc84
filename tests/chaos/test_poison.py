"""One bad object costs one object, whatever it does to its process, and no innocent one is blamed."""

import json
from collections.abc import Mapping

import pytest
from kombu import Connection

from pipeline.types import Job, JobState, Reason
from tests.chaos.conftest import MakeFleet
from tests.chaos.pictures import CRASH, FAULT, HANG, picture
from tests.fleet import Fleet, wait_until
from workers.queues import work_queue

pytestmark = pytest.mark.outage  # minutes each: `make test-outages`

HASTE = {"PICTOR_TEST_SPLIT_AFTER_S": "10", "PICTOR_TEST_RETRY_DELAY_S": "1"}


@pytest.mark.parametrize("preparation", ["inline", "staged"])
def test_objects_that_kill_hang_or_confuse_their_process_fail_alone(
    make_fleet: MakeFleet, preparation: str
) -> None:
    fleet = make_fleet(PICTOR_PREPARATION=preparation, PICTOR_BATCH_ITEMS="3", **HASTE)
    bodies = {f"{number}.jpg": picture(number) for number in range(9)}
    for key, marker in (("1.jpg", CRASH), ("3.jpg", HANG), ("8.jpg", FAULT)):
        bodies[key] += marker
    job = _run(fleet, _bucket(fleet), bodies)
    assert _failures(fleet, job) == {
        "1.jpg": Reason.WORKER_CRASH,
        "3.jpg": Reason.TIMEOUT,
        "8.jpg": Reason.WORKER_CRASH,
    }
    details = {failure.ref.key: failure.detail for failure in fleet.ledger.failures(job.job_id)}
    assert "processes in a row died" in details["1.jpg"]
    assert "internal error" in details["8.jpg"]
    assert fleet.indexed_keys() == ["0.jpg", "2.jpg", "4.jpg", "5.jpg", "6.jpg", "7.jpg"]
    assert (job.counts.scanned, job.counts.pending, job.counts.failed) == (9, 0, 3)
    for queue in ("plan", "ingest", "embed", "dead"):
        fleet.wait_for_queue(queue, 0)
    assert fleet.staged_keys() == []


def test_an_object_that_was_in_hand_of_killed_workers_is_tried_alone_and_indexed(
    make_fleet: MakeFleet,
) -> None:
    """Deliveries are counted by the broker; here the messages say that they were delivered before."""
    fleet = make_fleet(PICTOR_BATCH_ITEMS="1")
    fleet.put_all(_bucket(fleet), {f"{number}.jpg": picture(number) for number in range(3)})
    fleet.start(queues="plan,search").ready()
    job_id = fleet.submit(f"s3://{_bucket(fleet)}")
    wait_until(lambda: _planned(fleet, job_id), "the job is planned", 60)
    _deliver_again(fleet, job_id, deliveries=5)
    worker = fleet.start(queues="embed").ready()
    job = fleet.wait_for_job(job_id, JobState.COMPLETED)
    assert (job.counts.indexed, job.counts.failed) == (3, 0)
    assert "trial failed" not in worker.log(1000)


def test_the_row_of_an_object_that_now_kills_its_process_goes(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(PICTOR_BATCH_ITEMS="2")
    bucket = _bucket(fleet)
    fleet.put_all(bucket, {"a.jpg": picture(1), "b.jpg": picture(2)})
    fleet.start(queues="plan,search,embed").ready()
    fleet.wait_for_job(fleet.submit(f"s3://{bucket}"), JobState.COMPLETED)
    assert fleet.indexed_keys() == ["a.jpg", "b.jpg"]
    fleet.store.put(bucket, "b.jpg", picture(3) + CRASH)
    job = fleet.wait_for_job(fleet.submit(f"s3://{bucket}"), JobState.COMPLETED)
    assert _failures(fleet, job) == {"b.jpg": Reason.WORKER_CRASH}
    assert fleet.indexed_keys() == ["a.jpg"]


def _run(fleet: Fleet, bucket: str, bodies: Mapping[str, bytes]) -> Job:
    fleet.put_all(bucket, bodies)
    queues = "ingest,embed" if fleet.settings.preparation == "staged" else "embed"
    workers = [fleet.start(queues="plan,search"), fleet.start(queues=queues, children=3)]
    for worker in workers:
        worker.ready()
    return fleet.wait_for_job(fleet.submit(f"s3://{bucket}"), JobState.COMPLETED)


def _bucket(fleet: Fleet) -> str:
    return f"chaos-{fleet.vhost}"


def _failures(fleet: Fleet, job: Job) -> dict[str, Reason]:
    return {failure.ref.key: failure.reason for failure in fleet.ledger.failures(job.job_id)}


def _planned(fleet: Fleet, job_id: str) -> bool:
    job = fleet.job(job_id)
    return job is not None and job.planned and not fleet.ledger.unpublished(job_id, 1)


def _deliver_again(fleet: Fleet, job_id: str, *, deliveries: int) -> None:
    """Put messages with a delivery count in the place of those on the queue."""
    bodies = [batch.body.decode() for batch in fleet.ledger.pending(job_id)]
    assert bodies
    with Connection(fleet.env["PICTOR_BROKER_URL"]) as connection, connection.channel() as channel:
        work_queue("embed").bind(channel).purge()
        with connection.Producer(channel) as producer:
            for number, body in enumerate(bodies):
                producer.publish(
                    json.dumps([[], {"message": body}, {}]),
                    exchange="embed",
                    routing_key="embed",
                    content_type="application/json",
                    content_encoding="utf-8",
                    headers={
                        "task": "pictor.embed_batch",
                        "id": f"again-{number}",
                        "lang": "py",
                        "x-delivery-count": deliveries,
                    },
                    correlation_id=f"again-{number}",
                )

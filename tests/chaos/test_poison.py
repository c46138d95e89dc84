"""One bad object costs one object, whatever it does to its process, and no innocent one is blamed.

Two systems run side by side, one for each way of preparation: most of the time is waiting for what hangs.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from kombu import Connection

from pipeline.ingest.compare import compare_versions
from pipeline.ingest.plan import cut_batches
from pipeline.types import WORKERS, Job, JobRequest, JobState, Reason
from tests.chaos.pictures import CRASH, FAULT, HANG, picture
from tests.chaos.system import HOOK
from tests.fleet import Fleet, own_place
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server

WORKERS_OF = {
    "inline": [("plan", 1), ("embed", 2)],
    "staged": [("plan", 1), ("prepare", 2), ("embed", 1)],
}
# A batch is slow after 10 s, and so is a trial: an innocent picture takes milliseconds, and seconds on a
# machine that has much else to do.
HASTE = {
    "PICTOR_TEST_SPLIT_AFTER_S": "10",
    "PICTOR_TEST_TRIAL_LIMIT_S": "10",
    "PICTOR_TEST_RETRY_DELAY_S": "1",
}
OVER_S = 400.0  # 90 s on an idle machine with two cores
BAD = {"0.jpg": CRASH, "3.jpg": HANG, "8.jpg": FAULT}
GOOD = ["1.jpg", "2.jpg", "4.jpg", "5.jpg", "6.jpg", "7.jpg"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is left of three jobs that are over."""

    fleet: Fleet
    job: Job  # of nine objects in batches of three, each with a bad one in it
    again: Job  # of an object that was in hand of killed workers


@pytest.fixture(scope="module")
def fleets(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, Fleet]]:
    with ExitStack() as stack:
        fleets = {}
        for preparation in WORKERS_OF:
            folder = tmp_path_factory.mktemp(preparation)
            more = {"PICTOR_PREPARATION": preparation, "PICTOR_BATCH_ITEMS": "3", **HASTE, **HOOK}
            env = stack.enter_context(own_place(rabbitmq, s3_server, milvus_server, postgres, folder, **more))
            fleets[preparation] = stack.enter_context(Fleet(env, folder))
        yield fleets


@pytest.fixture(scope="module")
def runs(fleets: Mapping[str, Fleet]) -> Iterator[Mapping[str, Run]]:
    with ThreadPoolExecutor(len(fleets)) as side_by_side:
        done = side_by_side.map(_run, fleets.values(), WORKERS_OF.values())
        # Linux kills the workers with the thread that started them, not with its process (PR_SET_PDEATHSIG).
        yield dict(zip(fleets, done, strict=True))


@pytest.fixture(params=list(WORKERS_OF))
def run(request: pytest.FixtureRequest, runs: Mapping[str, Run]) -> Run:
    return runs[request.param]


def test_objects_that_kill_hang_or_confuse_their_process_fail_alone(run: Run) -> None:
    fleet, job = run.fleet, run.job
    failures = {failure.ref.key: failure for failure in fleet.ledger.failures(job.job_id)}
    assert {key: failure.reason for key, failure in failures.items()} == {
        "0.jpg": Reason.WORKER_CRASH,
        "3.jpg": Reason.TIMEOUT,
        "8.jpg": Reason.WORKER_CRASH,
    }
    assert "processes in a row died" in failures["0.jpg"].detail
    assert "internal error" in failures["8.jpg"].detail
    assert set(GOOD) <= set(fleet.indexed_keys())
    assert (job.counts.scanned, job.counts.pending, job.counts.failed) == (9, 0, 3)


def test_the_row_of_an_object_that_now_kills_its_process_goes(run: Run) -> None:
    """0.jpg was good, and indexed, before it was overwritten."""
    assert "0.jpg" not in run.fleet.indexed_keys()


def test_an_object_that_was_in_hand_of_killed_workers_is_tried_alone_and_indexed(run: Run) -> None:
    counts = run.again.counts
    assert (counts.indexed, counts.failed) == (1, 0)
    lines = [line for worker in run.fleet.workers for line in worker.log(10_000).splitlines()]
    assert [line for line in lines if "trial failed" in line and run.again.job_id in line] == []
    assert [line for line in lines if "trial failed" in line and run.job.job_id in line] != []


def test_nothing_is_left_on_a_queue_or_in_the_staging_bucket(run: Run) -> None:
    for queue in ("plan", "prepare", "embed", "dead"):
        run.fleet.wait_for_queue(queue, 0)
    assert run.fleet.staged_keys() == []


def _run(fleet: Fleet, workers: list[tuple[str, int]]) -> Run:
    fleet.init()
    started = [fleet.start(queues=queues, children=children) for queues, children in workers]
    bucket = f"chaos-{fleet.vhost}"
    fleet.put_all(bucket, {"0.jpg": picture(100)})
    for worker in started:
        worker.ready()
    fleet.wait_for_job(fleet.submit(f"s3://{bucket}"), JobState.COMPLETED)
    assert fleet.indexed_keys() == ["0.jpg"]
    bodies = {f"{number}.jpg": picture(number) for number in range(9)}
    fleet.put_all(bucket, {key: body + BAD.get(key, b"") for key, body in bodies.items()})
    fleet.put_all(f"{bucket}-again", {"again.jpg": picture(200)})
    job_id = fleet.submit(f"s3://{bucket}")
    again_id = _plan_again(fleet, f"{bucket}-again")
    return Run(
        fleet=fleet,
        job=fleet.wait_for_job(job_id, JobState.COMPLETED, timeout_s=OVER_S),
        again=fleet.wait_for_job(again_id, JobState.COMPLETED, timeout_s=OVER_S),
    )


def _plan_again(fleet: Fleet, bucket: str) -> str:
    """A job whose message says that it was delivered five times before.

    The broker counts deliveries, and takes a sender's word for earlier ones.
    """
    info = fleet.index.get_collection(fleet.settings.collection)
    assert info is not None
    request = JobRequest(
        location=f"s3://{bucket}/",
        bucket=bucket,
        prefix="",
        collection=info.name,
        model_name=info.model_name,
        fingerprint=info.fingerprint,
        batch_items=1,
    )
    job_id = fleet.ledger.create_job(request, driver=WORKERS).job_id
    compared = compare_versions(fleet.store.list_objects(bucket), iter(()), request)
    [step] = cut_batches(compared, job_id=job_id, request=request)
    assert step.batch is not None
    assert fleet.ledger.record_plan(job_id, [step.batch], cursor=step.cursor, ignored=0)
    fleet.ledger.mark_published(job_id, [step.batch.path])
    fleet.ledger.finish_planning(job_id, ignored=0)
    _deliver_again(fleet, step.batch.body, deliveries=5)
    return job_id


def _deliver_again(fleet: Fleet, body: bytes, *, deliveries: int) -> None:
    queue = fleet.queue("embed")
    with Connection(fleet.env["PICTOR_BROKER_URL"]) as connection, connection.Producer() as producer:
        producer.publish(
            json.dumps([[], {"message": body.decode()}, {}]),
            exchange=queue,
            routing_key=queue,
            content_type="application/json",
            content_encoding="utf-8",
            headers={
                "task": "pictor.embed_batch",
                "id": "again",
                "lang": "py",
                "x-delivery-count": deliveries,
            },
            correlation_id="again",
        )

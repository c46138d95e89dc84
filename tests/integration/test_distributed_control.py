"""Workers that are refused or stopped, jobs that are stopped, what is left behind and swept up."""

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from pipeline.adapters.models.builtin_spec import builtin_spec
from pipeline.errors import TransientError
from pipeline.ingest.block import block_key
from pipeline.ingest.message import encode_batch
from pipeline.types import (
    WORKERS,
    EmbedBatch,
    Job,
    JobRequest,
    JobState,
    ObjectRef,
    PlannedBatch,
    embedded_on,
)
from tests.chaos.pictures import picture
from tests.chaos.system import HOOK
from tests.contract.ledger_databases import run_on
from tests.fleet import Fleet, assert_refused, own_place, wait_until
from tests.image_files import encode
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server
from workers.broker.celery_app import make_app
from workers.broker.connection import broker_connection
from workers.broker.queues import dead_queue, work_queue
from workers.client import PictorClient

KEYS = 300  # of a job that is stopped: it lasts several times as long as a command takes to start
NOBODY = "amqp://user:password@127.0.0.1:1/nowhere"


@pytest.fixture(scope="module")
def quiet(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """A system that is initialised and has no workers yet."""
    folder = tmp_path_factory.mktemp("quiet")
    with own_place(rabbitmq, s3_server, milvus_server, postgres, folder) as env, Fleet(env, folder) as fleet:
        fleet.init()
        yield fleet


def ready_messages(fleet: Fleet, queue: str) -> int:
    """Exact, and at once; without those that a worker has in hand."""
    declared = dead_queue() if queue == "dead" else work_queue(fleet.queue(queue))
    with broker_connection(fleet.settings) as connection, connection.channel() as channel:
        return int(declared.bind(channel).queue_declare(passive=True).message_count)


# Workers that are refused


def test_a_second_worker_of_the_same_name_is_refused(fleet: Fleet) -> None:
    [first, *_] = fleet.workers
    second = fleet.start(queues="plan,search", name=first.name)
    assert_refused(second, f"a worker named {first.name} runs here already", "--name")
    assert first.process.poll() is None
    assert (first.folder / "ready").exists()


def test_a_worker_with_another_model_than_its_collection_is_refused(quiet: Fleet) -> None:
    name = f"{quiet.settings.collection}_other"
    quiet.index.create_collection(name, replace(builtin_spec(), name="other", fingerprint="0e" * 32))
    worker = quiet.start(queues="embed", extra_env={"PICTOR_COLLECTION": name})
    assert_refused(
        worker, f"collection {name!r} holds vectors of model 'other' (0e0e0e0e)", "not of 'builtin'"
    )


def test_workers_take_no_orders_from_who_may_publish(fleet: Fleet) -> None:
    running = fleet.running()
    control = make_app(fleet.settings).control
    control.broadcast("shutdown")
    assert control.ping(timeout=1.0) == []
    assert [worker.process.poll() for worker in running] == [None] * len(running)


def test_a_worker_for_a_queue_that_is_not_ours_is_refused(quiet: Fleet) -> None:
    assert_refused(quiet.start(queues="embed,emded", name="typo"), "--queues emded", "plan, prepare, embed")


def test_a_worker_whose_children_cannot_load_the_model_ends(quiet: Fleet) -> None:
    worker = quiet.start(queues="embed", name="no-gpu", children=2, extra_env={"PICTOR_DEVICE": "cuda:7"})
    assert_refused(worker, "worker stopped: device cuda:7: this machine shows", code=1)
    assert not (worker.folder / "ready").exists()
    wait_until(lambda: not worker.pids(), "its processes are gone")


SECRET = "wrong-and-never-to-be-seen"


def with_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{SECRET}@{parts.hostname}:{parts.port}").geturl()


def wrong_environments(fleet: Fleet) -> Mapping[str, tuple[dict[str, str], str]]:
    env = fleet.env
    database = env["PICTOR_LEDGER_URL"].replace("postgresql+psycopg", "postgresql")
    return {
        "broker password": (
            {"PICTOR_BROKER_URL": with_password(env["PICTOR_BROKER_URL"])},
            "the broker refused the user or password of PICTOR_BROKER_URL",
        ),
        "virtual host": (
            {"PICTOR_BROKER_URL": env["PICTOR_BROKER_URL"] + "x"},
            "the broker has no virtual host of the name in PICTOR_BROKER_URL",
        ),
        "broker kind": ({"PICTOR_BROKER_URL": "redis://127.0.0.1/0"}, "amqp:// or amqps:// is expected"),
        "no broker": ({"PICTOR_BROKER_URL": ""}, "PICTOR_BROKER_URL is not set"),
        "s3 secret": ({"PICTOR_S3_SECRET_KEY": SECRET}, "refused the credentials"),
        "database password": ({"PICTOR_LEDGER_URL": with_password(database)}, "refused these credentials"),
        "database": ({"PICTOR_LEDGER_URL": database + "x"}, "there is no such database"),
        "setting": ({"PICTOR_BATCH_ITEMS": "many"}, "PICTOR_BATCH_ITEMS"),
    }


@pytest.mark.parametrize(
    "what",
    [
        "broker password",
        "virtual host",
        "broker kind",
        "no broker",
        "s3 secret",
        "database password",
        "database",
        "setting",
    ],
)
def test_a_worker_with_a_wrong_setting_ends_at_once_and_says_which(quiet: Fleet, what: str) -> None:
    changes, said = wrong_environments(quiet)[what]
    worker = quiet.start(queues="embed", name=what.replace(" ", "-"), extra_env=changes)
    assert_refused(worker, said)
    assert SECRET not in worker.log(1000)
    assert not (worker.folder / "ready").exists()


def test_a_worker_and_a_job_before_pictor_init_are_told_to_run_it(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("empty")
    with own_place(rabbitmq, s3_server, milvus_server, postgres, folder) as env, Fleet(env, folder) as fleet:
        assert_refused(fleet.start(queues="plan"), "pictor init")
        shown = fleet.pictor("jobs", "list")
        assert (shown.returncode, "pictor init" in shown.stderr) == (2, True)


# Submitting to nobody


def test_a_submission_without_a_broker_fails_within_seconds_and_says_that_nothing_was_submitted(
    quiet: Fleet,
) -> None:
    started = time.monotonic()
    done = quiet.pictor("ingest", "s3://shop", "--broker", NOBODY)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: the broker did not take pictor.ingest: nothing was submitted"
    assert time.monotonic() - started < 30


def test_a_submission_with_a_wrong_password_is_a_wrong_setting(quiet: Fleet) -> None:
    done = quiet.pictor("ingest", "s3://shop", "--broker", with_password(quiet.env["PICTOR_BROKER_URL"]))
    assert done.returncode == 2
    assert "refused the user or password" in done.stderr
    assert SECRET not in done.stderr


def test_a_question_that_no_worker_answers_is_given_up_in_time_and_the_job_stays_queued(
    quiet: Fleet,
) -> None:
    with PictorClient(quiet.env["PICTOR_BROKER_URL"]) as client:
        client.ingest("s3://no-such-bucket-at-all")
        with pytest.raises(TransientError, match=r"no worker answered pictor\.job within 0\.5 s"):
            client.job("any", timeout_s=0.5)
    assert ready_messages(quiet, "plan") == 1


# Jobs that are stopped


@pytest.fixture
def many(fleet: Fleet, bucket: str) -> str:
    """Pictures that no other test has: known content would take its vector from the index and no time."""
    first = secrets.randbelow(2**31)
    fleet.put_all(bucket, {f"{number:03}.jpg": picture(first + number) for number in range(KEYS)})
    return bucket


def begun(fleet: Fleet, bucket: str) -> str:
    """A job of one batch for each key, of which 64 may be outstanding, with its first reports."""
    job_id = fleet.submit(f"s3://{bucket}", batch_items=1)
    wait_until(lambda: (job := fleet.job(job_id)) is not None and job.counts.indexed > 0, "it has begun")
    return job_id


def test_a_cancelled_job_stops_within_seconds_and_keeps_what_it_has(fleet: Fleet, many: str) -> None:
    job_id = begun(fleet, many)
    done = fleet.pictor("jobs", "cancel", job_id)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: ready_messages(fleet, "embed") == 0, "its messages are skipped", timeout_s=10)
    fleet.wait_for_queue("plan", 0)
    job = fleet.wait_for_job(job_id, JobState.CANCELLED)
    assert 0 < job.counts.indexed < KEYS
    assert job.counts.pending > 0
    assert job.counts.scanned == job.counts.indexed + job.counts.pending
    assert "can be resumed" in fleet.pictor("jobs", "resume", job_id).stderr


def test_a_paused_job_finishes_what_is_queued_and_a_resumed_one_goes_on_at_once(
    fleet: Fleet, many: str
) -> None:
    job_id = begun(fleet, many)
    assert fleet.pictor("jobs", "pause", job_id).returncode == 0

    def at_rest() -> Job | None:
        job = fleet.job(job_id)
        return job if job and job.counts.pending == 0 else None

    wait_until(lambda: at_rest() is not None, "what was queued is finished")
    fleet.wait_for_queue("plan", 0)
    paused = fleet.wait_for_job(job_id, JobState.PAUSED)
    assert (paused.planned, paused.counts.indexed) == (False, paused.planned_batches)
    assert paused.planned_batches < KEYS
    assert fleet.pictor("jobs", "resume", job_id).returncode == 0
    resumed = time.monotonic()
    job = fleet.wait_for_job(job_id, JobState.COMPLETED, timeout_s=50)
    assert job.counts.indexed == KEYS
    assert time.monotonic() - resumed < 50  # before the watch for stalled jobs would have found it


# Jobs that the workers do not drive, and retries of those that they do


def test_an_embedded_job_on_the_ledger_of_the_workers_is_left_alone(fleet: Fleet, many: str) -> None:
    """Both look like a job whose planner has not moved for long; the watch takes up the workers' own.

    A planner beside the fleet's watches in haste. With the fleet's own it would take a minute and a quarter.
    """
    haste = {"PICTOR_TEST_WATCH_S": "1", "PICTOR_TEST_STALLED_AFTER_S": "5", **HOOK}
    hasty = fleet.start(queues="plan", name="hasty", extra_env=haste).ready()
    lost, embedded = (
        fleet.ledger.create_job(request_of(fleet, many), driver=driver)
        for driver in (WORKERS, embedded_on("a-laptop"))
    )
    run_on(
        fleet.env["PICTOR_LEDGER_URL"],
        "UPDATE job SET created_at = created_at - interval '2 minutes' "
        "WHERE state = 'running' AND plan_step < 0",
    )
    fleet.wait_for_job(lost.job_id, JobState.COMPLETED)
    after = fleet.job(embedded.job_id)
    assert after is not None
    assert (after.state, after.planned_batches, after.driver) == (JobState.RUNNING, 0, "embedded:a-laptop")
    assert fleet.pictor("jobs", "cancel", embedded.job_id).returncode == 0
    assert hasty.terminate() == 0, hasty.log()
    restarts = [line for line in hasty.log(1000).splitlines() if "planner restarted" in line]
    assert restarts
    assert all(lost.job_id in line for line in restarts)


def test_a_retry_of_a_job_of_the_workers_is_done_by_them_alone(fleet: Fleet, bucket: str) -> None:
    fleet.put_all(bucket, {"good.jpg": picture(0), "bad.jpg": b"no picture, but a text of some length"})
    first = fleet.wait_for_job(fleet.submit(f"s3://{bucket}"), JobState.COMPLETED)
    assert (first.counts.indexed, first.counts.failed, first.driver) == (1, 1, "workers")
    fleet.put_all(bucket, {"bad.jpg": picture(1)})
    # Another host could not run it: it has neither the model nor an index.
    elsewhere = {"PICTOR_MILVUS_URI": "http://127.0.0.1:1", "PICTOR_MODEL": "/no/such/model.toml"}
    done = fleet.pictor("jobs", "retry", first.job_id, "--json", extra_env=elsewhere)
    assert done.returncode == 0, done.stderr
    again = fleet.wait_for_job(first.job_id, JobState.COMPLETED, timeout_s=50)  # it was woken
    assert (again.counts.indexed, again.counts.failed, again.counts.scanned) == (2, 0, 2)


def request_of(fleet: Fleet, bucket: str) -> JobRequest:
    spec = builtin_spec()
    return JobRequest(
        location=f"s3://{bucket}/",
        bucket=bucket,
        prefix="",
        collection=fleet.settings.collection,
        model_name=spec.name,
        fingerprint=spec.fingerprint,
    )


# A worker that is stopped


@pytest.fixture(scope="module")
def heavy(quiet: Fleet) -> str:
    """Forty pictures that take a core a second or two for each eight: a batch can be met in the middle."""
    squares = np.random.default_rng(1).integers(0, 256, (60, 60, 3), np.uint8)
    image = Image.fromarray(squares).resize((3000, 3000), Image.Resampling.NEAREST)
    body = encode(image, "JPEG", quality=85)
    name = f"heavy-{secrets.token_hex(4)}"
    # With a number behind each, since the same content again would take its vector from the index.
    quiet.put_all(name, {f"{number:02}.jpg": body + f"{number}".encode() for number in range(40)})
    return name


def test_a_worker_that_is_told_to_stop_finishes_its_batch_and_nothing_is_done_twice(
    quiet: Fleet, heavy: str
) -> None:
    one_core = {"PICTOR_DECODE_THREADS": "1"}
    planner = quiet.start(queues="plan")
    first = quiet.start(queues="embed", name="first", extra_env=one_core).ready()
    planner.ready()
    job_id = quiet.submit(f"s3://{heavy}", batch_items=8)
    wait_until(lambda: (job := quiet.job(job_id)) is not None and job.planned, "it is planned")
    wait_until(lambda: ready_messages(quiet, "embed") < 5, "a batch is in hand")
    assert first.terminate() == 0, first.log()
    stopped = quiet.job(job_id)
    assert stopped is not None
    assert stopped.counts.indexed % 8 == 0
    assert 0 < stopped.counts.indexed < 40
    wait_until(lambda: first.pids() == [], "no process of it is left")
    assert not (first.folder / "stopped").exists()

    second = quiet.start(queues="embed", name="second", extra_env=one_core)
    job = quiet.wait_for_job(job_id, JobState.COMPLETED)
    assert (job.counts.indexed, len(quiet.indexed_keys())) == (40, 40)
    logs = first.log(1000) + second.log(1000)
    assert logs.count(" batch done ") == 5
    assert (second.ready().terminate(), planner.terminate()) == (0, 0)
    assert [ready_messages(quiet, queue) for queue in ("plan", "embed", "dead")] == [0, 0, 0]


# What is left behind


@pytest.fixture
def blocks(quiet: Fleet) -> Iterator[dict[str, str]]:
    """Keys in the staging bucket: of an open batch, a reported one, an unknown one, and something else's."""
    ledger, staging = quiet.ledger, quiet.settings.staging_bucket
    job = ledger.create_job(
        JobRequest(
            location="s3://x/", bucket="x", prefix="", collection="x", model_name="x", fingerprint="f" * 64
        ),
        driver=WORKERS,
    )
    batches = {path: batch_of(job.job_id, path) for path in ("00000000", "00000001")}
    planned = [PlannedBatch(path=path, items=1, body=encode_batch(x)) for path, x in batches.items()]
    ledger.record_plan(job.job_id, planned, cursor="z", ignored=0)
    ledger.split_batch(job.job_id, "00000001", [PlannedBatch(path="00000001.0", items=1, body=b"")])
    keys = {
        "open": block_key(job.job_id, "00000000"),
        "closed": block_key(job.job_id, "00000001"),
        "unknown": block_key("no-such-job", "00000000"),
        "foreign": "somebody/elses.txt",
    }
    for key in keys.values():
        quiet.store.put(staging, key, b"x" * 1000)
    yield keys
    for key in keys.values():
        quiet.store.delete(staging, key)


def batch_of(job_id: str, path: str) -> EmbedBatch:
    ref = ObjectRef(bucket="x", key="a.jpg", etag="e", size_bytes=1)
    return EmbedBatch(job_id=job_id, path=path, collection="x", fingerprint="f" * 64, refs=(ref,))


def test_blocks_that_outlived_their_batch_are_swept_and_no_others(
    quiet: Fleet, blocks: Mapping[str, str]
) -> None:
    [young] = quiet.pictor_json("sweep", "--minutes", "60")
    nothing = {"jobs": 0, "batches": 0, "failures": 0}
    assert young == {"looked_at": 0, "deleted": 0, "deleted_bytes": 0, "pruned": nothing, "dead_letters": 0}
    assert sorted(quiet.staged_keys()) == sorted(blocks.values())
    wait_until(  # the service keeps times in whole seconds
        lambda: quiet.pictor_json("sweep", "--minutes", "0")[0]["looked_at"] >= 2, "they are old enough"
    )
    wait_until(
        lambda: sorted(quiet.staged_keys()) == sorted([blocks["open"], blocks["foreign"]]),
        "the two that nobody wants are gone",
    )

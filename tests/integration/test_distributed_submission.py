"""What upstream services may send, what they are answered, and what becomes of what they should not send."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Exchange, Producer, Queue

from pipeline import wiring
from pipeline.adapters.models.builtin_spec import builtin_spec
from pipeline.errors import ConfigError
from pipeline.ingest.plan import make_batch
from pipeline.types import WORKERS, Job, JobRequest, JobState, image_id_of
from tests.chaos.pictures import picture
from tests.fleet import Fleet, wait_until
from tests.hostile_messages import Hostile, Known, hostile_messages
from tests.index_rows import ids_in
from workers.broker.connection import broker_connection, broker_errors
from workers.broker.dead_letters import DIED_HEADER, DeadLetter, list_dead, purge_dead
from workers.broker.queue_names import DEAD
from workers.broker.queues import DEAD_EXCHANGE
from workers.client import PictorClient, close_app

KEYS = [f"{number}.jpg" for number in range(6)]


@pytest.fixture(scope="module")
def broker(fleet: Fleet) -> Iterator[Connection]:
    with broker_connection(fleet.settings) as connection:
        yield connection


@pytest.fixture(autouse=True)
def no_dead_letters(broker: Connection) -> None:
    purge_dead(broker)


@pytest.fixture
def shop(fleet: Fleet, bucket: str) -> str:
    fleet.put_all(bucket, {key: picture(place) for place, key in enumerate(KEYS)})
    return bucket


@pytest.fixture
def upstream(fleet: Fleet) -> Iterator[Celery]:
    """A service's own Celery application: it knows the broker and nothing of Pictor."""
    app = Celery("upstream", broker=fleet.env["PICTOR_BROKER_URL"], backend="rpc://", set_as_current=False)
    yield app
    close_app(app)


def queue_of(name: str) -> Queue:
    """As docs/reference/tasks.md has it: Pictor's queues are there already, with properties of their own."""
    return Queue(name, Exchange(name, "topic", no_declare=True), routing_key=name, no_declare=True)


def send(upstream: Celery, task: str, queue: str = "plan", **arguments: object) -> Any:
    return upstream.send_task(task, kwargs=arguments, queue=queue_of(queue))


@pytest.fixture
def client(fleet: Fleet) -> Iterator[PictorClient]:
    with PictorClient(fleet.env["PICTOR_BROKER_URL"]) as client:
        yield client


def wait_for_dead(broker: Connection, count: int = 1) -> list[DeadLetter]:
    found: list[DeadLetter] = []

    def are_there() -> bool:
        found[:] = list_dead(broker)
        return len(found) >= count

    wait_until(are_there, f"{count} dead letters")
    assert len(found) == count
    return found


def error_of(fleet: Fleet, job_id: str) -> str:
    return fleet.wait_for_job(job_id, JobState.FAILED).error


def assert_works(fleet: Fleet, upstream: Celery, shop: str) -> None:
    """Whatever was on the queues before, the workers do their work."""
    job_id = f"after-{secrets.token_hex(4)}"
    send(upstream, "pictor.ingest", v=1, source=f"s3://{shop}", job_id=job_id)
    assert fleet.wait_for_job(job_id).counts.scanned == len(KEYS)
    assert [worker.process.poll() for worker in fleet.workers[:2]] == [None, None]


def test_a_search_that_nobody_waits_for_is_answered_without_being_done(upstream: Celery) -> None:
    stale = {"pictor-due-at": time.time() - 95, "pictor-patience-s": 30}
    arguments = {"v": 1, "query": "s3://nowhere/a.jpg"}
    sent = upstream.send_task("pictor.search", kwargs=arguments, queue=queue_of("search"), headers=stale)
    assert "its sender waits 30 s" in sent.get(timeout=30)["error"]


# What is meant to work


def test_a_service_that_does_not_import_pictor_submits_follows_searches_and_deletes(
    fleet: Fleet, upstream: Celery, shop: str
) -> None:
    job_id = f"upstream-{secrets.token_hex(4)}"
    send(upstream, "pictor.ingest", v=1, source=f"s3://{shop}/", job_id=job_id, exclude=["5.jpg"])
    fleet.wait_for_job(job_id, JobState.COMPLETED)
    job = send(upstream, "pictor.job", "search", v=1, job_id=job_id).get(timeout=30)
    assert (job["state"], job["indexed"], job["ignored"]) == ("completed", 5, 1)
    query = {"query": f"s3://{shop}/0.jpg", "bucket": shop, "k": 3}
    found: list[dict[str, Any]] = []

    def are_found() -> bool:  # a searching worker sees the writes of others within five seconds
        found[:] = send(upstream, "pictor.search", "search", v=1, **query).get(timeout=30)["hits"]
        return len(found) == 3

    wait_until(are_found, "three are found")
    assert (found[0]["key"], round(found[0]["score"], 3)) == ("0.jpg", 1.0)
    send(upstream, "pictor.delete", v=1, bucket=shop, keys=["0.jpg", "1.jpg"])
    wait_until(lambda: in_index(fleet, shop) == ["2.jpg", "3.jpg", "4.jpg"], "two are gone")


def in_index(fleet: Fleet, shop: str) -> list[str]:
    live = fleet.index.live(fleet.settings.collection)
    rows = fleet.index.get_rows(live, ids_in(fleet.index, live))
    return sorted(row.ref.key for row in rows if row.ref.bucket == shop)


def test_the_client_does_the_same_with_fewer_words(fleet: Fleet, client: PictorClient, shop: str) -> None:
    job_id = client.ingest(f"s3://{shop}", batch_items=2)
    fleet.wait_for_job(job_id, JobState.COMPLETED)
    assert client.job(job_id)["indexed"] == len(KEYS)
    # A searching worker sees the writes of others within five seconds.
    wait_until(lambda: keys_like(client, f"s3://{shop}/3.jpg", shop) == KEYS, "all six are found")
    assert keys_like(client, image_id_of(shop, "3.jpg"), shop) == KEYS
    nothing = client.search(f"s3://{shop}/3.jpg", prefix="no/such/prefix/")
    assert nothing["hits"] == []
    client.delete(shop, KEYS)
    wait_until(lambda: in_index(fleet, shop) == [], "all are gone")


def test_a_deletion_that_no_single_message_holds_is_done_whole(
    fleet: Fleet, broker: Connection, client: PictorClient, shop: str
) -> None:
    fleet.wait_for_job(client.ingest(f"s3://{shop}"), JobState.COMPLETED)
    # As long as a key may be, and twelve bytes of JSON for each four of it.
    absent = [f"{number:06d}" + "\U0001f600" * 254 for number in range(7_000)]
    assert len(json.dumps(absent)) > 20 * 2**20
    client.delete(shop, [*KEYS[:3], *absent, *KEYS[3:]])
    wait_until(lambda: in_index(fleet, shop) == [], "all are gone")
    assert list_dead(broker) == []


def keys_like(client: PictorClient, query: str, bucket: str) -> list[str]:
    hits: Any = client.search(query, k=100, bucket=bucket)["hits"]
    return sorted(hit["key"] for hit in hits)


def test_a_submission_that_is_sent_twice_is_one_job(fleet: Fleet, client: PictorClient, shop: str) -> None:
    job_id = f"twice-{secrets.token_hex(4)}"
    for _ in range(5):
        client.ingest(f"s3://{shop}", job_id=job_id, batch_items=1)
    job = fleet.wait_for_job(job_id, JobState.COMPLETED)
    assert (job.counts.scanned, job.planned_batches) == (len(KEYS), len(KEYS))
    client.ingest(f"s3://{shop}", job_id=job_id)
    fleet.wait_for_queue("plan", 0)
    assert fleet.wait_for_job(job_id) == job


def test_a_search_that_cannot_be_done_is_answered_with_the_reason(
    client: PictorClient, shop: str, fleet: Fleet
) -> None:
    def fault(query: str, **options: Any) -> str:
        answer = client.search(query, **options)
        assert answer["hits"] == []
        return str(answer["error"])

    fleet.store.put(shop, "page.jpg", b"<html></html>" * 20)
    assert fault(f"s3://{shop}/none.jpg").startswith("not_found: ")
    assert fault(f"s3://{shop}/page.jpg").startswith("not_an_image: ")
    assert fault("s3://no-such-bucket-at-all/a.jpg") != ""
    assert "32 hex digits" in fault("f" * 31) or "stored image id" in fault("f" * 31)
    assert fault("0" * 32).startswith("not_found: ")
    assert "collection 'nowhere' does not exist" in fault(f"s3://{shop}/0.jpg", collection="nowhere")
    assert "collection name" in fault(f"s3://{shop}/0.jpg", collection="a__b")


def test_a_job_that_nobody_knows_is_said_to_be_unknown(client: PictorClient) -> None:
    assert "no job 'never-submitted'" in str(client.job("never-submitted")["error"])


# What cannot be done


def test_a_job_for_a_bucket_that_is_not_there_fails_and_says_so(fleet: Fleet, client: PictorClient) -> None:
    job_id = client.ingest("s3://no-such-bucket-at-all/x/")
    assert error_of(fleet, job_id).startswith("bucket 'no-such-bucket-at-all' does not exist at http")
    [shown] = fleet.pictor_json("jobs", "show", job_id)
    assert (shown["state"], shown["error"]) == ("failed", error_of(fleet, job_id))
    assert client.job(job_id)["state"] == "failed"


@pytest.mark.parametrize("name", ["a__b", "1st", "naïve", "a b"])
def test_a_job_for_a_collection_of_a_name_that_cannot_be_fails_and_says_so(
    fleet: Fleet, client: PictorClient, shop: str, name: str
) -> None:
    job_id = client.ingest(f"s3://{shop}", collection=name)
    assert error_of(fleet, job_id).startswith(f"collection name {name!r}: letters, digits")


def test_a_job_for_a_collection_of_another_model_waits_for_that_models_workers_and_stops_none(
    fleet: Fleet, client: PictorClient, shop: str, upstream: Celery
) -> None:
    name = f"{fleet.settings.collection}_other"
    fleet.index.create_collection(name, replace(builtin_spec(), name="other", fingerprint="0e" * 32))
    job_id = client.ingest(f"s3://{shop}", collection=name)
    wait_until(lambda: fleet.api.messages_like(fleet.vhost, "^embed.0e0e0e0e$") > 0, "its batches wait")
    error = client.search(f"s3://{shop}/0.jpg", collection=name)["error"]
    assert error == "this collection is of model 0e0e0e0e, and no search worker of that model runs"
    assert_works(fleet, upstream, shop)
    assert fleet.ledger.get_job(job_id).state is JobState.RUNNING
    fleet.ledger.set_state(job_id, JobState.CANCELLED)


def test_a_job_for_a_bucket_that_may_not_be_read_fails_and_the_workers_go_on(
    fleet: Fleet, client: PictorClient, upstream: Celery, shop: str, s3_server: Any
) -> None:
    foreign = fleet.settings.model_copy(
        update={
            "s3_access_key": type(fleet.settings.s3_access_key)(s3_server.second_access_key),
            "s3_secret_key": type(fleet.settings.s3_secret_key)(s3_server.second_secret_key),
        }
    )
    name = f"foreign-{secrets.token_hex(4)}"
    store = wiring.open_s3(foreign)
    store.make_bucket(name)
    # Ceph lets in whom a policy of their own lets in, whoever owns the bucket. So its owner forbids it.
    everybody = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{name}"]}
    policy = {"Version": "2012-10-17", "Statement": [everybody]}
    store._minio.set_bucket_policy(name, json.dumps(policy))
    assert "these credentials may not do this" in error_of(fleet, client.ingest(f"s3://{name}"))
    assert_works(fleet, upstream, shop)


def test_a_collection_that_is_dropped_under_way_fails_the_job_and_no_worker(
    fleet: Fleet, broker: Connection, client: PictorClient, upstream: Celery, bucket: str
) -> None:
    fleet.put_all(bucket, {f"{number}.jpg": picture(number) for number in range(90)})
    name = f"{fleet.settings.collection}_brief"
    job_id = client.ingest(f"s3://{bucket}", collection=name, batch_items=1)
    wait_until(lambda: (job := fleet.job(job_id)) is not None and job.counts.indexed > 0, "it has begun")
    fleet.index.drop_collection(name)
    assert error_of(fleet, job_id).startswith(f"collection '{name}' does not exist")
    fleet.wait_for_queue("embed", 0)
    assert list_dead(broker) == []
    fleet.put_all(bucket, {key: picture(place) for place, key in enumerate(KEYS)})
    job = fleet.wait_for_job(client.ingest(f"s3://{bucket}", include=KEYS), JobState.COMPLETED)
    assert job.counts.scanned == len(KEYS)


# What cannot be understood


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"v": 1}, "pictor.ingest: source: Field required"),
        (
            {"source": "s3://shop"},
            "pictor.ingest: no argument v; this worker reads version 1 of the arguments",
        ),
        ({"v": 2, "source": "s3://shop"}, "pictor.ingest: version 2; this worker reads version 1"),
        ({"v": 1, "source": 5}, "pictor.ingest: source: Input should be a valid string"),
        (
            {"v": 1, "source": "s3://shop", "mood": "good"},
            "pictor.ingest: mood: Extra inputs are not permitted",
        ),
        ({"v": 1, "source": "s3://shop", "include": ["x" * 2000]}, "pictor.ingest: include.0: "),
        ({"v": 1, "source": "s3://sh\0op"}, "pictor.ingest: source: Value error, holds a character"),
    ],
)
def test_a_malformed_submission_is_a_dead_letter_and_a_failed_job_with_the_reason(
    fleet: Fleet, broker: Connection, upstream: Celery, arguments: dict[str, Any], reason: str
) -> None:
    result = send(upstream, "pictor.ingest", **arguments)
    [letter] = wait_for_dead(broker)
    assert (letter.task, letter.task_id, letter.queue) == ("pictor.ingest", result.id, "plan")
    assert letter.reason.startswith(reason)
    assert error_of(fleet, f"refused-{result.id}").startswith(reason)
    assert f"refused-{result.id}" in [job.job_id for job in fleet.ledger.list_jobs(limit=3)]


def test_positional_arguments_are_refused(fleet: Fleet, broker: Connection, upstream: Celery) -> None:
    upstream.send_task("pictor.ingest", args=["s3://shop"], queue=queue_of("plan"))
    [letter] = wait_for_dead(broker)
    assert letter.reason == "pictor.ingest: 1 positional arguments; only keyword arguments are read"


def test_a_submission_of_fifteen_megabytes_is_refused(
    fleet: Fleet, broker: Connection, upstream: Celery
) -> None:
    send(upstream, "pictor.ingest", v=1, source="s3://shop/" + "x" * 15_000_000)
    [letter] = wait_for_dead(broker)
    assert "at most 2048 characters" in letter.reason
    assert letter.size_bytes > 15_000_000
    assert len(letter.shown) <= 200


def test_a_dead_letter_that_would_be_too_long_for_the_broker_is_made_by_the_broker(
    fleet: Fleet, broker: Connection, client: PictorClient
) -> None:
    arguments = {"v": 1, "source": "s3://shop/" + "\u732b" * 4_000_000}  # 12 MB as UTF-8, 24 MB when escaped
    body = json.dumps([[], arguments, {}], ensure_ascii=False).encode()
    broker.Producer().publish(
        body,
        exchange="plan",
        routing_key="plan",
        headers=TASK,
        content_type="application/json",
        content_encoding="utf-8",
    )
    [letter] = wait_for_dead(broker)
    assert (letter.queue, letter.reason, letter.size_bytes) == ("plan", "rejected", len(body))
    assert "no job" in str(client.job("never-submitted")["error"])


def test_a_message_that_the_broker_refuses_for_its_size_is_said_with_both_sizes(broker: Connection) -> None:
    said = (
        r"at most 16777216 bytes and was sent one of 17000000; send less at once, or raise max_message_size"
    )
    with pytest.raises(ConfigError, match=said), broker_errors("away"), broker.channel() as channel:
        broker.Producer(channel).publish(b"x" * 17_000_000, exchange="plan", routing_key="plan")


def test_a_queue_that_is_not_there_or_has_other_properties_is_named(broker: Connection) -> None:
    with (
        pytest.raises(ConfigError, match="the broker has no queue 'never-declared'; run `pictor init`"),
        broker_errors("away"),
        broker.channel() as channel,
    ):
        Queue("never-declared").bind(channel).get()
    with (
        pytest.raises(ConfigError, match="queue 'plan' of the broker has other properties than Pictor's"),
        broker_errors("away"),
        broker.channel() as channel,
    ):
        Queue("plan", durable=True).bind(channel).queue_declare()


def test_a_deletion_from_a_collection_that_is_not_there_is_refused(
    fleet: Fleet, broker: Connection, client: PictorClient
) -> None:
    client.delete("shop", ["a.jpg"], collection="nowhere")
    [letter] = wait_for_dead(broker)
    assert letter.reason.startswith("collection 'nowhere' does not exist")


TASK = {"task": "pictor.ingest", "id": "foreign"}
GOOD_BODY = b'[[], {"v": 1, "source": "s3://no-such-bucket-at-all"}, {}]'


@pytest.mark.parametrize(
    ("body", "properties"),
    [
        (b"\xff\xfe garbage", {}),
        (b"garbage", {"headers": TASK}),
        (b'{"hello": 1}', {"headers": TASK}),
        (b'{"hello": 1}', {}),
        (b"[[], 5, {}]", {"headers": TASK}),
        (b"\x80\x04K\x01.", {"headers": TASK, "content_type": "application/x-python-serialize"}),
        (GOOD_BODY, {"headers": TASK | {"task": "no.such.task"}}),
        (GOOD_BODY, {"headers": TASK | {"retries": "many"}}),
        (GOOD_BODY, {"headers": TASK | {"task": 5}}),
        (GOOD_BODY, {"headers": TASK | {"expires": "soon"}}),
        (b"[[], {}, {}]", {"headers": TASK | {"task": "pictor.embed_batch"}}),
        (b'[[], {"message": 5}, {}]', {"headers": TASK | {"task": "pictor.embed_batch"}}),
        (b'[[], {"message": "{}"}, {}]', {"headers": TASK | {"task": "pictor.ingest_batch"}}),
        (b'[[], {"job_id": "x"}, {}]', {"headers": TASK | {"task": "pictor.plan_job"}}),
    ],
    ids=str,
)
def test_garbage_on_a_queue_becomes_a_dead_letter_and_the_worker_goes_on(
    fleet: Fleet, broker: Connection, client: PictorClient, body: bytes, properties: Mapping[str, object]
) -> None:
    publish(fleet, body, **properties)
    [letter] = wait_for_dead(broker)
    assert letter.queue == "plan"
    assert letter.reason not in ("", "unknown")
    # One child, one message at a time: an answer means that the worker is over it.
    assert "no job" in str(client.job("never-submitted")["error"])


def publish(fleet: Fleet, body: bytes, **properties: object) -> None:
    usual = {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2}
    fleet.api.publish(fleet.vhost, "plan", body, usual | properties)


def test_a_senders_own_delay_and_time_limit_hold_nobody_up(fleet: Fleet, client: PictorClient) -> None:
    arguments = {"v": 1, "source": "s3://no-such-bucket-at-all", "job_id": f"late-{secrets.token_hex(4)}"}
    headers = TASK | {"eta": "2036-01-01T00:00:00+00:00", "timelimit": [0.001, 0.001]}
    publish(fleet, json.dumps([[], arguments, {}]).encode(), headers=headers)
    assert "does not exist" in error_of(fleet, str(arguments["job_id"]))


# Somebody who means harm


def test_two_hundred_hostile_messages_stop_no_worker_and_an_honest_job_ends_right(
    fleet: Fleet, broker: Connection, upstream: Celery, shop: str
) -> None:
    """tests/unit/test_hostile_publisher.py has two thousand, and says what each kind is."""
    collections = {info.name for info in fleet.index.list_collections()}
    job = plan_batch_by_batch(fleet, shop)
    planned = list(fleet.ledger.pending(job.job_id))
    known = Known(
        batches=[batch.body for batch in planned],
        jobs=[job.job_id],
        forbidden_bucket=f"{shop}-secret",
        own_bucket=f"{shop}-theirs",
        own_collection=f"{fleet.settings.collection}_theirs",
        crashes_header="pictor-odd",  # a suspect batch is tried in a process of its own, which takes long
    )
    hostile = [made for made in hostile_messages(11, 300, known) if "x-delivery-count" not in made.headers][
        :200
    ]
    with broker.Producer() as producer:
        for made in hostile:
            publish_hostile(producer, fleet, made)
        for batch in planned:
            message = {"message": batch.body.decode()}
            publish_hostile(producer, fleet, Hostile(task="pictor.embed_batch", args=[], kwargs=message))
    fleet.ledger.set_state(job.job_id, JobState.RUNNING)
    counts = fleet.wait_for_job(job.job_id).counts
    assert (counts.scanned, counts.indexed + counts.unchanged) == (len(KEYS), len(KEYS))
    for role in ("plan", "embed", "search"):
        fleet.wait_for_queue(role, 0)
    assert all(letter.reason not in ("", "unknown") for letter in list_dead(broker))
    assert {info.name for info in fleet.index.list_collections()} == collections
    assert_works(fleet, upstream, shop)


def plan_batch_by_batch(fleet: Fleet, shop: str) -> Job:
    """A job whose batches are planned, one object each, and not on a queue."""
    request = JobRequest(
        location=f"s3://{shop}/",
        bucket=shop,
        prefix="",
        collection=fleet.settings.collection,
        model_name="builtin",
        fingerprint=fleet.fingerprint,
    )
    job = fleet.ledger.create_job(request, driver=WORKERS)
    refs = list(fleet.store.list_objects(shop))
    batches = [
        make_batch([ref], job_id=job.job_id, request=request, path=f"{n:08d}") for n, ref in enumerate(refs)
    ]
    fleet.ledger.record_plan(job.job_id, batches, cursor=refs[-1].key, ignored=0)
    fleet.ledger.mark_published(job.job_id, [batch.path for batch in batches])
    fleet.ledger.finish_planning(job.job_id, ignored=0)
    return job


def publish_hostile(producer: Producer, fleet: Fleet, made: Hostile) -> None:
    role = {"pictor.ingest": "plan", "pictor.delete": "plan", "pictor.plan_job": "plan"}.get(made.task)
    role = role or ("search" if made.task in ("pictor.search", "pictor.job") else "embed")
    queue = fleet.queue(role)
    producer.publish(
        json.dumps([made.args, made.kwargs, {}]).encode(),
        exchange=queue,
        routing_key=queue,
        content_type="application/json",
        content_encoding="utf-8",
        headers={"lang": "py", "id": "hostile", **made.headers, "task": made.task},
    )


# Dead letters, by hand


def test_dead_letters_are_listed_replayed_one_by_one_and_purged(
    fleet: Fleet, broker: Connection, upstream: Celery, shop: str
) -> None:
    name = f"{fleet.settings.collection}_later"
    first = send(upstream, "pictor.delete", v=1, bucket=shop, keys=KEYS, collection=name)
    second = send(upstream, "pictor.delete", v=1, bucket=shop)
    letters = wait_for_dead(broker, 2)
    assert {letter.task_id for letter in letters} == {first.id, second.id}
    listed = fleet.pictor_json("dead", "list")
    assert [datetime.fromisoformat(letter.pop("died_at")) for letter in listed] == [
        letter.died_at for letter in letters
    ]
    assert listed == [
        {name: value for name, value in asdict(letter).items() if name != "died_at"} for letter in letters
    ]
    assert wait_for_dead(broker, 2) == letters  # to look changes nothing
    fleet.index.create_collection(name, builtin_spec())
    done = fleet.pictor("dead", "replay", first.id)
    assert (done.returncode, "replayed 1 dead letters, 1 are left" in done.stderr) == (0, True)
    [left] = wait_for_dead(broker)
    assert left.task_id == second.id
    again = fleet.pictor("dead", "replay")
    assert "replayed 1 dead letters" in again.stderr
    [back] = wait_for_dead(broker)
    assert (back.task_id, back.reason) == (second.id, left.reason)
    assert fleet.pictor("dead", "replay", "no-such-id").returncode == 2
    died_at = int((datetime.now(UTC) - timedelta(days=91)).timestamp())
    headers = {"task": "pictor.delete", "id": "old", DIED_HEADER: died_at}
    broker.Producer().publish(b"[[], {}, {}]", exchange=DEAD_EXCHANGE, routing_key=DEAD, headers=headers)
    wait_for_dead(broker, 2)
    assert "purged 1 dead letters" in fleet.pictor("dead", "purge", "--older-than", "90d", "--yes").stderr
    assert [letter.task_id for letter in wait_for_dead(broker)] == [second.id]
    assert "purged 1 dead letters" in fleet.pictor("dead", "purge", "--yes").stderr
    assert fleet.pictor_json("dead", "list") == []

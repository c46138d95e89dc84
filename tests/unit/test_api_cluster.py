"""The service in front of a cluster: whatever is asked for over HTTP, the workers do."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.cluster import open_cluster
from pipeline.api.wake import PlannerWaker
from pipeline.errors import ArgumentError, ConfigError, ModelError
from pipeline.location import Location
from pipeline.ports import Deps, ImageEmbedder
from pipeline.ports.model_binding import DEFAULT_MODEL
from pipeline.settings import Settings
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import WORKERS, Job, JobState, KeyedRequest, image_id_of
from tests.unit.api_client import backend_of, client_of
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    HERE,
    OTHER_SPEC,
    SPEC,
    FakeEmbedder,
    distinct_png,
    request_of,
)
from tests.unit.memory_broker import MemoryBroker, Message, message_of
from tests.unit.test_late_batches import BeforeDeleting, embed, plan
from workers.broker.publish import Publisher
from workers.process.context import Context

SOURCE = f"s3://{BUCKET}/"


class Cluster:
    """Two processes of the service on one ledger, index and broker."""

    def __init__(self, deps: Deps, broker: MemoryBroker, home: Path) -> None:
        self.broker = broker
        self.wakers = [PlannerWaker(deps.ledger, Publisher(broker.app, preparation="inline")) for _ in "ab"]  # type: ignore[arg-type]
        self.backends = [backend_of(deps, home, driver=WORKERS, runner=waker) for waker in self.wakers]
        self.clients = [client_of(backend) for backend in self.backends]

    def steps(self) -> list[dict[str, Any]]:
        """What the planners are sent. No wish comes after this."""
        for waker in self.wakers:
            waker.close()
        return [message.kwargs for message in self.messages()]

    def messages(self) -> list[Message]:
        found = self.broker.messages("plan")
        assert {message.task for message in found} <= {"pictor.plan_job"}
        return found


@pytest.fixture
def cluster(deps: Deps, store: MemoryStore, broker: MemoryBroker, tmp_path: Path) -> Iterator[Cluster]:
    store.put(BUCKET, "a.png", distinct_png(1))
    cluster = Cluster(deps, broker, tmp_path)
    with cluster.clients[0], cluster.clients[1]:
        yield cluster
    for waker in cluster.wakers:
        waker.close()


def submit(client: TestClient, key: str = "", **more: Any) -> httpx2.Response:
    return client.post(
        "/v1/jobs", json={"source": SOURCE} | more, headers={"Idempotency-Key": key} if key else {}
    )


def job_of(answer: httpx2.Response, ledger: SqlLedger) -> Job:
    assert answer.status_code == 202, answer.text
    return ledger.get_job(answer.json()["job_id"])


def test_a_job_over_http_is_the_same_as_one_that_a_task_made(
    cluster: Cluster, context: Context, ledger: SqlLedger
) -> None:
    options: dict[str, Any] = {
        "include": ["*.png"],
        "keep_missing": True,
        "max_delete_share": 0.5,
        "retry_failed": True,
    }
    over_http = job_of(submit(cluster.clients[0], **options), ledger)
    [sent] = cluster.steps()
    task = message_of("pictor.ingest", v=1, source=SOURCE, job_id="by-task", batch_items=4, **options)
    cluster.broker.deliver(task)
    by_task = ledger.get_job("by-task")
    [of_task] = cluster.messages()
    assert (over_http.request, over_http.driver) == (by_task.request, by_task.driver)
    assert over_http.state is JobState.RUNNING
    assert [(step["job_id"], step["step"]) for step in (sent, of_task.kwargs)] == [
        (over_http.job_id, 0),
        ("by-task", 0),
    ]


def test_the_staging_bucket_of_the_workers_is_no_source_over_http(
    deps: Deps, broker: MemoryBroker, tmp_path: Path
) -> None:
    """Whoever may name it: the pixels in it would be indexed as pictures, or fail one by one."""
    staging = Settings.model_construct().staging_bucket
    store = MemoryStore(staging)
    store.put(staging, "job/00000000.block", b"pixels")
    place = Location(url=f"s3://{staging}/", bucket=staging, prefix="")
    waker = PlannerWaker(deps.ledger, Publisher(broker.app, preparation="inline"))  # type: ignore[arg-type]
    backend = backend_of(replace(deps, store=store), tmp_path, driver=WORKERS, runner=waker, allowed=[place])
    with client_of(backend) as client:
        refused = [
            client.post("/v1/jobs", json={"source": f"s3://{staging}/{prefix}"}) for prefix in ("", "job/")
        ]
        picture = {"object": {"bucket": staging, "key": "job/00000000.block"}}
        refused.append(client.post(f"/v1/collections/{COLLECTION}/images", json=picture))
    waker.close()
    assert [answer.status_code for answer in refused] == [422, 422, 422], [a.text for a in refused]
    assert all("it is no source" in answer.text for answer in refused)
    assert (list(deps.ledger.list_jobs(limit=9)), broker.messages("plan")) == ([], [])


def test_a_worker_plans_a_job_that_came_over_http(
    cluster: Cluster, context: Context, ledger: SqlLedger
) -> None:
    job = job_of(submit(cluster.clients[0]), ledger)
    cluster.wakers[0].close()
    [step] = cluster.messages()
    cluster.broker.deliver(step)
    assert ledger.get_job(job.job_id).counts.pending == 1
    assert cluster.clients[1].get(f"/v1/jobs/{job.job_id}").json()["pending"] == 1


def test_a_job_is_taken_while_the_broker_is_away_and_left_to_the_workers_watch(
    cluster: Cluster, ledger: SqlLedger
) -> None:
    cluster.broker.refuse()
    job = job_of(submit(cluster.clients[0]), ledger)
    assert cluster.steps() == []
    assert list(ledger.plan_claims()) == [job.job_id]


def test_the_same_key_is_one_job_whichever_process_is_asked(cluster: Cluster, ledger: SqlLedger) -> None:
    start = threading.Barrier(8, timeout=30)

    def ask(number: int) -> httpx2.Response:
        start.wait()
        return submit(cluster.clients[number % 2], "monday")

    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(ask, range(8)))
    early = [answer for answer in answers if answer.status_code != 202]
    assert {answer.json()["code"] for answer in early} <= {"in_flight"}
    jobs = {job_of(answer, ledger).job_id for answer in answers if answer not in early}
    assert len(jobs) == 1
    assert [job.job_id for job in ledger.list_jobs()] == list(jobs)


def test_a_key_of_other_arguments_is_refused_whichever_process_is_asked(
    cluster: Cluster, ledger: SqlLedger
) -> None:
    submit(cluster.clients[0], "monday")
    answer = submit(cluster.clients[1], "monday", keep_missing=True)
    assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")
    assert len(ledger.list_jobs()) == 1


def forget_keys(ledger: SqlLedger) -> None:
    """As on the day after, when the ledger knows the job alone."""
    later = datetime.now(UTC) + timedelta(days=2)
    of_another = KeyedRequest(name="another", digest="", attempt="", until=later)
    ledger.requests.begin(of_another, now=later)


def test_a_key_that_another_process_used_at_that_moment_is_looked_at_once_more(
    cluster: Cluster, ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = job_of(submit(cluster.clients[0], "monday"), ledger).job_id
    forget_keys(ledger)
    late = cluster.backends[1].ledger
    looks: list[str] = []
    get_job = late.get_job

    def not_yet_there(asked: str) -> Job:
        looks.append(asked)
        return get_job(asked if len(looks) > 1 else "nobody's")

    monkeypatch.setattr(late, "get_job", not_yet_there)
    answer = submit(cluster.clients[1], "monday", keep_missing=True)
    assert looks[0] == job_id
    assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")


def test_a_key_with_which_the_collection_got_another_model_is_still_the_same(
    cluster: Cluster, index: MemoryIndex, ledger: SqlLedger
) -> None:
    first = job_of(submit(cluster.clients[0], "monday"), ledger)
    index.drop_collection(COLLECTION)
    index.create_collection(COLLECTION, OTHER_SPEC)
    assert job_of(submit(cluster.clients[1], "monday"), ledger) == first


REFUSED = {
    "a folder": ({"source": "/etc"}, 400, "invalid_argument"),
    "a bucket that is not there": ({"source": "s3://nobodys/"}, 422, "target_unusable"),
    "a model that is not the collection's": ({"model": "builtin"}, 409, "model_mismatch"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_submission_that_cannot_work_makes_no_job(
    cluster: Cluster, ledger: SqlLedger, deps: Deps, name: str
) -> None:
    body, status, code = REFUSED[name]
    everywhere = Location(url="s3://nobodys/", bucket="nobodys", prefix="")
    backend = backend_of(deps, Path(), allowed=[everywhere, Location(url=SOURCE, bucket=BUCKET, prefix="")])
    other = FakeEmbedder(OTHER_SPEC)
    backend = replace(
        backend, driver=WORKERS, model_for=lambda address, _: other if address else deps.embedder
    )
    with client_of(backend) as client:
        answer = submit(client, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert ledger.list_jobs() == []


@pytest.mark.parametrize("model", ["", "builtin"])
def test_the_model_of_a_collection_need_not_be_on_this_machine(
    cluster: Cluster, index: MemoryIndex, ledger: SqlLedger, deps: Deps, model: str
) -> None:
    def model_for(address: str, _: str) -> ImageEmbedder:
        if address != DEFAULT_MODEL:
            raise ModelError(f"no file of {address} here")
        return FakeEmbedder(OTHER_SPEC)

    index.drop_collection(COLLECTION)
    index.create_collection(COLLECTION, replace(SPEC, address=model or SPEC.address))
    with client_of(replace(cluster.backends[0], model_for=model_for)) as client:
        job = job_of(submit(client, **({"model": model} if model else {})), ledger)
    assert job.request.fingerprint == SPEC.fingerprint


def test_a_job_of_the_workers_is_moved_by_any_process(cluster: Cluster, ledger: SqlLedger) -> None:
    job_id = job_of(submit(cluster.clients[0]), ledger).job_id
    assert cluster.clients[1].post(f"/v1/jobs/{job_id}/pause").json()["state"] == "paused"
    assert cluster.clients[0].post(f"/v1/jobs/{job_id}/resume").json()["state"] == "running"
    assert [step["job_id"] for step in cluster.steps()] == [job_id, job_id]


def test_a_job_that_a_host_runs_is_left_to_it(cluster: Cluster, ledger: SqlLedger) -> None:
    job_id = ledger.create_job(request_of(), driver=HERE).job_id
    answer = cluster.clients[0].post(f"/v1/jobs/{job_id}/resume")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert cluster.steps() == []


def test_what_a_removal_takes_along_is_brought_in_again_by_the_workers(
    cluster: Cluster, deps: Deps, store: MemoryStore, index: MemoryIndex, ledger: SqlLedger
) -> None:
    embed(plan(deps), deps)

    def bring_in_anew() -> None:
        store.put(BUCKET, "a.png", distinct_png(2))
        embed(plan(deps), deps)

    backend = replace(cluster.backends[0], index=BeforeDeleting(index, bring_in_anew))
    with client_of(backend) as client:
        path = f"/v1/collections/{COLLECTION}/images/{image_id_of(BUCKET, 'a.png')}"
        assert client.delete(path).status_code == 204
    [step] = cluster.steps()
    assert ledger.get_job(step["job_id"]).driver == WORKERS


# Opening


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({}, "PICTOR_LEDGER_URL"),
        ({"ledger_url": "postgresql://u:p@h/d"}, "PICTOR_MILVUS_URI"),
    ],
)
def test_a_cluster_needs_servers_that_workers_see(tmp_path: Path, more: dict[str, Any], word: str) -> None:
    settings = Settings(home=tmp_path, broker_url="amqp://u:p@h/v", **more)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=word), open_cluster(settings, []):
        pass


def test_a_folder_cannot_be_allowed_in_a_cluster(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        broker_url="amqp://u:p@h/v",  # type: ignore[arg-type]
        ledger_url="postgresql://u:p@h/d",  # type: ignore[arg-type]
        milvus_uri="http://h:19530",
    )
    folder = Location(url="file:///photos", bucket="/photos", prefix="")
    with pytest.raises(ArgumentError, match="cannot read a folder"), open_cluster(settings, [folder]):
        pass

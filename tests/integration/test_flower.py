"""Flower over real workers: they and their tasks are seen, arguments are short, a task sent there runs."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from devstack.flower import Flower
from pipeline.types import JobState
from tests.chaos.pictures import picture
from tests.fleet import Fleet, wait_until

IMAGES = 40
SHORT = 120  # characters: a line of the page, not forty keys


@pytest.fixture(scope="module")
def flower(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    service = Flower(tmp_path_factory.mktemp("flower"))
    service.connect_to(fleet.env)
    service.start()
    yield service
    service.stop()


def ask(flower: Flower, path: str, body: object = None, *, login: bool = True) -> Any:
    parts = urlsplit(flower.url)
    request = urllib.request.Request(
        f"http://{parts.hostname}:{parts.port}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    if login:
        token = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
    with opener.open(request, timeout=30) as answer:
        return json.load(answer)


def test_a_task_sent_through_flower_runs_and_is_shown_without_its_keys(
    fleet: Fleet, flower: Flower, bucket: str
) -> None:
    # By their events: workers answer no questions.
    wait_until(lambda: len(ask(flower, "workers?json=1")["data"]) == 2, "both workers in Flower")
    fleet.put_all(bucket, {f"a-rather-long-name-{n}.jpg": picture(n) for n in range(IMAGES)})
    arguments = {"v": 1, "source": f"s3://{bucket}/", "job_id": f"flower-{bucket}"}
    ask(flower, "api/task/send-task/pictor.ingest", {"kwargs": arguments})
    job = fleet.wait_for_job(f"flower-{bucket}", JobState.COMPLETED)
    assert job.counts.indexed == IMAGES
    wait_until(lambda: any(_batches(flower, bucket)), "the batch in Flower")
    shown = _batches(flower, bucket)
    assert all(len(kwargs) < SHORT for kwargs in shown)
    assert not any("a-rather-long-name" in kwargs for kwargs in shown)


def test_flower_is_closed_to_strangers(flower: Flower) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(flower, "api/workers", login=False)


def _batches(flower: Flower, bucket: str) -> list[str]:
    tasks = ask(flower, "api/tasks?limit=200&taskname=pictor.embed_batch").values()
    return [str(task["kwargs"]) for task in tasks if f"flower-{bucket}" in str(task["kwargs"])]

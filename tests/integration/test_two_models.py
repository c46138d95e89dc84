"""Workers of two models on one broker, and a broker that still has a queue of the version before."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from benchmarks.model_file import make_model_file
from pipeline import wiring
from pipeline.types import JobState
from tests.chaos.pictures import picture
from tests.fleet import Fleet, Worker, wait_until
from workers.broker.connection import broker_connection
from workers.broker.queue_names import EMBED, model_queue
from workers.broker.queues import work_queue
from workers.client import Answer, PictorClient

IMAGES = 8
PROMPT_S = 5.0  # a question without an answer would be waited for much longer


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The file of a model that no worker has yet."""
    return make_model_file(tmp_path, "squeezenet1_1", resize=72, crop=64)


def test_two_fleets_work_side_by_side_and_answer_for_each_other(
    fleet: Fleet, bucket: str, other: Path
) -> None:
    before = fleet.running()
    spec = wiring.load_model_spec(str(other), fleet.settings)
    collection = f"{fleet.settings.collection}_second"
    fleet.index.create_collection(collection, spec)
    fleet.put_all(bucket, {f"{number}.jpg": picture(930_000 + number) for number in range(IMAGES)})

    theirs = fleet.submit(f"s3://{bucket}", collection=collection, batch_items=IMAGES // 2)
    queue = model_queue(EMBED, spec.fingerprint)
    wait_until(
        lambda: fleet.api.messages_like(fleet.vhost, f"^{queue}$") == 2, "its batches wait for its workers"
    )
    ours = fleet.wait_for_job(fleet.submit(f"s3://{bucket}"), JobState.COMPLETED)
    move_one_to_the_former_queue(fleet, queue)

    env = {"PICTOR_MODEL": str(other), "PICTOR_COLLECTION": collection}
    worker = fleet.start(queues="embed,search", name="other", extra_env=env).ready()
    job = fleet.wait_for_job(theirs, JobState.COMPLETED)
    assert (ours.counts.indexed, job.counts.indexed) == (IMAGES, IMAGES)
    assert len(fleet.indexed_keys(collection)) == IMAGES

    with PictorClient(fleet.env["PICTOR_BROKER_URL"]) as client:
        for _ in range(3):  # whichever worker takes each
            for where in (collection, fleet.settings.collection):
                answer = client.search(f"s3://{bucket}/3.jpg", k=1, collection=where, bucket=bucket)
                assert first_key(answer) == "3.jpg", answer
        assert_nobody_stopped([*before, worker])
        assert worker.terminate() == 0
        started = time.monotonic()
        answer = client.search(f"s3://{bucket}/3.jpg", collection=collection)
        assert "no search worker of that model runs" in str(answer["error"])
        assert time.monotonic() - started < PROMPT_S
    assert_nobody_stopped(before)


def move_one_to_the_former_queue(fleet: Fleet, queue: str) -> None:
    """As if a planner of the version before had sent it."""
    with broker_connection(fleet.settings) as connection, connection.channel() as channel:
        message = work_queue(queue).bind(channel).get()
        assert message is not None
        connection.Producer(channel).publish(
            message.body,
            exchange="embed",
            routing_key="embed",
            declare=[work_queue("embed")],
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            headers=message.headers,
        )
        message.ack()


def first_key(answer: Answer) -> str:
    [hit] = cast("list[dict[str, str]]", answer["hits"])
    return hit["key"]


def assert_nobody_stopped(workers: Sequence[Worker]) -> None:
    for worker in workers:
        assert worker.process.poll() is None, worker.log()
        assert not (worker.folder / "stopped").exists(), worker.log()

"""Workers of a trained model: who loads it and who does not, and what becomes of replaced weights."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch

from benchmarks.model_file import make_model_file
from pipeline.types import JobState
from tests.chaos.pictures import picture
from tests.fleet import Fleet, assert_refused, own_place
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server

ARCHITECTURE = "squeezenet1_1"  # 3 MB
WEIGHTS = f"{ARCHITECTURE}.safetensors"


@pytest.fixture
def trained(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path: Path,
) -> Iterator[Fleet]:
    """A system with a model of its own and no workers yet. Its weights are in the fleet's folder."""
    model = make_model_file(tmp_path, ARCHITECTURE, resize=72, crop=64)
    more = {"PICTOR_MODEL": str(model), "PICTOR_PREPARATION": "staged"}
    with (
        own_place(rabbitmq, s3_server, milvus_server, postgres, tmp_path, **more) as env,
        Fleet(env, tmp_path) as fleet,
    ):
        fleet.init()
        yield fleet


def holds_torch(pid: int) -> bool:
    return "libtorch_cpu" in Path(f"/proc/{pid}/maps").read_text()


def test_only_who_embeds_holds_the_model_and_a_job_is_done(trained: Fleet) -> None:
    plan, prepare, embed = [trained.start(queues=queue) for queue in ("plan", "prepare", "embed")]
    for worker in (plan, prepare, embed):
        worker.ready()
    trained.put_all(f"b{trained.vhost}", {f"{number}.jpg": picture(number) for number in range(20)})
    job = trained.wait_for_job(trained.submit(f"s3://b{trained.vhost}"))

    assert (job.state, job.counts.indexed) == (JobState.COMPLETED, 20)
    assert [worker.name for worker in (plan, prepare, embed) if holds_torch(worker.process.pid)] == []
    assert not any(holds_torch(pid) for pid in plan.children_pids())
    assert all(holds_torch(pid) for pid in embed.children_pids())


def test_a_worker_whose_weights_are_replaced_stops_and_says_so(trained: Fleet) -> None:
    worker = trained.start(queues="embed").ready()
    weights = trained.folder / WEIGHTS
    safetensors.torch.save_file(
        {name: tensor + 1 for name, tensor in safetensors.torch.load_file(weights).items()}, weights
    )
    [child] = worker.children_pids()
    os.kill(child, signal.SIGKILL)  # the next one reads the new weights
    assert_refused(worker, "model", "start it again", code=1)


def test_a_worker_of_a_model_that_cannot_be_read_is_refused(trained: Fleet) -> None:
    (trained.folder / WEIGHTS).write_bytes(b"no tensors")
    assert_refused(trained.start(queues="plan"), f"{WEIGHTS}: damaged, or not a safetensors file")

"""Workers of a trained model: who loads it and who does not, and what becomes of replaced weights."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

from pipeline.adapters.torchvision_models import lay_out
from pipeline.types import JobState
from tests.chaos.pictures import picture
from tests.fleet import Fleet, Worker, own_place
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server

ARCHITECTURE = "squeezenet1_1"  # 3 MB


def save_weights(path: Path, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    wanted = lay_out(ARCHITECTURE, side=64).module.state_dict()
    tensors = {name: 0.1 * torch.randn(want.shape, generator=generator) for name, want in wanted.items()}
    safetensors.torch.save_file(tensors, path)


@pytest.fixture
def trained(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path: Path,
) -> Iterator[Fleet]:
    """A system with a model of its own and no workers yet. Its weights are in `w.safetensors`."""
    save_weights(tmp_path / "w.safetensors", seed=0)
    model = tmp_path / "mine.toml"
    model.write_text(
        f'name = "mine"\narchitecture = "torchvision/{ARCHITECTURE}"\nweights = "w.safetensors"\ncrop = 64\n'
    )
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
    plan, ingest, embed = [trained.start(queues=queue) for queue in ("plan", "ingest", "embed")]
    for worker in (plan, ingest, embed):
        worker.ready()
    trained.put_all(f"b{trained.vhost}", {f"{number}.jpg": picture(number) for number in range(20)})
    job = trained.wait_for_job(trained.submit(f"s3://b{trained.vhost}"))

    assert (job.state, job.counts.indexed) == (JobState.COMPLETED, 20)
    assert [worker.name for worker in (plan, ingest, embed) if holds_torch(worker.process.pid)] == []
    assert not any(holds_torch(pid) for pid in plan.children_pids())
    assert all(holds_torch(pid) for pid in embed.children_pids())


def test_a_worker_whose_weights_are_replaced_stops_and_says_so(trained: Fleet) -> None:
    worker = trained.start(queues="embed").ready()
    save_weights(trained.folder / "w.safetensors", seed=1)
    [child] = worker.children_pids()
    os.kill(child, signal.SIGKILL)  # the next one reads the new weights
    assert worker.wait(120) == 1
    assert "model" in _error_of(worker)
    assert "start it again" in _error_of(worker)


def test_a_worker_of_a_model_that_cannot_be_read_is_refused(trained: Fleet) -> None:
    (trained.folder / "w.safetensors").write_bytes(b"no tensors")
    worker = trained.start(queues="plan")
    assert worker.wait() == 2
    assert "w.safetensors: damaged, or not a safetensors file" in _error_of(worker)


def _error_of(worker: Worker) -> str:
    [line] = [line for line in worker.log().splitlines() if line.startswith("error: ")]
    return line

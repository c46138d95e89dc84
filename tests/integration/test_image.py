"""What the Dockerfile makes, run as a cluster runs it: unprivileged, its root only read, secrets in files."""

import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.types import JobState
from tests.chaos.pictures import picture
from tests.conftest import missing
from tests.deploy.image import Image, missing_for_images
from tests.fleet import READY_S, Fleet, own_place, wait_until
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server
from workers.broker.queue_names import ROLES
from workers.client import PictorClient

SECRETS = (
    "PICTOR_BROKER_URL",
    "PICTOR_LEDGER_URL",
    "PICTOR_S3_ACCESS_KEY",
    "PICTOR_S3_SECRET_KEY",
    "PICTOR_AUDIT_KEY",  # each container has a home of its own, and all sign one log
)
MORE = {"PICTOR_PREPARATION": "staged", "PICTOR_AUDIT_KEY": secrets.token_hex(16)}
IMAGES = 20


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def usual_umask() -> Iterator[None]:
    """A command that ran in this process before keeps files private, and an image is for another user."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, usual_umask: None) -> Image:
    absent = missing_for_images()
    if absent:
        missing(absent)
    return Image(tmp_path_factory.mktemp("image"), "cpu")


class Pods:
    """Containers of the image, each with a scratch folder of its own."""

    def __init__(self, image: Image, folder: Path, env: dict[str, str]) -> None:
        self.image = image
        self.folder = folder
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        # The image has a home of its own.
        not_given = (*SECRETS, "PICTOR_RABBITMQ_API", "PICTOR_HOME", "PICTOR_RUN_DIR")
        self.env = {name: value for name, value in env.items() if name not in not_given}
        self.env |= {"PICTOR_SECRETS_DIR": "/run/secrets", "OMP_NUM_THREADS": "1"}
        for name in SECRETS:
            (self.secrets / name).write_text(env[name])

    def command(self, name: str, arguments: Sequence[str]) -> list[str]:
        return self.image.command(arguments, scratch=self.folder / name, secrets=self.secrets, env=self.env)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command("command", arguments), capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture(scope="module")
def pods(
    image: Image,
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Pods, Fleet]]:
    folder = tmp_path_factory.mktemp("pods")
    with (
        own_place(rabbitmq, s3_server, milvus_server, postgres, folder, **MORE) as env,
        Fleet(env, folder) as fleet,
    ):
        containers = Pods(image, folder, env)
        done = containers.run("init", "--wait", "60")
        assert done.returncode == 0, done.stderr
        yield containers, fleet


def test_the_entry_point_is_pictor(pods: tuple[Pods, Fleet]) -> None:
    done = pods[0].run("--version")
    assert (done.returncode, done.stdout) == (0, "pictor 0.1.0\n"), done.stderr


def test_every_service_is_found_with_secrets_in_files(pods: tuple[Pods, Fleet]) -> None:
    done = pods[0].run("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


def test_no_build_tool_and_no_source_is_in_the_image(image: Image) -> None:
    programs = {path.name for path in (image.stage.top / "opt/pictor/bin").iterdir()}
    assert "pictor" in programs
    assert not any(name.startswith("pip") for name in programs)
    assert list((image.stage.top / "src").iterdir()) == []


def test_a_worker_of_each_role_works_unprivileged_on_a_root_that_is_only_read(
    pods: tuple[Pods, Fleet],
) -> None:
    containers, fleet = pods
    fleet.put_all("image-test", {f"{n:02}.jpg": picture(n) for n in range(IMAGES)})
    with ExitStack() as stack:
        workers = {queue: stack.enter_context(_Worker(containers, queue)) for queue in ROLES}
        for worker in workers.values():
            worker.wait_until_ready()
            assert worker.status("Uid") == ["10001"] * 4
            assert worker.status("NoNewPrivs") == ["1"]
            assert int(worker.status("CapEff")[0], 16) == 0
            for folder in ("/", "/usr/local", "/opt/pictor"):
                assert worker.writes(folder) == "EROFS"
            assert "PICTOR_BROKER_URL" not in worker.environment()
        job = fleet.wait_for_job(fleet.submit("s3://image-test/"), JobState.COMPLETED)
        assert (job.counts.scanned, job.counts.indexed) == (IMAGES, IMAGES)
        with PictorClient(fleet.env["PICTOR_BROKER_URL"]) as client:
            wait_until(lambda: _nearest(client, "03.jpg") == ["03.jpg"], "the picture finds itself")
        assert [worker.terminate() for worker in workers.values()] == [0, 0, 0, 0], fleet.logs()


def _nearest(client: PictorClient, key: str) -> list[str]:
    """A searching worker sees within seconds what others have written."""
    hits = client.search(f"s3://image-test/{key}", k=1)["hits"]
    assert isinstance(hits, list)
    return [hit["key"] for hit in hits]


class _Worker:
    """`pictor worker` as process 1 of a container."""

    def __init__(self, pods: Pods, queue: str) -> None:
        self._scratch = pods.folder / queue
        self._log = (pods.folder / f"{queue}.log").open("w+")
        command = pods.command(queue, ["worker", "--queues", queue, "--name", "worker"])
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command], stdout=self._log, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(30)
        self._log.close()

    def wait_until_ready(self) -> None:
        ready = self._scratch / "run" / "worker" / "ready"
        wait_until(lambda: ready.exists() or self._process.poll() is not None, "it is ready", READY_S)
        assert ready.exists(), self.log()

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    @property
    def pid(self) -> int:
        """Of process 1 in there, as it is called out here."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return int(children.split()[0])

    def status(self, name: str) -> list[str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        [found] = [line.split()[1:] for line in lines if line.startswith(f"{name}:")]
        return found

    def environment(self) -> str:
        return Path(f"/proc/{self.pid}/environ").read_text()

    def writes(self, folder: str) -> str:
        """What writing there ends with, in its mount namespace and with a root's rights."""
        script = f"touch {folder}/x"
        command = ["nsenter", f"--target={self.pid}", "--mount", "--root", "sh", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return "EROFS" if "Read-only file system" in done.stderr else f"{done.returncode} {done.stderr}"

    def terminate(self) -> int:
        os.kill(self.pid, 15)
        return self._process.wait(60)

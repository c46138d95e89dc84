"""The runbook's commands against the session's servers: they work, and print what the page shows."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from devstack.milvus import Milvus
from tests.chaos.pictures import picture
from tests.conftest import REPOSITORY, missing
from tests.fleet import Fleet, own_place
from tests.integration.runbook import PAGE, alike, run, steps
from tests.scrape import free_port
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server, own_service

TIMEOUT_S = 400

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def printed(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[str]]:
    """What each command of the page prints."""
    folder = tmp_path_factory.mktemp("runbook")
    if "CEPH_CONF" not in s3_server.env:
        missing("the S3 server is not the stack's, whose keys the page changes")
    with (
        # Milvus gives out rights between the clean-ups of dropped collections; other tests drop hundreds.
        own_service(Milvus, folder) as milvus,
        # As the page has it, without users of the workers and the service.
        own_place(
            rabbitmq,
            s3_server,
            MilvusServer(env=milvus.variables()),
            postgres,
            folder,
            PICTOR_LEDGER_WORKER_URL="",
            PICTOR_LEDGER_SERVICE_URL="",
        ) as env,
        Fleet(env, folder) as fleet,
        free_port() as flower_port,
    ):
        fleet.put_all("runbook", {f"{n:02}.jpg": picture(n) for n in range(12)})
        fleet.put_all("runbook-more", {f"{n:02}.jpg": picture(n + 100) for n in range(12)})
        programs = [Path(sys.executable).parent, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
        shell_env = env | {
            "PATH": ":".join([*map(str, programs), os.environ["PATH"]]),
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "CEPH_CONF": s3_server.env["CEPH_CONF"],
            "PICTOR_FLOWER_PORT": str(flower_port),
        }
        commands = [step.command for step in steps((REPOSITORY / PAGE).read_text(encoding="utf-8"))]
        names = {env["PICTOR_STAGING_BUCKET"]: "pictor-staging", env["PICTOR_COLLECTION"]: "images"}
        yield [renamed(text, names) for text in run(commands, shell_env, folder, TIMEOUT_S)]


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A place of its own has names of its own; the page has those of `make up`."""
    for name, usual in names.items():
        text = text.replace(name, usual)
    return text


def test_every_command_prints_what_the_page_shows(printed: list[str]) -> None:
    shown = list(steps((REPOSITORY / PAGE).read_text(encoding="utf-8")))
    assert len(printed) == len(shown) > 30
    for step, text in zip(shown, printed, strict=True):
        assert alike(step.expected, text), f"$ {step.command}\n{text}\n--- the page shows\n{step.expected}"


@pytest.mark.parametrize(
    ("page", "real", "same"),
    [
        ("exit 0\n", "exit 1\n", False),
        ("3 scanned = 3 indexed\n", "3 scanned = 2 indexed\n", False),
        ("12 indexed; 6.5 s, 1.8 images/s\n", "12 indexed; 24.0 s, 0.5 images/s\n", True),
        ("replayed 1 dead letters\n", "purged 1 dead letters\n", False),
        ("ok\n", "", False),
        ("a  b\n", "a b\n", True),
        ("job 20260102T1-a: 3 scanned\n", "job 20270102T2-b: 3 scanned\n", True),
    ],
)
def test_output_is_compared_by_its_words(page: str, real: str, same: bool) -> None:
    assert alike(page, real) == same

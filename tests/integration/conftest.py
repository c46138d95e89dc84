"""What the tests of whole commands share."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import Pictor
from tests.fleet import Fleet, own_place
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server


@pytest.fixture
def pictor(tmp_path: Path) -> Pictor:
    """The command line with an empty home."""
    return Pictor(home=tmp_path / "home", env={})


@pytest.fixture(scope="module")
def shared_pictor(tmp_path_factory: pytest.TempPathFactory) -> Pictor:
    """One home for a module whose tests only read what its first fixture has indexed."""
    return Pictor(home=tmp_path_factory.mktemp("shared") / "home", env={})


@pytest.fixture(scope="session")
def fleet(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """One running system, for tests that leave its workers alone: a worker takes ten seconds to begin."""
    folder = tmp_path_factory.mktemp("fleet")
    with own_place(rabbitmq, s3_server, milvus_server, postgres, folder) as env, Fleet(env, folder) as fleet:
        fleet.init()
        workers = [fleet.start(queues="plan,search"), fleet.start(queues="embed", children=2)]
        for worker in workers:
            worker.ready()
        yield fleet
        assert set(fleet.terminate()) == {0}, fleet.logs()
        assert "ACCESS_REFUSED" not in fleet.logs(10_000)  # each had the rights of its roles alone


@pytest.fixture
def bucket(fleet: Fleet) -> Iterator[str]:
    """Empty, and gone afterwards with all that is in it."""
    name = f"t{secrets.token_hex(6)}"
    fleet.store.make_bucket(name)
    yield name
    for ref in list(fleet.store.list_objects(name)):
        fleet.store.delete(name, ref.key)

"""Systems for the tests of this tier."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.system import HOOK
from tests.fleet import Fleet, own_place, wait_until
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server, restored

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def make_fleet(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path: Path,
) -> Iterator[MakeFleet]:
    """A fleet whose workers have the crash hook and the given variables; the servers answer afterwards."""
    with ExitStack() as stack:

        def make(**more: str) -> Fleet:
            env = stack.enter_context(
                own_place(rabbitmq, s3_server, milvus_server, postgres, tmp_path, **HOOK, **more)
            )
            fleet = stack.enter_context(Fleet(env, tmp_path))
            # A server that the test before had stopped answers, and still recovers.
            wait_until(lambda: fleet.pictor("init").returncode == 0, "pictor init succeeds", 90)
            return fleet

        stack.enter_context(restored(rabbitmq, s3_server, milvus_server, postgres))
        yield make

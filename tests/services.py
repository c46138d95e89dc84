"""Real services for tests, each started when the first test of the session asks for it.

In this order: the running stack whose file PICTOR_STACK_ENV names; servers of somebody else, when all their
variables are set; a stack of this session in a temporary directory, which is stopped at the end, even when
the session is killed; else the test is skipped, in CI it fails.
"""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

from devstack.ceph import Ceph
from devstack.milvus import Milvus
from devstack.postgres import Postgres
from devstack.rabbitmq import RabbitMQ
from devstack.service import Service
from devstack.stack import Stack
from tests.conftest import REPOSITORY, missing


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that answered when the test began.

    Args:
        env: its addresses and credentials under the names of stack.env.
        service: None when it is somebody else's, which is not ours to kill.
    """

    kind: ClassVar[type[Service]]
    needed: ClassVar[tuple[str, ...]]

    env: Mapping[str, str]
    service: Service | None = None

    def answers(self) -> bool:
        return self._ours().answers()

    def start(self) -> None:
        """Returns when it answers; does nothing when it does already."""
        self._ours().start()

    def recover(self) -> None:
        """Start it again if it does not answer: a Milvus that was held up for ten seconds stays away."""
        if self.service is not None and not self.service.answers():
            self.service.start()

    def stop(self) -> None:
        self._ours().stop()

    def kill(self) -> None:
        self._ours().kill()

    def restart(self) -> None:
        self._ours().restart()

    def freeze(self) -> None:
        self._ours().freeze()

    def thaw(self) -> None:
        self._ours().thaw()

    def _ours(self) -> Service:
        if self.service is None:
            missing(f"the {self.kind.name} server is not ours to stop; unset {self.needed[0]}")
        return self.service


class RabbitMQServer(Server):
    kind = RabbitMQ
    needed = ("PICTOR_BROKER_URL", "PICTOR_RABBITMQ_API", "PICTOR_RABBITMQ_METRICS")

    @property
    def broker_url(self) -> str:
        return self.env["PICTOR_BROKER_URL"]

    @property
    def api_url(self) -> str:
        """Of the HTTP API, with user and password, ending in /api/."""
        return self.env["PICTOR_RABBITMQ_API"]

    @property
    def metrics_url(self) -> str:
        """Of the page for Prometheus."""
        return self.env["PICTOR_RABBITMQ_METRICS"]


class S3Server(Server):
    kind = Ceph
    needed = (
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "PICTOR_TEST_S3_ACCESS_KEY2",
        "PICTOR_TEST_S3_SECRET_KEY2",
    )

    @property
    def endpoint(self) -> str:
        return self.env["AWS_ENDPOINT_URL"]

    @property
    def access_key(self) -> str:
        return self.env["AWS_ACCESS_KEY_ID"]

    @property
    def secret_key(self) -> str:
        return self.env["AWS_SECRET_ACCESS_KEY"]

    @property
    def second_access_key(self) -> str:
        """Of a user who owns nothing."""
        return self.env["PICTOR_TEST_S3_ACCESS_KEY2"]

    @property
    def second_secret_key(self) -> str:
        return self.env["PICTOR_TEST_S3_SECRET_KEY2"]


class MilvusServer(Server):
    kind = Milvus
    needed = ("PICTOR_TEST_MILVUS_URI", "PICTOR_TEST_MILVUS_TOKEN")

    @property
    def uri(self) -> str:
        return self.env["PICTOR_TEST_MILVUS_URI"]

    @property
    def token(self) -> str:
        return self.env["PICTOR_TEST_MILVUS_TOKEN"]


class PostgresServer(Server):
    kind = Postgres
    needed = ("PICTOR_TEST_POSTGRES_URL",)

    @property
    def admin_url(self) -> str:
        """Of a database from which others can be made and dropped."""
        return self.env["PICTOR_TEST_POSTGRES_URL"]


OwnService = TypeVar("OwnService", bound=Service)


@contextmanager
def own_service(kind: type[OwnService], directory: Path) -> Iterator[OwnService]:
    """A server that nobody shares, for a test that changes it for all or needs one that others left alone."""
    absent = kind.missing()
    if absent:
        missing(absent)
    service = kind(directory)
    service.start()
    try:
        yield service
    finally:
        service.discard()


S = TypeVar("S", bound=Server)


@contextmanager
def exported(*servers: Server) -> Iterator[None]:
    """Their variables in os.environ, for code that reads it, and as it was before afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for server in servers:
            for name, value in server.env.items():
                patch.setenv(name, value)
        yield


@contextmanager
def restored(*servers: Server) -> Iterator[None]:
    """Whatever is done to the servers inside, they answer again afterwards."""
    try:
        yield
    finally:
        for server in servers:
            server.thaw()
            server.start()


@dataclass
class Services:
    """Where the session's servers come from."""

    stack: Stack
    is_ours: bool  # started by this session
    terminal: pytest.TerminalReporter | None
    guard: subprocess.Popen[bytes] | None = field(default=None)

    def server(self, kind: type[S]) -> S:
        if self.is_ours and all(os.environ.get(name) for name in kind.needed):
            return kind(env={name: os.environ[name] for name in kind.needed})
        service = kind.kind(self.stack.directory)
        if self.is_ours and not service.is_prepared:
            self._begin(service)
        elif not service.answers():
            missing(f"{service.name} does not answer in {self.stack.directory}")
        return kind(env=service.variables(), service=service)

    def _begin(self, service: Service) -> None:
        absent = service.missing()
        if absent:
            missing(f"{absent}; run `python -m devstack install`")
        if self.guard is None:
            self.stack.make_directory()
            self.guard = _guard(self.stack)
            self._tell(f"services of this session are in {self.stack.directory}")
        service.start()

    def end(self) -> None:
        if self.guard is None:
            return
        self.stack.down()
        assert self.guard.stdin
        self.guard.stdin.close()
        self.guard.wait(timeout=60)

    def _tell(self, line: str) -> None:
        if self.terminal:
            self.terminal.ensure_newline()
            self.terminal.write_line(line)


def _guard(stack: Stack) -> subprocess.Popen[bytes]:
    """Stops the stack when this process ends in whatever way: its end of the pipe is closed by the kernel."""
    command = [sys.executable, "-m", "devstack", "guard", "--dir", str(stack.directory)]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the test session; the guard acts when that has ended
    )


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    environment_file = os.environ.get("PICTOR_STACK_ENV", "")
    if environment_file:
        yield Services(stack=Stack(Path(environment_file).parent), is_ours=False, terminal=terminal)
        return
    directory = Path(tempfile.gettempdir()) / f"pictor-tests-{os.getpid()}-{secrets.token_hex(3)}"
    services = Services(stack=Stack(directory), is_ours=True, terminal=terminal)
    try:
        yield services
    finally:
        services.end()


@pytest.fixture(scope="session")
def rabbitmq(services: Services) -> RabbitMQServer:
    return services.server(RabbitMQServer)


@pytest.fixture(scope="session")
def s3_server(services: Services) -> S3Server:
    return services.server(S3Server)


@pytest.fixture(scope="session")
def milvus_server(services: Services) -> MilvusServer:
    return services.server(MilvusServer)


@pytest.fixture(scope="session")
def postgres(services: Services) -> PostgresServer:
    return services.server(PostgresServer)

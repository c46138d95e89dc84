"""Whom Pictor believes: a server with the right certificate, and no other one, for each service."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydantic import SecretStr

from devstack.postgres import Postgres
from devstack.rabbitmq import RabbitMQ
from pipeline import wiring
from pipeline.adapters.milvus.index import MilvusIndex
from pipeline.adapters.s3.config import S3Config, parse_endpoint
from pipeline.adapters.s3.credentials import CredentialSource
from pipeline.adapters.s3.reader import FastReader
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.types import ObjectRef
from tests.certificates import ELSEWHERE, HERE, Authority, Certificate
from tests.services import own_service
from tests.tls_endpoint import tls_endpoint
from workers.broker.connection import broker_connection


@dataclass(frozen=True, kw_only=True)
class Case:
    """A server's certificate, what the client trusts, and what the client says."""

    certificate: Certificate
    trusted: str
    said: str


CASES = ("right", "other name", "other authority", "the machine's authorities", "expired")
UNKNOWN = "of an unknown issuer; name the authority's file in {setting}"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    folder = tmp_path_factory.mktemp("certificates")
    ours, theirs = Authority(folder / "ours"), Authority(folder / "theirs")
    right = ours.sign(HERE)
    trusted, other = str(ours.file), str(theirs.file)
    elsewhere, expired = ours.sign(ELSEWHERE), ours.sign(HERE, days=-1)
    told = (
        Case(certificate=right, trusted=trusted, said=""),
        Case(certificate=elsewhere, trusted=trusted, said="for another name than 127.0.0.1"),
        Case(certificate=right, trusted=other, said=UNKNOWN),
        Case(certificate=right, trusted="", said=UNKNOWN),
        Case(certificate=expired, trusted=trusted, said="its TLS certificate has expired"),
    )
    return dict(zip(CASES, told, strict=True))


def check(case: Case, setting: str, where: str, connect: Callable[[], object]) -> None:
    """It connects, or says what is wrong with whom."""
    if not case.said:
        connect()
        return
    with pytest.raises(ConfigError) as caught:
        connect()
    told = str(caught.value)
    assert case.said.format(setting=setting) in told
    assert where in told
    assert "hunter2" not in told


# The broker


def shown_in(folder: Path, certificate: Certificate) -> None:
    """Lay it where the server of this folder looks."""
    for source, name in ((certificate.file, "server.crt"), (certificate.key, "server.key")):
        (folder / name).write_bytes(source.read_bytes())
        (folder / name).chmod(0o600)


class RabbitMQWithTls(RabbitMQ):
    """Beside its plain port, one with TLS."""

    def _prepare(self) -> None:
        super()._prepare()
        self._record.ports["amqps"] = self._reservation.take()
        own = f"listeners.ssl.default = 127.0.0.1:{self.ports['amqps']}\n"
        for option, name in (("certfile", "server.crt"), ("keyfile", "server.key")):
            own += f"ssl_options.{option} = {self.stack_dir}/{name}\n"
        with (self.home / "rabbitmq.conf").open("a") as config:
            config.write(own)

    def show(self, certificate: Certificate) -> None:
        shown_in(self.stack_dir, certificate)
        self.control("eval", "ssl:clear_pem_cache().")  # else it looks again within two minutes

    def url(self, port: str) -> str:
        login = "{user}:{password}".format(**self._record.secrets)
        return f"amqps://{login}@127.0.0.1:{self.ports[port]}/{self._record.secrets['vhost']}"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, cases: dict[str, Case]) -> Iterator[RabbitMQWithTls]:
    folder = tmp_path_factory.mktemp("broker")
    shown_in(folder, cases["right"].certificate)
    with own_service(RabbitMQWithTls, folder) as service:
        yield service


@pytest.mark.parametrize("name", CASES)
def test_the_broker_is_believed_with_the_right_certificate_alone(
    broker: RabbitMQWithTls, cases: dict[str, Case], name: str
) -> None:
    case = cases[name]
    broker.show(case.certificate)
    settings = Settings(broker_url=SecretStr(broker.url("amqps")), broker_ca_file=case.trusted)

    def connect() -> None:
        with broker_connection(settings) as connection:
            assert connection.connection.sock.version() in ("TLSv1.2", "TLSv1.3")

    check(case, "PICTOR_BROKER_CA_FILE", f"127.0.0.1:{broker.ports['amqps']}", connect)


def test_a_port_without_tls_is_called_so(broker: RabbitMQWithTls) -> None:
    settings = Settings(broker_url=SecretStr(broker.url("amqp")))
    with pytest.raises(ConfigError, match="does not speak TLS"), broker_connection(settings):
        pass


# The ledger


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with own_service(Postgres, tmp_path_factory.mktemp("database")) as service:
        yield service


def show_and_restart(database: Postgres, certificate: Certificate) -> None:
    """Where its server may read it, which does not run as root."""
    folder = Path(database._record.places["data"]) / "db"
    shown_in(folder, certificate)
    owner = folder.stat()
    for name in ("server.crt", "server.key"):
        os.chown(folder / name, owner.st_uid, owner.st_gid)
    with (folder / "postgresql.auto.conf").open("w") as config:
        config.write("ssl = on\n")  # the files have the names that it looks for
    database.restart()


@pytest.mark.parametrize("name", CASES)
def test_the_database_is_believed_with_the_right_certificate_alone(
    database: Postgres, cases: dict[str, Case], name: str
) -> None:
    case = cases[name]
    show_and_restart(database, case.certificate)
    url = f"{database.ledger_url}?sslmode=verify-full"
    settings = Settings(ledger_url=SecretStr(url), ledger_ca_file=case.trusted)
    check(case, "PICTOR_LEDGER_CA_FILE", "127.0.0.1", lambda: wiring.migrate_ledger(settings))


# The object store


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<Service><Buckets/></Service>" if self.path == "/" else b"the object"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/xml")
        self.send_header("ETag", '"0123"')
        self.send_header("Last-Modified", "Fri, 27 Nov 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def plain_store() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), name="plain-store")
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", CASES)
def test_the_object_store_is_believed_with_the_right_certificate_alone(
    plain_store: int, cases: dict[str, Case], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ALLOW_INVALID_CERTIFICATES", "true")  # obstore reads it
    case = cases[name]
    with tls_endpoint(plain_store, case.certificate) as port:
        address = f"127.0.0.1:{port}"
        settings = Settings(
            s3_endpoint=f"https://{address}",
            s3_access_key=SecretStr("me"),
            s3_secret_key=SecretStr("hunter2"),
            s3_ca_file=case.trusted,
        )
        store = wiring.open_s3(settings)
        check(case, "PICTOR_S3_CA_FILE", address, store.check)
        ref = ObjectRef(bucket="shop", key="a.jpg", etag="0123", size_bytes=10)
        check(case, "PICTOR_S3_CA_FILE", address, lambda: store.get(ref, max_bytes=100))
        assert (fast_read(settings, ref) is not None) == (not case.said)
        store.close()


def fast_read(settings: Settings, ref: ObjectRef) -> object:
    config = S3Config(
        endpoint=settings.s3_endpoint, access_key="me", secret_key="hunter2", ca_file=settings.s3_ca_file
    )
    reader = FastReader(config, parse_endpoint(config.endpoint), CredentialSource(config))
    return reader.read(ref, max_bytes=100)


# Milvus


@pytest.fixture(scope="module")
def plain_milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    server, database, port = start_server_in_thread(str(tmp_path_factory.mktemp("milvus") / "milvus.db"))
    yield port
    server.stop(grace=1).wait()
    database.close()


@pytest.mark.parametrize("name", CASES)
def test_milvus_is_believed_with_the_right_certificate_alone(
    plain_milvus: int, cases: dict[str, Case], name: str
) -> None:
    case = cases[name]
    with tls_endpoint(plain_milvus, case.certificate) as port:
        uri = f"https://127.0.0.1:{port}"

        def connect() -> None:
            with MilvusIndex(uri, token="me:hunter2", timeout_s=1, ca_file=case.trusted) as index:
                assert index.list_collections() == []

        check(case, "PICTOR_MILVUS_CA_FILE", uri, connect)

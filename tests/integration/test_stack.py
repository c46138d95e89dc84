"""The local services: they answer, they keep their data through a crash, and they leave nothing behind."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from signal import SIGKILL
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
import pytest
import urllib3
from amqp.exceptions import AccessRefused
from kombu import Connection
from minio import Minio
from minio.error import S3Error
from pymilvus import MilvusClient

from devstack.postgres import Postgres
from devstack.process import members
from devstack.stack import Stack
from tests.conftest import REPOSITORY
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server, restored

ROWS = [{"id": number, "vector": [1.0, float(number)]} for number in range(3)]


@pytest.fixture
def name() -> str:
    return f"t{uuid4().hex[:10]}"


# Data outlive a crash


def test_a_message_in_a_quorum_queue_outlives_the_broker(rabbitmq: RabbitMQServer, name: str) -> None:
    queue = f"queues/pictor/{name}"
    api(rabbitmq, "PUT", queue, {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    kept = {"routing_key": name, "payload": "kept", "payload_encoding": "string", "properties": {}}
    assert api(rabbitmq, "POST", "exchanges/pictor/amq.default/publish", kept) == {"routed": True}
    # Not synchronisation: RabbitMQ 3.10 writes down a new quorum queue with up to 3 s of delay, and one that
    # is killed before never answers again. Nothing shows when it has done so.
    time.sleep(4)

    crash(rabbitmq)

    wanted = {"count": 2, "ackmode": "ack_requeue_false", "encoding": "auto"}
    got = api(rabbitmq, "POST", f"{queue}/get", wanted)
    assert [message["payload"] for message in got] == ["kept"]
    api(rabbitmq, "DELETE", queue)


def test_an_object_outlives_the_gateway(s3_server: S3Server, name: str) -> None:
    client = minio(s3_server)
    client.make_bucket(name)
    client.put_object(name, "a/b.jpg", BytesIO(b"kept"), 4)

    crash(s3_server)

    assert read(client, name, "a/b.jpg") == b"kept"


def test_an_object_outlives_an_orderly_stop_of_the_gateway(s3_server: S3Server, name: str) -> None:
    client = minio(s3_server)
    client.make_bucket(name)
    client.put_object(name, "a/b.jpg", BytesIO(b"kept"), 4)

    s3_server.restart()

    assert read(client, name, "a/b.jpg") == b"kept"


def test_a_row_outlives_the_vector_index(milvus_server: MilvusServer, name: str) -> None:
    client = MilvusClient(milvus_server.uri, token=milvus_server.token)
    client.create_collection(name, dimension=2, consistency_level="Strong")
    client.insert(name, ROWS)
    client.close()

    crash(milvus_server)

    client = MilvusClient(milvus_server.uri, token=milvus_server.token)
    client.load_collection(name)  # returns when the restarted server has loaded it again
    kept = client.query(name, filter="id >= 0", output_fields=["id"])
    assert sorted(row["id"] for row in kept) == [0, 1, 2]
    client.drop_collection(name)
    client.close()


def test_a_row_outlives_the_database(postgres: PostgresServer, name: str) -> None:
    with connect(postgres) as connection:
        connection.execute(f"CREATE TABLE {name} AS SELECT 7")

    crash(postgres)

    with connect(postgres) as connection:
        assert connection.execute(f"TABLE {name}").fetchall() == [(7,)]
        connection.execute(f"DROP TABLE {name}")


# Each is a real server with its own door


def test_the_broker_knows_our_user_and_no_guest(rabbitmq: RabbitMQServer) -> None:
    with Connection(rabbitmq.broker_url) as connection:
        connection.ensure_connection(max_retries=1)
    parts = urlsplit(rabbitmq.broker_url)
    guest = Connection(f"amqp://guest:guest@{parts.hostname}:{parts.port}{parts.path}")
    with guest, pytest.raises(AccessRefused):
        guest.connect()


def test_the_second_user_is_denied_what_the_first_owns(s3_server: S3Server, name: str) -> None:
    minio(s3_server).make_bucket(name)
    second = Minio(
        urlsplit(s3_server.endpoint).netloc,
        s3_server.second_access_key,
        s3_server.second_secret_key,
        secure=False,
    )
    with pytest.raises(S3Error) as refused:
        list(second.list_objects(name))
    assert refused.value.code == "AccessDenied"


def test_the_database_wants_the_password(postgres: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(plain_url(postgres), password="wrong")


# A frozen server hangs, a thawed one goes on


def test_a_frozen_gateway_lets_a_client_wait_and_a_thawed_one_answers(s3_server: S3Server) -> None:
    impatient = minio(s3_server, urllib3.PoolManager(timeout=0.5, retries=False))
    impatient.list_buckets()
    with restored(s3_server):
        s3_server.freeze()
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            impatient.list_buckets()
        s3_server.thaw()
        minio(s3_server).list_buckets()


def test_a_frozen_database_stops_running_sessions_too(postgres: PostgresServer) -> None:
    with connect(postgres) as connection, ThreadPoolExecutor(1) as pool, restored(postgres):
        postgres.freeze()
        answer = pool.submit(connection.execute, "SELECT 1")
        with pytest.raises(TimeoutError):
            answer.result(timeout=0.5)
        postgres.thaw()
        assert answer.result(timeout=30).fetchone() == (1,)


# Up and down


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "stack"
    Stack(tmp_path / "stack").down()


@pytest.mark.slow
def test_up_twice_gives_the_same_file_and_down_leaves_nothing(directory: Path) -> None:
    first = run("up", directory)
    file = Path(first.splitlines()[-1])
    content = file.read_text()
    started = members(directory)
    ports = [port for row in Stack(directory).status() for port in row.ports]
    assert file.stat().st_mode & 0o777 == 0o600
    assert all(row.state == "answers" for row in Stack(directory).status())
    assert {"PICTOR_BROKER_URL", "PICTOR_LEDGER_URL", "AWS_ENDPOINT_URL"} <= sourced(file).keys()

    assert run("up", directory).splitlines() == [str(file)]
    assert file.read_text() == content
    assert {process.pid for process in started} <= {process.pid for process in members(directory)}

    run("down", directory)
    assert not directory.exists()
    assert [process for process in started if process.is_alive()] == []
    assert [port for port in ports if is_listening(port)] == []


@pytest.mark.slow
def test_flower_is_behind_a_password(directory: Path) -> None:
    run("up", directory, "rabbitmq", "--flower")
    parts = urlsplit(sourced(directory / "stack.env")["PICTOR_FLOWER_URL"])
    door = f"http://{parts.hostname}:{parts.port}/"
    login = urllib3.make_headers(basic_auth=f"{parts.username}:{parts.password}")
    assert urllib3.request("GET", door, headers=login).status == 200
    assert urllib3.request("GET", door).status == 401


def test_up_brings_back_what_has_died(directory: Path) -> None:
    run("up", directory, "postgres")
    service = Postgres(directory)
    url = service.admin_url
    service.processes["server"].signal(SIGKILL)
    run("up", directory, "postgres")
    assert Postgres(directory).answers()
    assert Postgres(directory).admin_url == url


def test_down_keeps_a_directory_that_it_did_not_make(directory: Path) -> None:
    directory.mkdir()
    (directory / "mine.txt").write_text("mine")
    run("up", directory, "postgres")
    run("down", directory)
    assert [path.name for path in directory.iterdir()] == ["mine.txt"]


def test_a_stack_goes_down_when_the_process_that_guards_it_loses_its_parent(directory: Path) -> None:
    run("up", directory, "postgres")
    started = members(directory)
    guard = subprocess.Popen(command("guard", directory), cwd=REPOSITORY, stdin=subprocess.PIPE)
    assert guard.stdin
    assert guard.poll() is None
    guard.stdin.close()  # what the kernel does for a parent that was killed
    assert guard.wait(timeout=60) == 0
    assert not directory.exists()
    assert [process for process in started if process.is_alive()] == []


# Tools


def crash(server: RabbitMQServer | S3Server | MilvusServer | PostgresServer) -> None:
    """Kill it, see that it is gone, and start it again."""
    with restored(server):
        server.kill()
        assert not server.answers()


def api(rabbitmq: RabbitMQServer, method: str, path: str, body: object = None) -> Any:
    """A call of the management API, as the user of the URL."""
    parts = urlsplit(rabbitmq.api_url)
    request = urllib.request.Request(
        f"http://{parts.hostname}:{parts.port}{parts.path}{quote(path)}",
        method=method,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    request.add_header(
        "Authorization", "Basic " + b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def minio(s3_server: S3Server, pool: urllib3.PoolManager | None = None) -> Minio:
    return Minio(
        urlsplit(s3_server.endpoint).netloc,
        s3_server.access_key,
        s3_server.secret_key,
        secure=False,
        http_client=pool,
    )


def read(client: Minio, bucket: str, key: str) -> bytes:
    answer = client.get_object(bucket, key)
    try:
        return bytes(answer.read())
    finally:
        answer.close()
        answer.release_conn()


def plain_url(postgres: PostgresServer) -> str:
    return postgres.admin_url.replace("+psycopg", "")


def connect(postgres: PostgresServer) -> psycopg.Connection[Any]:
    return psycopg.connect(plain_url(postgres), autocommit=True)


def command(what: str, directory: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "devstack", what, "--dir", str(directory), *more]


def run(what: str, directory: Path, *more: str) -> str:
    argv = command(what, directory, *more)
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sourced(file: Path) -> dict[str, str]:
    """The variables as a POSIX shell sees them."""
    shell = subprocess.run(
        ["sh", "-c", f". {file}; env"], env={}, capture_output=True, text=True, timeout=10, check=True
    )
    return dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""What `deploy/make_secrets.py` makes, given to the servers that it is for; and the `load` service."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from amqp.exceptions import AccessRefused, PreconditionFailed
from kombu import Connection
from kombu.transport.base import StdChannel
from pydantic import SecretStr

from deploy.make_secrets import BROKER_RIGHTS, write_secrets
from devstack.rabbitmq import RabbitMQ
from pipeline.errors import CredentialsError, TransientError
from pipeline.settings import Settings
from tests.chaos.pictures import picture
from tests.conftest import REPOSITORY
from tests.fleet import Fleet, wait_until
from tests.scrape import free_port
from tests.services import own_service
from workers.broker.connection import broker_connection
from workers.broker.queue_names import DEAD, is_work_queue
from workers.broker.queues import dead_queue, declare_queues, work_queue
from workers.client import PictorClient


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "secrets"
    write_secrets(folder)
    return folder


@pytest.fixture(scope="module")
def broker(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker of its own with the users of the definitions; they take the place of the stack's."""
    with own_service(RabbitMQ, tmp_path_factory.mktemp("broker")) as service:
        definitions = (secrets / "rabbitmq-definitions" / "definitions.json").read_bytes()
        parts = urlsplit(service.api_url)
        login = f"{parts.username}:{parts.password}"
        assert ask(service, "definitions", login, definitions)[0] == 204
        yield service


def ask(service: RabbitMQ, path: str, login: str, body: bytes | None = None) -> tuple[int, str]:
    """Status and answer of RabbitMQ's HTTP API."""
    return get(f"http://127.0.0.1:{service.ports['management']}/api/{path}", login, body)


def get(url: str, login: str = "", body: bytes | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
    if login:
        request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        with err:
            return err.code, err.read().decode()


def broker_url(secrets: Path, service: RabbitMQ, folder: str = "pictor-secrets") -> SecretStr:
    text = (secrets / folder / "PICTOR_BROKER_URL").read_text()
    assert "@rabbitmq:5672/" in text
    return SecretStr(text.replace("@rabbitmq:5672/", f"@127.0.0.1:{service.ports['amqp']}/"))


def test_pictor_s_user_may_do_what_pictor_does_and_no_other_password_will(
    secrets: Path, broker: RabbitMQ
) -> None:
    url = broker_url(secrets, broker)
    with broker_connection(Settings(broker_url=url)) as connection:
        declare_queues(connection, "f0" * 32)
    password = urlsplit(url.get_secret_value()).password
    assert password
    with (
        pytest.raises(CredentialsError),
        broker_connection(Settings(broker_url=SecretStr(url.get_secret_value().replace(password, "guess")))),
    ):
        pass
    assert ask(broker, "queues", f"pictor:{password}")[0] == 401  # it has no business with the HTTP API


def test_the_scaler_s_user_sees_a_queue_s_length_and_may_do_no_more(secrets: Path, broker: RabbitMQ) -> None:
    with broker_connection(Settings(broker_url=broker_url(secrets, broker))) as connection:
        declare_queues(connection, "f0" * 32)
    keda = secrets / "keda-rabbitmq"
    login = f"{(keda / 'username').read_text()}:{(keda / 'password').read_text()}"
    vhost = urlsplit((keda / "host").read_text()).path.lstrip("/")
    status, answer = ask(broker, f"queues/{vhost}/embed.f0f0f0f0", login)
    assert (status, json.loads(answer)["name"]) == (200, "embed.f0f0f0f0")
    message = {
        "routing_key": "embed.f0f0f0f0",
        "payload": "x",
        "payload_encoding": "string",
        "properties": {},
    }
    status, _ = ask(broker, f"exchanges/{vhost}/embed.f0f0f0f0/publish", login, json.dumps(message).encode())
    assert status in (400, 401, 403)
    assert ask(broker, "users", login)[0] == 401


MODEL, OTHER = "f0f0f0f0", "0e0e0e0e"
# All that a user may do by name of queue or exchange: publish, take, declare and delete. "" is the exchange
# by which a message finds any queue.
NAMES = (
    *("plan", "search", f"search.{MODEL}", f"prepare.{MODEL}", f"embed.{OTHER}", "ingest", "embed"),
    *("dead", "pictor.dead", "celery_delayed_3", "celeryev", "", "mine"),
)
BATCHES = {f"prepare.{MODEL}", f"embed.{OTHER}"}
ALWAYS = {"celery_delayed_3"}  # of a worker
MAY_PUBLISH = {
    "plan": {"plan", "pictor.dead", "celeryev"} | BATCHES | ALWAYS,
    "prepare": {"ingest", "embed", "pictor.dead", "celeryev"} | BATCHES | ALWAYS,
    "embed": {"ingest", "embed", "pictor.dead", "celeryev"} | BATCHES | ALWAYS,
    "search": {"search", f"search.{MODEL}", "", "pictor.dead", "celeryev"} | ALWAYS,
    "flower": {"celeryev"},
    "api": {"plan"},
    "submit": {"plan", "search"},
}
MAY_TAKE = {
    "plan": {"plan"} | BATCHES | ALWAYS,
    "prepare": {"ingest", "embed"} | BATCHES | ALWAYS,
    "embed": {"ingest", "embed"} | BATCHES | ALWAYS,
    "search": {"search", f"search.{MODEL}"} | ALWAYS,
    "flower": {"celeryev"},
    "api": set(),
    "submit": set(),
}


@pytest.fixture(scope="module")
def filled(secrets: Path, broker: RabbitMQ) -> None:
    """There is a queue and an exchange of each name."""
    with (
        broker_connection(Settings(broker_url=broker_url(secrets, broker))) as connection,
        connection.channel() as channel,
    ):
        for queue in (dead_queue(), *map(work_queue, filter(is_work_queue, NAMES))):
            queue.bind(channel).declare()
        for name in {*NAMES} - {""}:
            if not is_work_queue(name):
                channel.exchange_declare(name, "topic", durable=True, auto_delete=False)
                channel.queue_declare(name, passive=name == DEAD, durable=True, auto_delete=False)
                channel.queue_bind(name, name, name)


def is_allowed(connection: Connection, act: Callable[[StdChannel, str], object], name: str) -> bool:
    with connection.channel() as channel:  # its own: a refusal closes it
        try:
            act(channel, name)
        except AccessRefused:
            return False
        except PreconditionFailed:  # of properties, which are looked at after the rights
            return True
    return True


def publish(channel: StdChannel, name: str) -> None:
    message = channel.prepare_message("x", content_type="text/plain", content_encoding="utf-8")
    channel.basic_publish_confirm(message, exchange=name, routing_key=name or "nobody")
    channel.basic_qos(0, 1, False)  # an answer after it: events are not confirmed


def take(channel: StdChannel, name: str) -> None:
    channel.basic_get(name)


def declare(channel: StdChannel, name: str) -> None:
    channel.queue_declare(name, durable=True, auto_delete=False)


def delete(channel: StdChannel, name: str) -> None:
    channel.queue_delete(name)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("user", BROKER_RIGHTS)
def test_a_user_of_the_broker_may_do_what_its_role_needs_and_nothing_else(
    secrets: Path, broker: RabbitMQ, user: str
) -> None:
    url = broker_url(secrets, broker, f"pictor-broker-{user}")
    with broker_connection(Settings(broker_url=url)) as connection:
        may = partial(is_allowed, connection)
        queues = {*NAMES} - {""}
        assert {name for name in NAMES if may(publish, name)} == MAY_PUBLISH[user]
        assert {name for name in queues if may(take, name)} == MAY_TAKE[user]
        owned = {name for name in queues if may(declare, name)}
        assert owned == (set() if user in ("api", "submit") else MAY_PUBLISH[user] - {"", "pictor.dead"})
        assert not any(may(delete, name) for name in queues - owned)
    login = f"{user}:{urlsplit(url.get_secret_value()).password}"
    assert ask(broker, "users", login)[0] == 401


def test_who_may_only_submit_can_submit_and_ask(secrets: Path, broker: RabbitMQ) -> None:
    with broker_connection(Settings(broker_url=broker_url(secrets, broker))) as connection:
        for name in ("plan", "search"):
            connection.default_channel.queue_bind(name, name, name)
    with PictorClient(broker_url(secrets, broker, "pictor-broker-submit").get_secret_value()) as client:
        client.ingest("s3://shop")
        with pytest.raises(TransientError, match=r"no worker answered pictor\.job within"):
            client.job("a-job", timeout_s=0.1)


@pytest.fixture
def port() -> Iterator[int]:
    with free_port() as number:
        yield number


def test_flower_asks_for_the_password_in_its_file_and_shows_it_to_no_one(
    secrets: Path, broker: RabbitMQ, port: int, tmp_path: Path
) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    url = broker_url(secrets, broker, "pictor-broker-flower")
    (folder / "PICTOR_BROKER_URL").write_text(url.get_secret_value())
    config = secrets / "flower-config" / "flowerconfig.py"
    passwords = json.loads((secrets / "passwords.json").read_text())
    with (tmp_path / "flower.log").open("w") as log:
        process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", str(Path(sys.executable).parent / "celery")),
                *("-A", "workers.app", "flower", f"--conf={config}", "--address=127.0.0.1", f"--port={port}"),
            ],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "PICTOR_SECRETS_DIR": str(folder)},
            cwd=tmp_path,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        page = f"http://127.0.0.1:{port}/"
        wait_until(lambda: answers(f"{page}healthcheck"), "Flower answers")
        assert get(page)[0] == 401
        assert get(page, f"operator:{passwords['flower']}")[0] == 200
        assert get(page, "operator:guess")[0] == 401
        assert get(f"{page}metrics")[0] == 200  # open to whoever reaches it, hence its NetworkPolicy
        shown = (
            Path(f"/proc/{process.pid}/cmdline").read_text()
            + Path(f"/proc/{process.pid}/environ").read_text()
        )
        assert not any(password in shown for password in passwords.values())
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return get(url)[0] == 200
    except OSError:
        return False


def test_a_folder_is_loaded_and_searched_in_one_command(fleet: Fleet, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for number in range(4):
        # Pictures of no other test: the collection is shared, and copies would stand before these.
        (tmp_path / "deep" / f"{number}.jpg").write_bytes(picture(880_000 + number))
    (tmp_path / "notes.txt").write_text("no picture")
    for said in (("uploaded 4 of 4", "4 indexed"), ("uploaded 0 of 4", "4 unchanged")):
        done = fleet.run_script("deploy/load.py", str(tmp_path), bucket)
        assert done.returncode == 0, done.stderr
        everything = done.stdout + done.stderr
        assert all(text in everything for text in said), everything
        assert "deep/0.jpg" in done.stdout  # it is its own nearest picture


def test_a_folder_without_pictures_is_refused(fleet: Fleet, bucket: str, tmp_path: Path) -> None:
    done = fleet.run_script("deploy/load.py", str(tmp_path), bucket)
    assert (done.returncode, done.stderr.startswith("no pictures in ")) == (2, True)

"""What `deploy/make_secrets.py` makes, given to the servers that it is for; and the `load` service."""

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from deploy.make_secrets import write_secrets
from devstack.rabbitmq import RabbitMQ
from pipeline.errors import CredentialsError
from pipeline.settings import Settings
from tests.chaos.pictures import picture
from tests.conftest import REPOSITORY
from tests.fleet import Fleet, wait_until
from tests.scrape import free_port
from tests.services import own_service
from workers.broker.connection import broker_connection
from workers.broker.queues import declare_queues


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


def broker_url(secrets: Path, service: RabbitMQ) -> SecretStr:
    text = (secrets / "pictor-secrets" / "PICTOR_BROKER_URL").read_text()
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


@pytest.fixture
def port() -> Iterator[int]:
    with free_port() as number:
        yield number


def test_flower_asks_for_the_password_in_its_file_and_shows_it_to_no_one(
    secrets: Path, broker: RabbitMQ, port: int, tmp_path: Path
) -> None:
    folder = tmp_path / "secrets"
    shutil.copytree(secrets / "pictor-secrets", folder)
    (folder / "PICTOR_BROKER_URL").write_text(broker_url(secrets, broker).get_secret_value())
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

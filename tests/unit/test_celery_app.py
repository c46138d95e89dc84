"""Celery reads variables of its own, which are another application's where our client is a guest."""

import pickle

import pytest
from celery.backends.rpc import RPCBackend
from pydantic import SecretStr

from pipeline.errors import ConfigError
from pipeline.settings import Settings
from tests.unit.fakes import error_of
from workers.broker.celery_app import check_environment, make_app

OURS = "amqp://me:hunter2@mq.example:5672/pictor"
THEIRS = "amqp://them:hunter3@other.example:5672/shop"
NAMES = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
SETTINGS = Settings(broker_url=SecretStr(OURS))


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "CELERY_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)


def test_an_application_connects_to_the_broker_of_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, THEIRS)
    app = make_app(SETTINGS)
    for same in (app, pickle.loads(pickle.dumps(app))):  # noqa: S301 - as a worker's children get it
        for connection in (same.connection_for_read(), same.connection_for_write()):
            assert (connection.hostname, connection.virtual_host) == ("mq.example", "pictor")


def test_its_answers_come_by_that_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "cache+memory://")
    assert isinstance(make_app(SETTINGS).backend, RPCBackend)


@pytest.mark.parametrize("name", NAMES)
def test_a_worker_does_not_start_where_a_part_of_it_would_ask_another_broker(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    check_environment(make_app(SETTINGS))
    monkeypatch.setenv(name, THEIRS)
    told = error_of(lambda: check_environment(make_app(SETTINGS)), ConfigError)
    assert name in told
    assert "hunter" not in told

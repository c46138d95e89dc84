"""What a publisher does when the broker is silent, and when it says that it takes nothing now."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from amqp import spec
from kombu.exceptions import OperationalError
from kombu.transport import pyamqp

from pipeline.errors import TransientError
from workers.broker.connection import broker_errors
from workers.broker.transport import Channel, UnconfirmedError

CONFIRMATION = [spec.Basic.Ack, spec.Basic.Nack]


class Connection:
    """As much of a connection as a channel asks for."""

    def __init__(self, *, blocked: bool, patience_s: float) -> None:
        self.is_blocked = blocked
        self.blocked_patience_s = patience_s
        self.given_up = False

    def collect(self) -> None:
        self.given_up = True


class SilentChannel(Channel):
    """Without a socket."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.published: list[str] = []

    def _basic_publish(self, _message: str, *, exchange: str, **_: Any) -> None:
        self.published.append(exchange)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception | None]]:
    """What each wait for the broker comes to: an error, or None for an answer."""
    coming: list[Exception | None] = []

    def wait(_channel: object, _method: object, **_: object) -> None:
        outcome = coming.pop(0)
        if outcome is not None:
            raise outcome

    def publish_and_wait(channel: SilentChannel, message: str, **options: Any) -> None:
        options.pop("confirm_timeout")
        channel._basic_publish(message, **options)
        channel.wait(CONFIRMATION)

    monkeypatch.setattr(pyamqp.Channel, "wait", wait)
    monkeypatch.setattr(pyamqp.Channel, "basic_publish_confirm", publish_and_wait)
    yield coming
    assert coming == []


@pytest.mark.parametrize("exchange", ["embed.f5c4f95b", "plan", "celery_delayed_2"])
def test_work_is_sent_once_to_a_broker_that_takes_nothing_for_a_while(
    waits: list[Exception | None], exchange: str
) -> None:
    waits += [TimeoutError(), TimeoutError(), None]
    channel = SilentChannel(Connection(blocked=True, patience_s=60))
    channel.basic_publish_confirm("batch", exchange=exchange)
    assert channel.published == [exchange]
    assert not channel.connection.given_up


def publish_in_vain(channel: SilentChannel, exchange: str) -> type[BaseException]:
    with pytest.raises((UnconfirmedError, TimeoutError)) as caught:
        channel.basic_publish_confirm("message", exchange=exchange)
    return caught.type


@pytest.mark.parametrize(("exchange", "patience_s"), [("plan", 0), ("", 60), ("pictor.dead", 60)])
def test_who_has_no_patience_is_told_that_nothing_is_known(
    waits: list[Exception | None], exchange: str, patience_s: float
) -> None:
    waits.append(TimeoutError())
    channel = SilentChannel(Connection(blocked=True, patience_s=patience_s))
    assert publish_in_vain(channel, exchange) is UnconfirmedError
    assert channel.connection.given_up  # else a late confirmation would be the next message's


def test_a_silent_connection_is_left_to_kombu_which_opens_another(waits: list[Exception | None]) -> None:
    waits.append(TimeoutError())
    assert publish_in_vain(SilentChannel(Connection(blocked=False, patience_s=60)), "embed") is TimeoutError


def test_only_confirmations_are_waited_for_beyond_the_usual_time(waits: list[Exception | None]) -> None:
    waits.append(TimeoutError())
    channel = SilentChannel(Connection(blocked=True, patience_s=60))
    with pytest.raises(TimeoutError):
        channel.wait(spec.Queue.DeclareOk)


@pytest.mark.parametrize(("exchange", "is_told"), [("embed.f5c4f95b", True), ("plan", True), ("", False)])
def test_work_that_no_queue_takes_is_not_called_sent(
    monkeypatch: pytest.MonkeyPatch, exchange: str, is_told: bool
) -> None:
    """RabbitMQ confirms what it drops. It says so before, to who has asked for that."""

    def publish_in_vain(channel: SilentChannel, _message: str, *, mandatory: bool = False, **_: Any) -> None:
        if mandatory:
            channel._on_basic_return(312, "NO_ROUTE", exchange, exchange, "message")

    monkeypatch.setattr(pyamqp.Channel, "basic_publish_confirm", publish_in_vain)
    channel = SilentChannel(Connection(blocked=False, patience_s=60))
    if not is_told:  # an answer whose caller is gone
        channel.basic_publish_confirm("message", exchange=exchange)
        return
    with pytest.raises(TransientError, match=r"^not sent; it has no queue for it"), broker_errors("not sent"):
        channel.basic_publish_confirm("message", exchange=exchange)
    assert channel.connection.given_up  # with what is remembered as declared


@pytest.mark.parametrize("exchange", ["celeryev", "reply.celery.pidbox"])
def test_the_event_loop_waits_for_no_event(waits: list[Exception | None], exchange: str) -> None:
    channel = SilentChannel(Connection(blocked=True, patience_s=60))
    channel.basic_publish_confirm("event", exchange=exchange)
    assert channel.published == [exchange]


def caused_by(error: Exception) -> OperationalError:
    outer = OperationalError("timed out, or refused")
    outer.__cause__ = error
    return outer


UNKNOWN: Iterable[Exception] = (UnconfirmedError(), TimeoutError(), caused_by(TimeoutError()))


@pytest.mark.parametrize("error", UNKNOWN)
def test_what_may_have_arrived_is_not_called_refused(error: Exception) -> None:
    with pytest.raises(TransientError, match=r"^perhaps$"), broker_errors("never", unconfirmed="perhaps"):
        raise error


@pytest.mark.parametrize("error", [ConnectionRefusedError(), caused_by(ConnectionRefusedError())])
def test_what_cannot_have_arrived_is(error: Exception) -> None:
    with pytest.raises(TransientError, match=r"^never$"), broker_errors("never", unconfirmed="perhaps"):
        raise error

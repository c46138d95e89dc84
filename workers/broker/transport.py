"""AMQP as kombu speaks it, but nothing waits for the broker's answer for ever.

Opening, declaring, confirming and closing all wait for an answer, and kombu sets no limit to that. On a
connection that fell silent without a word, as behind a load balancer that forgot it, a worker's main process
would wait there: for the confirmation of an event, so that it never came round to its heartbeats, or for the
end of the old connection, so that it never went on to a new one.

A broker whose disk or memory is nearly full is another matter: it says that it takes nothing now. What was
sent on that connection waits in its sockets, and is taken when there is room again, so to send it again on
another connection would only double it.
"""

import logging
import ssl
import time
from typing import Any

from amqp import spec
from amqp import transport as amqp_transport
from amqp.exceptions import AMQPError
from kombu.transport import TRANSPORT_ALIASES, pyamqp

from pipeline.tls import client_context, explain_tls
from workers.broker.queue_names import is_work_queue

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0  # an answer takes milliseconds. A failed call is repeated on a new connection
FAREWELL_TIMEOUT_S = 1.0  # of a connection that is given up; there are several, and a heartbeat to keep
# Flower's events and commands. They are not worth a wait of the event loop, not even a short one.
UNCONFIRMED = ("celeryev", "reply.celery.pidbox")
_DELAYED = "celery_delayed_"  # where Celery sends messages that are to arrive later
CA_SETTING = "PICTOR_BROKER_CA_FILE"
_CONFIRMATION = [spec.Basic.Ack, spec.Basic.Nack]


class UnconfirmedError(AMQPError):  # type: ignore[misc]
    """The broker takes nothing now, and may yet take a message it was sent. Kombu does not send it again."""


class UnroutedError(AMQPError):  # type: ignore[misc]
    """The broker has no queue for a message, and dropped it. Kombu does not send it again."""


class UntrustedBrokerError(OSError):
    """Its certificate was refused. Celery tries again, as it does when a broker is away."""


class Channel(pyamqp.Channel):  # type: ignore[misc]  # kombu is untyped
    _patience_s = 0.0
    _returned = False

    def wait(self, method: Any, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return super().wait(method, *args, timeout=timeout or _limit_s(method), **options)
            except TimeoutError as err:
                if method != _CONFIRMATION or not self.connection.is_blocked:
                    raise
                if time.monotonic() >= deadline:
                    self.connection.collect()  # a late confirmation must not be taken for the next one's
                    raise UnconfirmedError("the broker holds publishers back") from err

    def basic_publish_confirm(self, *args: Any, confirm_timeout: float | None = None, **options: Any) -> Any:
        exchange = options.get("exchange")
        if exchange in UNCONFIRMED:
            return self._basic_publish(*args, **options)
        is_work = is_work_queue(exchange) or str(exchange).startswith(_DELAYED)
        self._patience_s = self.connection.blocked_patience_s if is_work else 0.0
        if is_work:
            options["mandatory"] = True  # else a broker confirms a message that it drops for want of a queue
        result = super().basic_publish_confirm(*args, confirm_timeout=confirm_timeout, **options)
        if self._returned:  # said before the confirmation
            self._returned = False
            self.connection.collect()  # its declared queues are gone
            raise UnroutedError(f"no queue takes what exchange {exchange!r} is sent")
        return result

    def _on_basic_return(self, *_: object) -> None:
        self._returned = True


class VerifiedSocket(amqp_transport.SSLTransport):  # type: ignore[misc]  # amqp is untyped
    """A TLS socket to a broker whose certificate, authority and name were checked.

    amqp checks the name only if it is told the name, which no option of a URL can do. No option is read here.
    """

    ca_file = ""

    def _wrap_socket(self, sock: Any, **_: object) -> ssl.SSLSocket:
        return client_context(self.ca_file, CA_SETTING).wrap_socket(
            sock,
            server_hostname=self.host,
            do_handshake_on_connect=False,  # amqp does it, with a time limit
        )

    def _setup_transport(self) -> None:
        try:
            super()._setup_transport()
        except ssl.SSLError as err:
            if fault := explain_tls(err, self.host, CA_SETTING):
                raise UntrustedBrokerError(f"the broker at {self.host}:{self.port}: {fault}") from err
            raise


class Connection(pyamqp.Connection):  # type: ignore[misc]
    """One connection.

    Args:
        blocked_patience_s: how long work that is published waits for a broker that takes nothing.
        ca_file: see `pipeline.tls.client_context`; for connections with TLS.
    """

    Channel = Channel

    def __init__(
        self, *args: Any, blocked_patience_s: float = 0.0, ca_file: str = "", **options: Any
    ) -> None:
        super().__init__(*args, on_blocked=self._block, on_unblocked=self._unblock, **options)
        self.blocked_patience_s = blocked_patience_s
        self.ca_file = ca_file
        self.is_blocked = False

    def Transport(  # noqa: N802 - amqp's name
        self, host: str, connect_timeout: float, ssl: object = False, *timeouts: Any, **options: Any
    ) -> Any:
        if not ssl:
            return super().Transport(host, connect_timeout, ssl, *timeouts, **options)
        read_timeout, write_timeout = timeouts
        verified = VerifiedSocket(
            host, connect_timeout, read_timeout=read_timeout, write_timeout=write_timeout, **options
        )
        verified.ca_file = self.ca_file
        return verified

    def _block(self, _reason: str) -> None:
        logger.warning("the broker holds publishers back: its disk or its memory is nearly full")
        self.is_blocked = True

    def _unblock(self) -> None:
        logger.warning("the broker takes messages again")
        self.is_blocked = False

    def wait(self, method: Any, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        return super().wait(method, *args, timeout=timeout or _limit_s(method), **options)


class Transport(pyamqp.Transport):  # type: ignore[misc]
    Connection = Connection


class SSLTransport(pyamqp.SSLTransport):  # type: ignore[misc]
    Connection = Connection


def use_for_amqp() -> None:
    """Kombu finds its transport by the scheme of the URL. Called in each process that speaks to a broker."""
    TRANSPORT_ALIASES["amqp"] = TRANSPORT_ALIASES["pyamqp"] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["amqps"] = f"{__name__}:SSLTransport"


def _limit_s(method: Any) -> float:
    """Args: `method` is the answer that is waited for, or several that may come."""
    farewells = (spec.Channel.CloseOk, spec.Connection.CloseOk)
    return FAREWELL_TIMEOUT_S if method in farewells else ANSWER_TIMEOUT_S

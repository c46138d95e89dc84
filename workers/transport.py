"""AMQP as kombu speaks it, but nothing waits for the broker's answer for ever.

Opening, declaring, confirming and closing all wait for an answer, and kombu sets no limit to that. On a
connection that fell silent without a word, as behind a load balancer that forgot it, a worker's main process
would wait there: for the confirmation of an event, so that it never came round to its heartbeats, or for the
end of the old connection, so that it never went on to a new one.
"""

from typing import Any

from amqp import spec
from kombu.transport import TRANSPORT_ALIASES, pyamqp

ANSWER_TIMEOUT_S = 10.0  # an answer takes milliseconds; what failed is done again on a new connection
FAREWELL_TIMEOUT_S = 1.0  # of a connection that is given up; there are several, and a heartbeat to keep
EVENT_EXCHANGE = (
    "celeryev"  # what Flower listens to: not worth a wait of the event loop, not even a short one
)


class Channel(pyamqp.Channel):  # type: ignore[misc]  # kombu is untyped
    def wait(self, method: Any, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        return super().wait(method, *args, timeout=timeout or _limit_s(method), **options)

    def basic_publish_confirm(self, *args: Any, confirm_timeout: float | None = None, **options: Any) -> Any:
        if options.get("exchange") == EVENT_EXCHANGE:
            return self._basic_publish(*args, **options)
        return super().basic_publish_confirm(*args, confirm_timeout=confirm_timeout, **options)


class Connection(pyamqp.Connection):  # type: ignore[misc]
    Channel = Channel

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

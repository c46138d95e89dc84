"""The page that Prometheus asks for, on a port of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


@contextmanager
def served_page(settings: Settings, registry: "CollectorRegistry") -> Iterator[None]:
    """Answer `GET /metrics` on PICTOR_METRICS_PORT while it lasts.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_address, registry)
    except OSError as err:
        where = f"{settings.metrics_address}:{settings.metrics_port}"
        raise ConfigError(f"PICTOR_METRICS_PORT: {where} cannot be listened on: {err.strerror}") from err
    thread.name = "metrics"
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

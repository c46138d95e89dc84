"""Runs the application until it is told to stop."""

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Literal

import uvicorn
from fastapi import FastAPI

from pipeline.addresses import is_host, is_loopback
from pipeline.api.app import LOOPBACK_NAMES
from pipeline.errors import ArgumentError, ConfigError
from pipeline.names import shown
from pipeline.settings import Settings

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_S = 20  # for requests in flight. A search takes seconds at most
HEADERS_S = 10  # a connection that says nothing more is closed
LAST_REQUEST_S = 1.0  # for the next request of a connection that is open when the service stops
LOOK_S = 0.02
CLOSES = (b"connection", b"close")  # the client opens another, and is refused there


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """Files of this server, in PEM."""

    cert_file: str
    key_file: str


def check_address(host: str, *, with_keys: bool) -> str:
    """Returns the address to listen on.

    Raises:
        ArgumentError: it is none; or, without keys, others than this machine could reach it.
    """
    address = "127.0.0.1" if host == "localhost" else host
    if not with_keys and not is_loopback(address):
        raise ArgumentError(
            f"--host {host}: a loopback address is expected, for example 127.0.0.1. Without keys, whoever "
            "reaches the service may do everything; --keys wants a key for each request"
        )
    if not is_host(address):
        raise ArgumentError(f"--host {shown(host)}: an interface's address is expected, for example 0.0.0.0")
    return address


def hosts_of(address: str, named: Sequence[str]) -> tuple[str, ...]:
    """The names that the service goes by.

    Args:
        named: as PICTOR_SERVICE_HOSTS has them.

    Raises:
        ArgumentError: it listens on every address, and nobody said which names these have.
    """
    if address in ("0.0.0.0", "::") and not named:  # noqa: S104 - it is compared
        raise ArgumentError(
            f"--host {address}: set PICTOR_SERVICE_HOSTS to the names by which others reach the service, for "
            "example pictor.example.org, or to * for any"
        )
    return (*LOOPBACK_NAMES, address.lower(), *named)


def read_tls(settings: Settings) -> Tls | None:
    """None for a service without TLS.

    Raises:
        ConfigError: a file is missing or is none of a certificate and its key.
    """
    cert_file, key_file = settings.service_tls_cert_file, settings.service_tls_key_file
    if not cert_file and not key_file:
        return None
    if not cert_file or not key_file:
        raise ConfigError("set both PICTOR_SERVICE_TLS_CERT_FILE and PICTOR_SERVICE_TLS_KEY_FILE, or neither")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, password=_no_password)
    except OSError as err:  # of ssl, too
        raise ConfigError(
            f"PICTOR_SERVICE_TLS_CERT_FILE, PICTOR_SERVICE_TLS_KEY_FILE: {cert_file} and {key_file} are no "
            f"certificate and its key in PEM: {err.strerror or type(err).__name__}"
        ) from err
    return Tls(cert_file=cert_file, key_file=key_file)


def _no_password() -> str:
    """OpenSSL would ask the terminal for it."""
    return ""


def run(
    app: FastAPI,
    *,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
    on_stop: Callable[[], None] = lambda: None,
    tls: Tls | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. Requests in flight are answered, and no new ones are taken.

    Args:
        port: 0 for any that is free.
        on_stop: called once it is told to stop, by a handler of signals.
        on_ready: called with the address once it answers.

    Raises:
        ArgumentError: the port is in use.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_parser(),
        loop="auto",  # uvloop, where it is installed
        log_config=None,  # ours is set up
        access_log=False,  # one line for each request is ours, too
        server_header=False,
        timeout_keep_alive=HEADERS_S,
        timeout_graceful_shutdown=STOP_S,
        limit_concurrency=1024,  # connections; bounds of requests are ours, and answer 429, not 503
        ssl_certfile=tls.cert_file if tls else None,
        ssl_keyfile=tls.key_file if tls else None,
    )
    _Server(config, on_ready, on_stop).run()


def _parser() -> "type[asyncio.Protocol] | Literal['h11']":
    """Never uvicorn's choice: httptools by itself keeps headers of any length."""
    try:
        from pipeline.api.bounded_http import BoundedHttp
    except ImportError:  # no wheel of httptools for this machine
        return "h11"
    return BoundedHttp


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[str], None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_stop()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Without uvicorn's last step: it would send the signal again, and ports would stay open."""
        before = {number: signal.signal(number, self.handle_exit) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, and answer the last request of each that is open.

        uvicorn alone would close those between two requests at once, and cut off whoever has just asked.
        """
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSES]
        patience_until = time.monotonic() + LAST_REQUEST_S
        while self.server_state.connections and time.monotonic() < patience_until:
            await asyncio.sleep(LOOK_S)
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:  # uvicorn does this if the port is in use
            where = f"{self.config.host}:{self.config.port}"
            raise ArgumentError(f"{where} cannot be listened on; is the port in use?") from None
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            address = f"[{host}]" if ":" in host else host
            scheme = "https" if self.config.is_ssl else "http"
            self._on_ready(f"{scheme}://{address}:{port}/")

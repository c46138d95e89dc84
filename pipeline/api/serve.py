"""Runs the application until it is told to stop."""

import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from pipeline.errors import ArgumentError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_S = 20  # for requests in flight. A search takes seconds at most
HEADERS_S = 10  # a connection that says nothing more is closed


def check_loopback(host: str) -> str:
    """Returns the address.

    Raises:
        ArgumentError: others than this machine could reach it.
    """
    address = "127.0.0.1" if host == "localhost" else host
    try:
        if ipaddress.ip_address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise ArgumentError(
        f"--host {host}: a loopback address is expected, for example 127.0.0.1. The service has no keys yet, "
        "so whoever reaches it may do everything"
    )


def run(
    app: FastAPI,
    *,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
    on_stop: Callable[[], None] = lambda: None,
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
        log_config=None,  # ours is set up
        access_log=False,  # one line for each request is ours, too
        server_header=False,
        timeout_keep_alive=HEADERS_S,
        timeout_graceful_shutdown=STOP_S,
        limit_concurrency=256,  # connections; requests have a bound of their own
    )
    _Server(config, on_ready, on_stop).run()


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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:  # uvicorn does this if the port is in use
            where = f"{self.config.host}:{self.config.port}"
            raise ArgumentError(f"{where} cannot be listened on; is the port in use?") from None
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._on_ready(f"http://{shown}:{port}/")

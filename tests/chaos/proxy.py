"""A TCP proxy between a worker and its broker that can fall silent without closing anything."""

import selectors
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

PIECE_BYTES = 2**16
TICK_S = 0.05


class SilentProxy:
    """Forwards connections to one port of this machine; `silence` drops what it has, as a NAT gateway that
    forgot them: no FIN, no RST, and nothing arrives any more. New connections work.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._silent: list[socket.socket] = []  # held open, and never read again
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._forward, name="silent-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for opened in [self._listener, *self._peers, *self._silent]:
            opened.close()

    def silence(self) -> int:
        """Returns how many connections were silenced."""
        with self._lock:
            self._silent += self._peers
            count = len(self._peers) // 2
            self._peers.clear()
        return count

    @property
    def connections(self) -> int:
        """That are forwarded now."""
        with self._lock:
            return len(self._peers) // 2

    def _forward(self) -> None:
        while not self._over.is_set():
            with selectors.DefaultSelector() as selector, self._lock:
                for watched in (self._listener, *self._peers):
                    selector.register(watched, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in selector.select(0)]
                for readable in ready:
                    assert isinstance(readable, socket.socket)
                    self._accept() if readable is self._listener else self._pass_on(readable)
            if not ready:
                self._over.wait(TICK_S / 10)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        self._peers[client], self._peers[server] = server, client

    def _pass_on(self, source: socket.socket) -> None:
        target = self._peers.get(source)
        if target is None:  # closed a moment ago
            return
        piece = b""
        with suppress(OSError):
            piece = source.recv(PIECE_BYTES)
            target.sendall(piece)
        if not piece:
            for end in (source, target):
                self._peers.pop(end, None)
                end.close()

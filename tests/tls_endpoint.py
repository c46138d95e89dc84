"""TLS in front of a server that speaks none: what a load balancer does."""

import contextlib
import select
import socket
import ssl
from collections.abc import Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

from tests.certificates import Certificate

_PIECE_BYTES = 2**16


@contextlib.contextmanager
def tls_endpoint(port: int, certificate: Certificate) -> Iterator[int]:
    """A port of this machine that shows the certificate and passes all else on to `port`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    context.set_alpn_protocols(["h2", "http/1.1"])  # without h2, gRPC hangs up
    with _Endpoint(port, context) as endpoint:
        thread = Thread(target=endpoint.serve_forever, args=(0.05,), name="tls-endpoint")
        thread.start()
        try:
            yield endpoint.server_address[1]
        finally:
            endpoint.shutdown()
            thread.join()
            endpoint.hang_up()


class _Endpoint(ThreadingTCPServer):
    """Leaving it waits for the thread of each connection, one in the middle of its handshake included."""

    daemon_threads = False
    server_address: tuple[str, int]

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.port = port
        self.context = context
        self.accepted: list[socket.socket] = []  # a second handle of each, for `hang_up`

    def hang_up(self) -> None:
        for end in self.accepted:
            with end, contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class _Connection(BaseRequestHandler):
    server: _Endpoint
    request: socket.socket

    def handle(self) -> None:
        self.server.accepted.append(self.request.dup())
        with (
            contextlib.suppress(OSError),  # one of the ends hangs up, or does not believe the certificate
            self.server.context.wrap_socket(self.request, server_side=True) as front,
            socket.create_connection(("127.0.0.1", self.server.port)) as back,
        ):
            _join(front, back)


def _join(front: ssl.SSLSocket, back: socket.socket) -> None:
    """Until one end has nothing more to say."""
    while True:
        ready = [front] if front.pending() else select.select([front, back], [], [])[0]
        for source in ready:
            piece = source.recv(_PIECE_BYTES)
            if not piece:
                return
            (back if source is front else front).sendall(piece)

"""TLS in front of a server that speaks none: what a load balancer does."""

import asyncio
import contextlib
import queue
import ssl
from collections.abc import Iterator
from threading import Thread

from tests.certificates import Certificate

_PIECE_BYTES = 2**16


@contextlib.contextmanager
def tls_endpoint(port: int, certificate: Certificate) -> Iterator[int]:
    """A port of this machine that shows the certificate and passes all else on to `port`."""
    opened: queue.Queue[tuple[int, asyncio.Event, asyncio.AbstractEventLoop]] = queue.Queue()

    async def serve() -> None:
        over = asyncio.Event()
        server = await asyncio.start_server(lambda *ends: _join(port, *ends), "127.0.0.1", 0, ssl=context)
        opened.put((server.sockets[0].getsockname()[1], over, asyncio.get_running_loop()))
        async with server:
            await over.wait()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    context.set_alpn_protocols(["h2", "http/1.1"])  # without h2, gRPC hangs up
    thread = Thread(target=lambda: asyncio.run(serve()), name="tls-endpoint")
    thread.start()
    own_port, over, loop = opened.get(timeout=10)
    try:
        yield own_port
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


async def _join(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    upstream, to_upstream = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_copy(reader, to_upstream), _copy(upstream, writer), return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while piece := await source.read(_PIECE_BYTES):
            target.write(piece)
            await target.drain()
    finally:
        target.close()

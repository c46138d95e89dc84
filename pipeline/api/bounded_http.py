"""uvicorn's faster parser of HTTP, with bounds of bytes and of time on what comes before the body."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 2**10  # a browser with many cookies sends a quarter of it
HEAD_S = 10.0  # until the headers of a request are whole. They are sent at once


class BoundedHttp(HttpToolsProtocol):
    """Ends a connection that sends over `MAX_HEAD_BYTES` of headers or trailers, or takes over `HEAD_S`.

    httptools keeps any number of headers, and uvicorn waits for them for ever: whoever opens all connections
    that there are, and sends a byte now and then, would keep everybody else out. httptools is half of the CPU
    time of h11.
    """

    _unfinished_bytes = 0  # received since a head, a part of a body or a request was whole
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if self._unfinished_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"Headers may have {MAX_HEAD_BYTES} bytes.")
        if self.cycle is None or self.cycle.response_complete:  # also of the rest of a body that nobody wants
            self._await_head()

    def on_headers_complete(self) -> None:
        self._unfinished_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished_bytes = 0
        super().on_message_complete()

    def _await_head(self) -> None:
        """From the first byte on. Later ones give no more time."""
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

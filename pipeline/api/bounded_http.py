"""uvicorn's faster parser of HTTP, with a bound on what it would keep of a request before the body."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 2**10  # a browser with many cookies sends a quarter of it


class BoundedHttp(HttpToolsProtocol):
    """Ends a connection that sends more than `MAX_HEAD_BYTES` of headers or trailers.

    httptools keeps any number of them. It is half of the CPU time of h11, which has a bound of its own.
    """

    _unfinished_bytes = 0  # received since a head, a part of a body or a request was whole

    def data_received(self, data: bytes) -> None:
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if self._unfinished_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"Headers may have {MAX_HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        self._unfinished_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished_bytes = 0
        super().on_message_complete()

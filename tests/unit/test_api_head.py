"""No client makes the service keep headers of any length, whichever parser reads them."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from pipeline.api.bounded_http import MAX_HEAD_BYTES, BoundedHttp

CHUNK = b"x-filler: " + b"x" * 1000 + b"\r\n"


class Wire(asyncio.Transport):
    """Keeps what the service says."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.said += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def answer(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def say(*pieces: bytes) -> Wire:
    """A connection on which these pieces arrive one after another, while it is open."""
    wire = Wire()
    config = uvicorn.Config(cast("Any", answer), http=BoundedHttp, log_config=None, lifespan="off")
    config.load()
    protocol = BoundedHttp(config, ServerState(), {}, asyncio.get_running_loop())
    protocol.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            protocol.data_received(piece)
        await asyncio.sleep(0)
    if wire.closed:
        protocol.connection_lost(None)
    async with asyncio.timeout(5):
        await asyncio.gather(*protocol.tasks)
    return wire


def heard(*pieces: bytes) -> SimpleNamespace:
    wire = asyncio.run(say(*pieces))
    return SimpleNamespace(status=wire.said[9:12], closed=wire.closed)


def test_headers_that_do_not_end_end_the_connection() -> None:
    pieces = MAX_HEAD_BYTES // len(CHUNK) + 1
    found = heard(b"GET / HTTP/1.1\r\nhost: a\r\n", *[CHUNK] * pieces)
    assert (found.status, found.closed) == (b"400", True)


def test_so_does_an_address_without_an_end() -> None:
    found = heard(b"GET /", *[b"a" * 1000] * (MAX_HEAD_BYTES // 1000 + 1))
    assert (found.status, found.closed) == (b"400", True)


def test_so_do_trailers() -> None:
    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"
    found = heard(head, b"0\r\n", *[CHUNK] * (MAX_HEAD_BYTES // len(CHUNK) + 1))
    assert found.closed


@pytest.mark.parametrize("sends", [1, 3])
def test_a_body_of_any_length_counts_for_nothing(sends: int) -> None:
    body = b"b" * (3 * MAX_HEAD_BYTES)
    head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (sends * len(body))
    found = heard(head, *[body] * sends)
    assert (found.status, found.closed) == (b"200", False)


def test_nor_do_many_requests_on_one_connection() -> None:
    request = b"GET / HTTP/1.1\r\nhost: a\r\n" + CHUNK + b"\r\n"
    found = heard(*[request, b""] * (2 * MAX_HEAD_BYTES // len(request)))
    assert (found.status, found.closed) == (b"200", False)

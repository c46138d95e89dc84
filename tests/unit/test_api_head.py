"""No client makes the service keep headers of any length, or wait for them for any time."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from pipeline.api.bounded_http import HEAD_S, MAX_HEAD_BYTES, BoundedHttp

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


class Timers:
    """A loop whose time stands still. What is due later is kept, with its time in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.due: list[tuple[float, asyncio.TimerHandle]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay_s: float, callback: Any, *arguments: Any) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(0, callback, arguments, self._loop)
        self.due.append((delay_s, timer))
        return timer

    def pass_by(self, seconds: float) -> None:
        for delay_s, timer in self.due:
            if delay_s <= seconds and not timer.cancelled():
                timer._run()


async def say(*pieces: bytes, then_s: float = 0.0, app: Any = answer) -> Wire:
    """A connection on which these pieces arrive one after another, while it is open.

    Args:
        then_s: that go by after the last one.
    """
    wire = Wire()
    config = uvicorn.Config(cast("Any", app), http=BoundedHttp, log_config=None, lifespan="off")
    config.load()
    timers = Timers(asyncio.get_running_loop())
    protocol = BoundedHttp(config, ServerState(), {}, cast("Any", timers))
    protocol.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            protocol.data_received(piece)
        await asyncio.sleep(0)
    timers.pass_by(then_s)
    closed = wire.closed
    protocol.connection_lost(None)  # what still waits for the client ends
    wire.closed = closed
    async with asyncio.timeout(5):
        await asyncio.gather(*protocol.tasks)
    return wire


def heard(*pieces: bytes, then_s: float = 0.0, app: Any = answer) -> SimpleNamespace:
    wire = asyncio.run(say(*pieces, then_s=then_s, app=app))
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


GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
SLOW_HEAD = [bytes([byte]) for byte in GET[:-1]]
LONG = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n"


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Without a look at the body."""
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    "pieces",
    [[], [b"G"], SLOW_HEAD, [GET, b"G"], [GET, *SLOW_HEAD]],
    ids=["nothing", "a byte", "byte after byte", "a byte of a second request", "a second request, slowly"],
)
def test_who_takes_long_for_headers_is_not_waited_for(pieces: list[bytes]) -> None:
    assert not heard(*pieces, then_s=HEAD_S / 2).closed
    assert heard(*pieces, then_s=HEAD_S).closed


def test_nor_is_the_rest_of_a_body_that_was_refused() -> None:
    found = heard(LONG, *[b"b"] * 100, then_s=HEAD_S, app=refuse)
    assert (found.status, found.closed) == (b"413", True)


def test_a_body_and_an_answer_have_times_of_their_own() -> None:
    """Of the middleware and of the route. A stream of events goes on for hours."""

    async def unhurried(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass

    for pieces in ([GET], [LONG, b"b", b"b"]):
        assert not heard(*pieces, then_s=1000 * HEAD_S, app=unhurried).closed

"""What every request passes before its route."""

import asyncio
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from pipeline.api.header_text import header_text
from pipeline.api.middleware.bounds import MAX_JSON_MEMBERS, OPEN_BODY_BYTES, BoundedBodies, BoundedRequests
from pipeline.api.middleware.callers import person_of
from pipeline.api.middleware.names import NamedRequests
from pipeline.api.middleware.origins import OwnOrigins
from pipeline.api.stated import stated_in

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Echo:
    """An application that answers 200 with the length of the body that it was given."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length, more = 0, True
        while more:
            message = await receive()
            length += len(message.get("body", b""))
            more = message.get("more_body", False)
        self.lengths.append(length)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def scope_of(headers: dict[str, str] | None = None, *, method: str = "GET", path: str = "/v1/jobs") -> Scope:
    named = {"host": "127.0.0.1:8780"} | (headers or {})
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }


async def whole(*parts: bytes) -> list[Message]:
    return [
        {"type": "http.request", "body": part, "more_body": place < len(parts)}
        for place, part in enumerate(parts, 1)
    ]


async def ask(app: Any, scope: Scope, *parts: bytes) -> tuple[int, dict[str, str]]:
    """The status and headers of the answer."""
    waiting = await whole(*(parts or (b"",)))
    started: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            started.append(message)

    await app(scope, receive, send)
    (start,) = started
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}


# Names


@pytest.mark.parametrize("given", ["a", "req-1.2_3:4", "x" * 128])
def test_a_name_is_taken_over_and_given_back(given: str) -> None:
    _, headers = asyncio.run(ask(NamedRequests(Echo()), scope_of({"x-request-id": given})))
    assert headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\r\nset-cookie: b", "ü"])
def test_what_is_no_name_is_replaced(given: str) -> None:
    _, headers = asyncio.run(ask(NamedRequests(Echo()), scope_of({"x-request-id": given})))
    assert len(headers["x-request-id"]) == 32


def test_a_trace_is_given_back_when_it_is_one() -> None:
    _, headers = asyncio.run(ask(NamedRequests(Echo()), scope_of({"traceparent": TRACE})))
    assert headers["traceparent"] == TRACE
    for wrong in (
        TRACE.upper(),
        TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        "ff" + TRACE[2:],
    ):
        _, headers = asyncio.run(ask(NamedRequests(Echo()), scope_of({"traceparent": wrong})))
        assert "traceparent" not in headers


def test_every_answer_forbids_foreign_scripts() -> None:
    _, headers = asyncio.run(ask(NamedRequests(Echo()), scope_of()))
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"  # `no-referrer` has a form's Origin be null


# Origins

HOSTS = ("127.0.0.1", "localhost", "::1")


@pytest.mark.parametrize("host", ["127.0.0.1:8780", "localhost", "[::1]:8780", "LOCALHOST:1"])
def test_the_service_answers_to_its_own_names(host: str) -> None:
    status, _ = asyncio.run(ask(OwnOrigins(Echo(), hosts=HOSTS), scope_of({"host": host})))
    assert status == 200


@pytest.mark.parametrize("host", ["photos.example", "127.0.0.1.photos.example", "", "[::1", "localhost@x"])
def test_it_answers_to_no_other_name(host: str) -> None:
    status, _ = asyncio.run(ask(OwnOrigins(Echo(), hosts=HOSTS), scope_of({"host": host})))
    assert status == 421


@pytest.mark.parametrize("hosts", [HOSTS, ("*",)])
def test_two_names_are_none(hosts: tuple[str, ...]) -> None:
    """A proxy before the service may have looked at the other one."""
    scope = scope_of()
    scope["headers"] *= 2
    assert asyncio.run(ask(OwnOrigins(Echo(), hosts=hosts), scope))[0] == 421


ORIGINS: dict[str, tuple[dict[str, str], int]] = {
    "a program": ({}, 200),
    "its own page": ({"origin": "http://127.0.0.1:8780", "sec-fetch-site": "same-origin"}, 200),
    "another site": ({"origin": "https://photos.example"}, 403),
    "another port": ({"origin": "http://127.0.0.1:9000"}, 403),
    "a sandboxed frame": ({"origin": "null"}, 403),
    "half of an address": ({"origin": "http://["}, 403),
    "a form of another site": ({"sec-fetch-site": "cross-site"}, 403),
    "a form of a neighbour": ({"sec-fetch-site": "same-site"}, 403),
}


@pytest.mark.parametrize("name", ORIGINS)
def test_a_change_comes_from_its_own_page_or_a_program(name: str) -> None:
    headers, expected = ORIGINS[name]
    app = OwnOrigins(Echo(), hosts=HOSTS)
    assert asyncio.run(ask(app, scope_of(headers, method="POST")))[0] == expected
    assert asyncio.run(ask(app, scope_of(headers, method="GET")))[0] == 200  # a browser hides the answer


# What headers say


@pytest.mark.parametrize(
    ("sent", "meant"),
    [(b"Ann", "Ann"), ("Zo\u00eb \u674e".encode(), "Zo\u00eb \u674e"), (b"Zo\xeb", "Zo\u00eb")],
)
def test_a_header_may_be_utf_8(sent: bytes, meant: str) -> None:
    assert header_text(sent.decode("latin-1")) == meant


def test_every_header_that_is_recorded_is_read_so() -> None:
    sent = "Zo\u00eb".encode().decode("latin-1")
    assert person_of(Headers({"x-pictor-on-behalf-of": sent})) == "Zo\u00eb"
    stated = asyncio.run(stated_in(sent, sent, sent, sent, sent)).model_dump()
    assert set(stated.values()) == {"Zo\u00eb"}


# Bounds


def test_a_body_within_the_bound_arrives_whole() -> None:
    echo = Echo()
    app = BoundedBodies(echo, max_bytes=10)
    assert asyncio.run(ask(app, scope_of(method="POST"), b"12345", b"67890"))[0] == 200
    assert echo.lengths == [10]


@pytest.mark.parametrize("announced", [True, False])
def test_a_longer_body_is_refused_before_the_route_runs(announced: bool) -> None:
    echo = Echo()
    app = BoundedBodies(echo, max_bytes=10)
    headers = {"content-length": "11"} if announced else {}
    assert asyncio.run(ask(app, scope_of(headers, method="POST"), b"12345", b"678901"))[0] == 413
    assert echo.lengths == []


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/x-amz-json-1.1"]
)
def test_json_of_too_many_members_is_refused_before_it_is_read(kind: str) -> None:
    echo = Echo()
    app = BoundedBodies(echo, max_bytes=2**20)
    scope, member = scope_of({"content-type": kind}, method="POST"), b'"a":1,'
    assert asyncio.run(ask(app, scope, b"{", member * MAX_JSON_MEMBERS))[0] == 200
    assert asyncio.run(ask(app, scope, b"{", member * (MAX_JSON_MEMBERS + 1)))[0] == 413
    assert len(echo.lengths) == 1


def test_a_picture_may_have_any_bytes() -> None:
    app = BoundedBodies(Echo(), max_bytes=2**20)
    picture = b":" * (MAX_JSON_MEMBERS + 1)
    for kind in ({}, {"content-type": "application/octet-stream"}, {"content-type": "image/jpeg"}):
        assert asyncio.run(ask(app, scope_of(kind, method="POST"), picture))[0] == 200


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/livez", "/static/x", "/docs"])
def test_who_shows_no_key_fills_no_memory(path: str) -> None:
    """A thousand connections may be open, and nobody is asked who they are."""
    echo = Echo()
    app = BoundedBodies(echo, max_bytes=16 * 2**20)
    form, more = b"k" * OPEN_BODY_BYTES, b"k"
    assert asyncio.run(ask(app, scope_of(method="POST", path=path), form))[0] == 200
    assert asyncio.run(ask(app, scope_of(method="POST", path=path), form, more))[0] == 413
    assert asyncio.run(ask(app, scope_of(method="POST"), form, more))[0] == 200


def test_a_body_that_does_not_come_is_given_up() -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    answers: list[Message] = []

    async def send(message: Message) -> None:
        answers.append(message)

    app = BoundedBodies(Echo(), max_bytes=10, body_s=0.01)
    asyncio.run(app(scope_of(method="POST"), never, send))
    assert answers[0]["status"] == 408


def test_a_caller_who_hangs_up_costs_no_route() -> None:
    echo = Echo()

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        raise AssertionError("nobody listens")

    asyncio.run(BoundedBodies(echo, max_bytes=10)(scope_of(), gone, send))
    assert echo.lengths == []


def test_more_requests_than_the_bound_are_turned_away_and_later_ones_are_taken() -> None:
    async def run() -> None:
        inside, free = asyncio.Event(), asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            inside.set()
            await free.wait()
            await Echo()(scope, receive, send)

        app = BoundedRequests(slow, most=1, streams=1)
        first = asyncio.create_task(ask(app, scope_of()))
        await inside.wait()
        status, headers = await ask(app, scope_of())
        assert (status, headers["retry-after"]) == (429, "1")
        second_kind = asyncio.create_task(ask(app, scope_of(path="/v1/jobs/j/events")))
        await asyncio.sleep(0)
        free.set()
        assert (await second_kind)[0] == 200  # streams have a bound of their own
        assert (await first)[0] == 200
        assert (await ask(app, scope_of()))[0] == 200
        assert (await ask(app, scope_of(path="/livez")))[0] == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "status"), [("/results", 429), ("/", 429), ("/jobs", 429), ("/livez", 200), ("/metrics", 200)]
)
def test_a_page_counts_as_a_request_and_a_probe_does_not(path: str, status: int) -> None:
    """A picture that is dropped on the search page is as large as one that comes to the API."""
    assert asyncio.run(ask(BoundedRequests(Echo(), most=0, streams=0), scope_of(path=path)))[0] == status

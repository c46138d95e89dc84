"""Bounds of a request: the size of its body, the time that it takes to arrive, how many are in flight."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.middleware.callers import is_open
from pipeline.api.problems import RETRY_AFTER_S, problem
from pipeline.api.rate_fields import Limit
from pipeline.api.request_id import request_id_of

OPEN_BODY_BYTES = 16 * 2**10  # where nobody is asked who they are: the form with which they sign in
MAX_JSON_MEMBERS = 20_000  # of all objects in a body; a batch of searches has some thousand
BODY_S = 30.0  # for the whole body; a picture of 64 MiB needs 17 Mbit/s


class BoundedBodies:
    """Reads each body before the route runs, so that none holds a thread while it arrives.

    Args:
        max_bytes: of the longest body. On a path that is open to everybody it is OPEN_BODY_BYTES.
        body_s: how long a body may take.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, body_s: float = BODY_S) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._body_s):
                body = await self._read(scope, receive)
        except _TooLargeError as err:
            await problem("body_too_large", str(err), request_id_of(scope))(scope, receive, send)
        except TimeoutError:
            detail = f"the body was not whole after {self._body_s:g} s"
            await problem("body_too_slow", detail, request_id_of(scope))(scope, receive, send)
        else:
            if body is not None:
                await self._app(scope, replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """None when the caller hung up."""
        max_bytes = min(self._max_bytes, OPEN_BODY_BYTES) if is_open(scope["path"]) else self._max_bytes
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > max_bytes:
            raise _TooLargeError(f"{announced} bytes are over the limit of {max_bytes}")
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > max_bytes:
                raise _TooLargeError(f"more than {max_bytes} bytes")
            if not message.get("more_body", False):
                _check_members(scope, body)
                return bytes(body)


class _TooLargeError(Exception):
    pass


def _check_members(scope: Scope, body: bytearray) -> None:
    """Each member that nobody knows is a fault of its own. A million faults hold the service up for seconds.

    A member has a colon. Pictures in base64 and numbers have none.

    Raises:
        _TooLargeError: JSON has too many.
    """
    is_json = "json" in Headers(scope=scope).get("content-type", "").lower()
    if is_json and body.count(b":") > MAX_JSON_MEMBERS:
        raise _TooLargeError(f"JSON may have {MAX_JSON_MEMBERS} members, and this has more")


def replay(body: bytes, receive: Receive) -> Receive:
    """The body once, and then whatever comes: that the caller hung up, for example."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def is_always_answered(path: str) -> bool:
    """Probes, and what costs next to nothing. A page costs what the request of the API does."""
    return is_open(path) or path == "/metrics"


def kind_of(path: str) -> str:
    """Of which places a request takes one."""
    return "streams of events" if path.endswith("/events") else "requests"


class NoPlaceError(Exception):
    """Raised by a middleware further in, so that the place of the request is free while it waits to be told.

    Args:
        name, quota: of the limit.
    """

    def __init__(self, detail: str, *, name: str, quota: int) -> None:
        super().__init__(detail)
        self.limit = Limit(name=name, quota=quota, left=0, reset_s=RETRY_AFTER_S)


class BoundedRequests:
    """Turns away requests over the bound, before their body is read.

    Args:
        most: requests that are in flight at once.
        streams: of events, which stay open for as long as somebody looks on.
        pause_s: that a refusal takes. Clients that ask again at once would else take the time of those that
            are answered: 200 of them had 2,500 refusals a second, and a quarter of the answers was left.
    """

    def __init__(self, app: ASGIApp, *, most: int, streams: int, pause_s: float = 0.0) -> None:
        self._app = app
        self._pause_s = pause_s
        self._bounds = {"requests": most, "streams of events": streams}
        self._open = dict.fromkeys(self._bounds, 0)  # only the event loop's thread counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_always_answered(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            await self._answer(kind_of(scope["path"]), scope, receive, send)
        except NoPlaceError as err:
            await asyncio.sleep(self._pause_s)
            refusal = problem("too_busy", str(err), request_id_of(scope), limit=err.limit)
            await refusal(scope, receive, send)

    async def _answer(self, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises NoPlaceError."""
        most = self._bounds[kind]
        if self._open[kind] >= most:
            detail = f"{self._open[kind]} {kind} are open, and no more than {most} are taken"
            raise NoPlaceError(detail, name=kind, quota=most)
        self._open[kind] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open[kind] -= 1

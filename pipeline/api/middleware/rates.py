"""How many requests each caller sends in a minute, where a setting bounds them."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.middleware.callers import caller_of
from pipeline.api.problems import problem
from pipeline.api.rate_fields import Limit, rate_fields
from pipeline.api.request_id import request_id_of

WINDOW_S = 60
MOST_CALLERS = 10_000  # whose windows are remembered. Windows that are over are forgotten first


@dataclass(slots=True)
class _Window:
    ends_s: float
    left: int


class BoundedRates:
    """Counts per caller and process, in windows that begin with a caller's first request.

    Args:
        per_minute: requests of one caller to `/v1/` and `/rekognition`, and searches by a page. 0: any number
    """

    def __init__(
        self, app: ASGIApp, *, per_minute: int, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._per_minute = per_minute
        self._clock_s = clock_s
        self._windows: dict[str, _Window] = {}  # only the event loop's thread counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._per_minute or scope["type"] != "http" or not _is_counted(scope):
            await self._app(scope, receive, send)
            return
        now_s = self._clock_s()
        window = self._window_of(scope, now_s)
        is_taken = window.left > 0
        window.left -= int(is_taken)
        limit = Limit(
            name="requests",
            quota=self._per_minute,
            left=window.left,
            reset_s=math.ceil(window.ends_s - now_s),
            window_s=WINDOW_S,
        )
        if is_taken:
            await self._app(scope, receive, _told(send, limit))
            return
        detail = f"you have sent {self._per_minute} requests within {WINDOW_S} s, which is the most"
        await problem("rate_limited", detail, request_id_of(scope), limit=limit)(scope, receive, send)

    def _window_of(self, scope: Scope, now_s: float) -> _Window:
        caller = caller_of(scope)
        name = caller.key_id or caller.who
        window = self._windows.get(name)
        if window is None or window.ends_s <= now_s:
            self._make_room(now_s)
            window = self._windows[name] = _Window(now_s + WINDOW_S, self._per_minute)
        return window

    def _make_room(self, now_s: float) -> None:
        if len(self._windows) >= MOST_CALLERS:
            self._windows = {name: each for name, each in self._windows.items() if each.ends_s > now_s}
        while len(self._windows) >= MOST_CALLERS:
            del self._windows[next(iter(self._windows))]  # the oldest


def _is_counted(scope: Scope) -> bool:
    """A page that searches, finds faces or estimates is no way around the bound. One that shows itself is."""
    path: str = scope["path"]
    if path.startswith(("/v1/", "/rekognition/")) or path in ("/results", "/faces"):
        return True
    sends_form = scope["method"] == "POST" and path in ("/", "/jobs")
    return sends_form or (path == "/" and bool(scope["query_string"]))


def _told(send: Send, limit: Limit) -> Send:
    """Unless another limit has refused the request: `Retry-After` belongs to that one alone."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in rate_fields(limit).items():
                headers.setdefault(name, value)
        await send(message)

    return told

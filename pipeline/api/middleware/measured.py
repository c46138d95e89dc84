"""Measures each request, also one that is turned away or ends with an error that nobody foresaw."""

import time
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.metrics import NO_ROUTE, REQUESTS, STREAMS, ServiceMetrics

PROBES = ("/livez", "/readyz", "/metrics")  # they would be half of what is measured, and never wait


class MeasuredRequests:
    """The outermost: it sees the answers that all others give."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        metrics = cast("ServiceMetrics", scope["app"].state.backend.metrics)
        kind = STREAMS if scope["path"].endswith("/events") else REQUESTS
        started, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        metrics.open_request(kind)
        try:
            await self._app(scope, receive, noted)
        finally:
            metrics.close_request(kind)
            seconds = time.perf_counter() - started
            metrics.record_request(_route_of(scope), scope["method"], status, kind, seconds)


def _route_of(scope: Scope) -> str:
    """As it is declared, with names in the place of values."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else NO_ROUTE

"""Names each request, logs one line about it and answers with its name, even where all else failed."""

import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.problems import unforeseen
from pipeline.api.request_id import name_request, request_id_of, traceparent_of

logger = logging.getLogger(__name__)

# Scripts and styles are our own files alone. A picture may be made of a chosen file (blob:).
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class NamedRequests:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name_request(scope)
        started = time.perf_counter()
        status = 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete(MutableHeaders(scope=message), scope)
            await send(message)

        try:
            await self._app(scope, receive, named)
        except Exception as err:
            answer = unforeseen(scope, err)
            if status:  # half of an answer is out: the connection is all that can be ended
                raise
            await answer(scope, receive, named)
        finally:
            _log(scope, status, time.perf_counter() - started)


def _complete(headers: MutableHeaders, scope: Scope) -> None:
    headers["x-request-id"] = request_id_of(scope)
    if trace := traceparent_of(scope):
        headers["traceparent"] = trace
    headers.setdefault("content-security-policy", CONTENT_POLICY)
    headers["x-content-type-options"] = "nosniff"
    # A permalink names a key of an object, which is no other site's business. With `no-referrer`, a browser
    # would say `Origin: null` of a form on our own pages, as it does of one on another site.
    headers["referrer-policy"] = "same-origin"
    headers.setdefault("cache-control", "no-store")


def _log(scope: Scope, status: int, seconds: float) -> None:
    logger.info(
        "request",
        extra={
            "request_id": request_id_of(scope),
            "traceparent": traceparent_of(scope) or "none",
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "seconds": round(seconds, 4),
        },
    )

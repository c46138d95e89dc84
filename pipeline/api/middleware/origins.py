"""Keeps pages of other sites out.

A browser sends requests to this machine for whichever page asks it to. Such a page cannot read answers, but
it could change things. With a host name of its own that points to 127.0.0.1 it could read them, too.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.problems import problem
from pipeline.api.request_id import request_id_of

PROBES = ("/livez", "/readyz")  # whoever asks these goes by the address of a pod, and learns nothing else
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class OwnOrigins:
    """Args: `hosts` are the names that the service goes by, without port. "*" is any."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            code, detail = refusal
            await problem(code, detail, request_id_of(scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[str, str] | None:
        if scope["path"] in PROBES:
            return None
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) > 1:  # a proxy may have looked at the other one
            return "unknown_host", "there are several headers Host; one is expected"
        if "*" not in self._hosts and _name_of(f"//{host}") not in self._hosts:
            return "unknown_host", f"host {host[:80]!r} is none of {', '.join(sorted(self._hosts))}"
        if scope["method"] in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        if origin is not None and _place_of(origin) != host:
            return "cross_site", f"origin {origin[:80]!r} is not this service"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "cross_site", "a page of another site sent this request"
        return None


def _place_of(origin: str) -> str:
    """Host and port; empty for what is no origin."""
    try:
        return urlsplit(origin).netloc
    except ValueError:  # half of an IPv6 address
        return ""


def _name_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # half of an IPv6 address
        return ""

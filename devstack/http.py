"""One question over HTTP, for health checks."""

import base64
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit


def get(url: str, timeout_s: float = 3, *, token: str = "") -> str | None:
    """The body of a good answer, or None. User and password of the URL are sent as a header, or the token."""
    parts = urlsplit(url)
    request = urllib.request.Request(  # noqa: S310 - the URL is ours, always http
        parts._replace(netloc=f"{parts.hostname}:{parts.port}").geturl()
    )
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if parts.username:
        login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    # Without the proxy of the environment: it cannot reach this machine's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return str(answer.read().decode(errors="replace"))
    except (OSError, HTTPException):  # URLError and timeouts are OSErrors
        return None

"""A name for each request, taken over from the caller or made here, and the trace that it belongs to."""

import re
import uuid
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers

Scope = MutableMapping[str, Any]

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def name_request(scope: Scope) -> None:
    """Write the names into the scope: others read them there. A text that is no name is not taken over."""
    headers = Headers(scope=scope)
    given = headers.get("x-request-id", "")
    trace = headers.get("traceparent", "")
    scope["pictor.request_id"] = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    scope["pictor.traceparent"] = trace if TRACEPARENT.fullmatch(trace) else ""


def request_id_of(scope: Scope) -> str:
    return str(scope.get("pictor.request_id", ""))


def traceparent_of(scope: Scope) -> str:
    return str(scope.get("pictor.traceparent", ""))

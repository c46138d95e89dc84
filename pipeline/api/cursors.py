"""Where the next page of a list begins, as a text that callers hand back and cannot make."""

import base64
import hashlib
import hmac
import secrets
from typing import cast

from starlette.requests import Request

from pipeline.errors import ArgumentError

_SIGNATURE_BYTES = 16
_FIRST = "c"  # base64 may begin with a "-", which command lines, that of AWS for one, take for an option


class Cursors:
    """Args: `key` is that of all processes that take each other's cursors. Without one, a list is begun anew
    after a restart.
    """

    def __init__(self, key: str = "") -> None:
        self._key = hashlib.sha256(key.encode()).digest() if key else secrets.token_bytes(32)

    def sign(self, place: str, *, of: str) -> str:
        """Args: `of` names the list, so that a cursor of one list is none of another."""
        body = place.encode()
        return _FIRST + base64.urlsafe_b64encode(self._signature(body, of) + body).rstrip(b"=").decode()

    def read(self, cursor: str, *, of: str) -> str:
        """Raises ArgumentError: no cursor of this list and this process."""
        text = cursor[len(_FIRST) :] if cursor.startswith(_FIRST) else ""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(body, of)):
            raise ArgumentError(
                "next_token: not one that this service gave for this list; ask for the first page again"
            )
        return body.decode()

    def _signature(self, body: bytes, of: str) -> bytes:
        return hmac.new(self._key, of.encode() + b"\0" + body, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def cursors_of(request: Request) -> Cursors:
    return cast("Cursors", request.app.state.cursors)

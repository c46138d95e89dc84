"""Who asks? Settled before the body of a request is read, for each path that is not open to everybody."""

from dataclasses import replace
from typing import Protocol
from urllib.parse import quote

from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.header_text import header_text
from pipeline.api.problems import problem_of
from pipeline.api.request_id import request_id_of
from pipeline.errors import DeniedError, PictorError, UnknownCallerError
from pipeline.service.access import Caller, local_caller
from pipeline.service.arguments import read_person
from pipeline.service.keyring import Keyring, caller_with

# Nothing of these is anybody's: probes, the pages that explain the service, and the way in.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/openapi.json", "/docs", "/problems", "/sign-in", "/sign-out"})
OPEN_FOLDERS = ("/static/", "/problems/")
SESSION_COOKIE = "pictor_session"


def is_open(path: str) -> bool:
    """Whether the path is answered to whoever asks."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def caller_of(scope: Scope) -> Caller:
    """Raises UnknownCallerError on an open path, for which nobody was asked who they are."""
    caller = scope.get("pictor.caller")
    if not isinstance(caller, Caller):
        raise UnknownCallerError("this path needs no key, so the service does not know who asks")
    return caller


class Door(Protocol):
    @property
    def keyring(self) -> Keyring | None:
        """None where nobody is asked for a key."""
        ...

    async def caller_of(self, scope: Scope) -> Caller:
        """Raises UnknownCallerError, DeniedError, TransientError."""
        ...


class OpenDoor:
    """Whoever reaches the loopback address of this machine has the rights of its user."""

    keyring = None

    async def caller_of(self, scope: Scope) -> Caller:
        return local_caller(request_id=request_id_of(scope), on_behalf_of=person_of(Headers(scope=scope)))


class KeyDoor:
    """Whoever shows a key, in the header `Authorization` or by having signed in with it, is its holder."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring

    async def caller_of(self, scope: Scope) -> Caller:
        headers = Headers(scope=scope)
        if authorization := headers.get("authorization"):
            text = _bearer(authorization)
            if self.keyring.remembers(text):
                key = self.keyring.holder_of(text)
            else:
                key = await run_in_threadpool(self.keyring.holder_of, text)
        else:
            key = await run_in_threadpool(self.keyring.signed_in, _session_of(headers))
        person = person_of(headers)
        if person and not key.acts_for_others:
            raise DeniedError(f"key {key.key_id} may not say on whose behalf it asks")
        return caller_with(key, request_id=request_id_of(scope), on_behalf_of=person)


class KnownCallers:
    """Lets a request through once it is known who asks, and tells all others what is missing."""

    def __init__(self, app: ASGIApp, *, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_open(scope["path"]) and "pictor.caller" not in scope:
            try:
                caller = await self._door.caller_of(scope)
            except PictorError as err:
                await _refusal(scope, err)(scope, receive, send)
                return
            scope["pictor.caller"] = replace(caller, address=_address_of(scope))
        await self._app(scope, receive, send)


async def asks_still(scope: Scope) -> bool:
    """Whether a request that goes on and on is still that of somebody who may ask."""
    door: Door = scope["app"].state.door
    try:
        return (await door.caller_of(scope)).key_id == caller_of(scope).key_id
    except (UnknownCallerError, DeniedError):
        return False


def session_of(scope: Scope) -> str:
    """Raises UnknownCallerError: nobody has signed in."""
    return _session_of(Headers(scope=scope))


def _refusal(scope: Scope, err: PictorError) -> ASGIApp:
    is_page = scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "")
    if isinstance(err, UnknownCallerError) and is_page:  # of a person with a browser
        asked = scope["path"] + (
            f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        )
        return RedirectResponse(f"/sign-in?next={quote(asked, safe='')}", status_code=303)
    return problem_of(err, request_id_of(scope))


def _address_of(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _bearer(authorization: str) -> str:
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer" or not text:
        raise UnknownCallerError("Authorization: `Bearer` and a key are expected")
    return text.strip()


def _session_of(headers: Headers) -> str:
    session = cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE, "")
    if not session:
        raise UnknownCallerError("no key; send one as `Authorization: Bearer KEY`, or sign in at /sign-in")
    return session


def person_of(headers: Headers) -> str:
    """On whose behalf somebody says that they ask, or "". Raises ArgumentError."""
    return read_person(header_text(headers.get("x-pictor-on-behalf-of", "")))

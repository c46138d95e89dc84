"""Sign in with a key and sign out again. The browser keeps a session and never the key."""

from contextlib import suppress
from typing import Annotated, cast
from urllib.parse import parse_qs

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import RedirectResponse, Response

from pipeline.api.middleware.callers import SESSION_COOKIE, Door, session_of
from pipeline.api.pages.rendering import render
from pipeline.errors import UnknownCallerError
from pipeline.service.keyring import SESSION, Keyring

router = APIRouter()


@router.get("/sign-in")
def sign_in_page(request: Request, next: Annotated[str, Query(max_length=4096)] = "/") -> Response:  # noqa: A002
    """A field for the key."""
    if _keyring(request) is None:
        return RedirectResponse("/", status_code=303)
    return render(request, "sign_in.html", next=_own_path(next), error="")


@router.post("/sign-in")
def sign_in(
    request: Request,
    form: Annotated[bytes, Body(media_type="application/x-www-form-urlencoded", max_length=16_384)],
) -> Response:
    """Begin a session, and go on to the page that was asked for."""
    keyring = _keyring(request)
    if keyring is None:
        return RedirectResponse("/", status_code=303)
    fields = parse_qs(form.decode("utf-8", "replace"))
    following = _own_path(_field(fields, "next"))
    try:
        session = keyring.sign_in(_field(fields, "key").strip())
    except UnknownCallerError as err:
        return render(request, "sign_in.html", status=401, next=following, error=str(err))
    answer = RedirectResponse(following, status_code=303)
    answer.set_cookie(
        SESSION_COOKIE,
        session,
        max_age=int(SESSION.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=_is_encrypted(request),
    )
    return answer


@router.post("/sign-out")
def sign_out(request: Request) -> Response:
    """End the session, here and in every other process."""
    keyring = _keyring(request)
    if keyring is not None:
        with suppress(UnknownCallerError):  # nobody is signed in, as it was asked for
            keyring.sign_out(session_of(request.scope))
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=_is_encrypted(request))
    return answer


def _own_path(text: str) -> str:
    """A path of this service, and no address of another."""
    is_own = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if is_own else "/"


def _field(fields: dict[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]


def _is_encrypted(request: Request) -> bool:
    """By this process or by a proxy before it. Whoever forges the header binds their own browser to TLS."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))


def _keyring(request: Request) -> Keyring | None:
    """None for a service without keys."""
    return cast("Door", request.app.state.door).keyring

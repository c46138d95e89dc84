"""Errors as documents of RFC 9457, and the one table that the service explains them with.

The `type` of a document is a path of this service: a person who opens it reads what the error means and what
to do. It is stable, and so is `code`. Words in `detail` may change.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pipeline.api.rate_fields import Limit, rate_fields
from pipeline.api.request_id import Scope, request_id_of
from pipeline.errors import ErrorCode, PictorError, PolicyError
from pipeline.service.answers import http_status_of

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1  # for a service that is away or busy. Clients back off from there by themselves
MAX_FAULTS_SHOWN = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    status: int
    title: str
    advice: str


def _kind_of(code: ErrorCode, title: str, advice: str) -> Kind:
    return Kind(status=http_status_of(code), title=title, advice=advice)


# Errors of the service itself, which never reach a use case.
_OF_THE_DOOR: Mapping[str, Kind] = {
    "invalid_request": Kind(
        status=422,
        title="The request cannot be read",
        advice="A field is missing, unknown, of another type or out of its range. `detail` names each.",
    ),
    "no_such_page": Kind(
        status=404, title="There is nothing at this path", advice="`/docs` lists every path of the service."
    ),
    "method_not_allowed": Kind(
        status=405, title="This path does not take this method", advice="`/docs` lists the methods of a path."
    ),
    "body_too_large": Kind(
        status=413,
        title="The body is too large",
        advice="Send a smaller picture, or name one in the store. `detail` has the limit in bytes.",
    ),
    "body_too_slow": Kind(
        status=408, title="The body did not arrive in time", advice="Send it again over a faster connection."
    ),
    "too_busy": Kind(
        status=429,
        title="Too many requests are in flight",
        advice="Wait as long as `Retry-After` says, then try again. Nothing was begun.",
    ),
    "rate_limited": Kind(
        status=429,
        title="You have sent too many requests",
        advice="Wait as long as `Retry-After` says. `RateLimit-Policy` has the limit. Nothing was begun.",
    ),
    "key_reused": Kind(
        status=422,
        title="The Idempotency-Key belongs to another request",
        advice="Send the same body with the same key, or a new key with a new body.",
    ),
    "in_flight": Kind(
        status=409,
        title="The same request is being worked on",
        advice="Wait as long as `Retry-After` says, then send it again with the same Idempotency-Key.",
    ),
    "cross_site": Kind(
        status=403,
        title="Another site's page sent this request",
        advice="The service takes changes only from its own pages and from programs.",
    ),
    "unknown_host": Kind(
        status=421,
        title="The service does not go by this host name",
        advice="Use the address that `pictor serve` printed.",
    ),
}

_OF_A_USE_CASE: Mapping[str, Kind] = {
    code.value: _kind_of(code, title, advice)
    for code, title, advice in (
        (ErrorCode.INTERNAL_ERROR, "Something unforeseen went wrong", "The log of the service has it."),
        (ErrorCode.MISCONFIGURED, "A setting of the service cannot work", "Tell whoever runs the service."),
        (ErrorCode.INVALID_ARGUMENT, "An argument cannot work", "`detail` says what was found and allowed."),
        (ErrorCode.MODEL_UNUSABLE, "The model cannot be used", "See `pictor models list`."),
        (ErrorCode.TARGET_UNUSABLE, "A bucket or collection cannot be used", "`detail` says which, and why."),
        (
            ErrorCode.MODEL_MISMATCH,
            "The collection holds vectors of another model",
            "Use the model of the collection, or another collection.",
        ),
        (ErrorCode.NOT_FOUND, "It does not exist", "`detail` names what was looked for."),
        (
            ErrorCode.CONFLICT,
            "It exists, in a state in which this cannot be done",
            "`detail` names the state, and those in which it can be done.",
        ),
        (
            ErrorCode.LIMIT_REACHED,
            "It would have more of something than it may",
            "`detail` names the limit. Nothing was changed.",
        ),
        (
            ErrorCode.UNAUTHENTICATED,
            "The service does not know who asks",
            "Send a key as `Authorization: Bearer KEY`. `pictor keys create NAME --role searcher` makes one.",
        ),
        (ErrorCode.DENIED, "You may not do this", "`detail` says what would allow it."),
        (
            ErrorCode.REFUSED_BY_POLICY,
            "The policy of the collection does not allow this search",
            "`reason` is one of those of docs/reference/policies.md. `receipt` is the record of the refusal.",
        ),
        (
            ErrorCode.IMAGE_REJECTED,
            "The picture cannot be read",
            "`reason` is one of the reasons of docs/reference/reasons.md.",
        ),
        (
            ErrorCode.UNAVAILABLE,
            "A service behind this one is away or slow",
            "Wait as long as `Retry-After` says, then try again.",
        ),
        (
            ErrorCode.AUDIT_UNAVAILABLE,
            "It could not be recorded, and so no answer is given",
            "Wait as long as `Retry-After` says, then try again. Nothing was told to anybody.",
        ),
        (ErrorCode.BAD_MESSAGE, "The message cannot be understood", "`detail` names the field."),
        (ErrorCode.PROCESS_UNFIT, "This process cannot do it", "Tell whoever runs the service."),
        (
            ErrorCode.CREDENTIALS_REFUSED,
            "A service behind this one refused the credentials",
            "Tell whoever runs the service.",
        ),
    )
}

KINDS: Mapping[str, Kind] = {**_OF_THE_DOOR, **_OF_A_USE_CASE}


class ProblemError(Exception):
    """An error of the service itself. Args: `code` is one of KINDS."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def problem(
    code: str, detail: str, request_id: str, *, limit: Limit | None = None, **more: object
) -> JSONResponse:
    """The answer to a request that failed.

    Args:
        limit: the one that refused it.
        more: further members of the document.
    """
    kind = KINDS[code]
    document = {
        "type": f"/problems/{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    headers = {"Retry-After": str(RETRY_AFTER_S)} if _passes(code) else {}
    if limit is not None:
        headers |= {"Retry-After": str(limit.reset_s), **rate_fields(limit)}
    if kind.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="pictor"'
    return JSONResponse(document | more, kind.status, headers=headers, media_type=MEDIA_TYPE)


def _passes(code: str) -> bool:
    """Whether the same request will do a moment later."""
    return KINDS[code].status in (429, 503) or code == "in_flight"


def answer_errors_as_problems(app: FastAPI) -> None:
    app.add_exception_handler(PictorError, _of_use_case)
    app.add_exception_handler(ProblemError, _of_the_door)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_routing)


async def _of_use_case(request: Request, err: Exception) -> JSONResponse:
    assert isinstance(err, PictorError)
    return problem_of(err, request_id_of(request.scope))


def problem_of(err: PictorError, request_id: str) -> JSONResponse:
    """The answer to a request that this error ended."""
    if err.code is ErrorCode.INTERNAL_ERROR:
        logger.error("internal error", extra={"error": str(err)})
    reason = getattr(err, "reason", None)
    more: dict[str, Any] = {"reason": str(reason)} if reason is not None else {}
    if isinstance(err, PolicyError):
        more["receipt"] = err.record_id
    return problem(err.code.value, str(err), request_id, **more)


async def _of_the_door(request: Request, err: Exception) -> JSONResponse:
    assert isinstance(err, ProblemError)
    return problem(err.code, str(err), request_id_of(request.scope))


async def _of_validation(request: Request, err: Exception) -> JSONResponse:
    assert isinstance(err, RequestValidationError)
    faults = [
        {"at": ".".join(str(part) for part in fault["loc"]), "message": str(fault["msg"])}
        for fault in err.errors()[:MAX_FAULTS_SHOWN]
    ]
    detail = "; ".join(f"{fault['at']}: {fault['message']}" for fault in faults)
    return problem("invalid_request", detail, request_id_of(request.scope), faults=faults)


async def _of_routing(request: Request, err: Exception) -> JSONResponse:
    assert isinstance(err, HTTPException)
    code = {
        HTTPStatus.NOT_FOUND: "no_such_page",
        HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    }.get(HTTPStatus(err.status_code), "invalid_request")
    shown = f"{request.method} {request.url.path}"
    detail = f"{shown}: {KINDS[code].title.lower()}" if code != "invalid_request" else str(err.detail)
    answer = problem(code, detail, request_id_of(request.scope))
    answer.headers.update(err.headers or {})
    return answer


def unforeseen(scope: Scope, err: Exception) -> JSONResponse:
    """The answer to a request that ended with an error that nobody foresaw, which is logged."""
    # Its text may be a library's and is not for the caller.
    logger.error("internal error", extra={"path": scope["path"]}, exc_info=err)
    detail = f"an internal error of kind {type(err).__name__}; the log of the service has it"
    return problem(ErrorCode.INTERNAL_ERROR.value, detail, request_id_of(scope))

"""Error answers as errors of Pictor's tree, told apart by the `code` of the problem document (RFC 9457)."""

import json
from collections.abc import Iterator, Mapping

from pipeline.errors import (
    ArgumentError,
    ConflictError,
    CredentialsError,
    DeniedError,
    ErrorCode,
    ImageError,
    NotFoundError,
    PictorError,
    PolicyError,
    TransientError,
)
from pipeline.reasons import Reason

MAX_SHOWN_CHARS = 200
KEY_HINT = "Set PICTOR_API_KEY to a key of this service; `pictor keys create NAME --role searcher` makes one"

# Codes of the service's door, which no use case has.
_OF_THE_DOOR: Mapping[str, type[PictorError]] = {
    "invalid_request": ArgumentError,
    "body_too_large": ArgumentError,
    "body_too_slow": TransientError,
    "too_busy": TransientError,
    "rate_limited": TransientError,
    "in_flight": TransientError,
    "no_such_page": NotFoundError,
    "key_reused": ConflictError,
    "cross_site": DeniedError,
    "unknown_host": DeniedError,
}

_BY_STATUS: Mapping[int, type[PictorError]] = {
    400: ArgumentError,
    401: CredentialsError,
    403: DeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: ArgumentError,
    422: ArgumentError,
    429: TransientError,
    502: TransientError,
    503: TransientError,
    504: TransientError,
}


def error_of(status: int, body: bytes, *, request_id: str) -> PictorError:
    """The error that an answer of 300 or more means. Its note names the request in the log of the service."""
    document = _document_of(body)
    code, detail = str(document.get("code", "")), str(document.get("detail", ""))
    if code == ErrorCode.UNAUTHENTICATED:
        detail = f"{detail}. {KEY_HINT}"
    error = _of_code(code, detail, document) or _BY_STATUS.get(status, PictorError)(
        detail or _without_document(status, body)
    )
    if request_id:
        error.add_note(f"request {request_id}")
    return error


def _of_code(code: str, detail: str, document: Mapping[str, object]) -> PictorError | None:
    if code == ErrorCode.IMAGE_REJECTED:
        return _image_error(str(document.get("reason", "")), detail)
    if code == ErrorCode.REFUSED_BY_POLICY:
        reason = str(document.get("reason", ""))
        return PolicyError(reason, detail.removeprefix(f"{reason}: "), str(document.get("receipt", "")))
    kind = _CLASSES.get(code) or _OF_THE_DOOR.get(code)
    return kind(detail) if kind is not None and detail else None


def _image_error(reason: str, detail: str) -> PictorError:
    try:
        known = Reason(reason)
    except ValueError:  # of a newer service
        return ArgumentError(detail)
    return ImageError(known, detail.removeprefix(f"{known}: "))


def _without_document(status: int, body: bytes) -> str:
    shown = body[:MAX_SHOWN_CHARS].decode("utf-8", "replace").strip()
    return f"the service answered {status}, and no document that says why: {shown!r}"


def _document_of(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _classes_below(kind: type[PictorError]) -> Iterator[type[PictorError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _classes_below(below)


# ImageError is made of a reason and a detail, and has its own way above.
_CLASSES: Mapping[str, type[PictorError]] = {
    kind.code.value: kind
    for kind in _classes_below(PictorError)
    if kind.__module__ == PictorError.__module__ and kind is not ImageError
}

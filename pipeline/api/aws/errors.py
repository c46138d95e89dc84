"""Errors as AWS clients read them: `{"__type": …, "Message": …}` with the names of the API's model."""

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/x-amz-json-1.1"
INTERNAL = "InternalServerError"

_OTHER_STATUS = {INTERNAL: 500, "ThrottlingException": 500}  # all others are 400

# From the codes of problem documents. What is missing here is an internal error.
_BY_CODE: Mapping[str, str] = {
    "invalid_argument": "InvalidParameterException",
    "invalid_request": "InvalidParameterException",
    "model_unusable": "InvalidParameterException",
    "target_unusable": "InvalidParameterException",
    "model_mismatch": "InvalidParameterException",
    "not_found": "ResourceNotFoundException",
    "conflict": "ConflictException",
    "limit_reached": "ServiceQuotaExceededException",
    "denied": "AccessDeniedException",
    "refused_by_policy": "AccessDeniedException",
    "cross_site": "AccessDeniedException",
    "unknown_host": "AccessDeniedException",
    "unauthenticated": "UnrecognizedClientException",
    "image_rejected": "InvalidImageFormatException",
    "body_too_large": "ImageTooLargeException",
    "too_busy": "ThrottlingException",
    "rate_limited": "ProvisionedThroughputExceededException",
}
_OF_PICTURES = frozenset(
    {"CompareFaces", "DetectFaces", "IndexFaces", "SearchFacesByImage", "SearchUsersByImage"}
)
_OF_USERS = frozenset({"AssociateFaces", "CreateUser", "DeleteUser", "DisassociateFaces"})
_WITH_QUOTAS = frozenset({"AssociateFaces", "CreateCollection", "CreateUser", "IndexFaces", "TagResource"})
_WITHOUT_RESOURCE = frozenset({"CompareFaces", "CreateCollection", "DetectFaces"})
_TOO_LARGE = ("too_large", "too_many_pixels")  # reasons of a picture that was rejected


class AwsError(Exception):
    """Args: `name` is one of the API's model, or one that every AWS service has."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def aws_name(code: str, reason: str = "") -> str:
    """The name of an error. Args: those of its problem document."""
    if code == "image_rejected" and reason in _TOO_LARGE:
        return "ImageTooLargeException"
    return _BY_CODE.get(code, INTERNAL)


def modelled(name: str, operation: str) -> str:
    """The same name where the API's model has it for this operation. Else that of a bad parameter, which all
    operations have: a client knows the errors of its operation and no others.
    """
    match name:
        case "ImageTooLargeException" | "InvalidImageFormatException":
            is_known = operation in _OF_PICTURES
        case "ConflictException":
            is_known = operation in _OF_USERS
        case "ServiceQuotaExceededException":
            is_known = operation in _WITH_QUOTAS
        case "ResourceNotFoundException":
            is_known = operation not in _WITHOUT_RESOURCE
        case _:
            is_known = True
    return name if is_known else "InvalidParameterException"


def aws_answer(name: str, message: str) -> JSONResponse:
    """Both spellings of the message: SDKs read one or the other."""
    body = {"__type": name, "Code": name, "message": message, "Message": message}
    return JSONResponse(body, _OTHER_STATUS.get(name, 400), media_type=MEDIA_TYPE)


def answer_aws_errors(app: FastAPI) -> None:
    app.add_exception_handler(AwsError, _answer)


async def _answer(_request: Request, err: Exception) -> JSONResponse:
    assert isinstance(err, AwsError)
    return aws_answer(err.name, str(err))

"""What programs tell errors apart by: each class has a code of its own, and numbers follow from it."""

from collections.abc import Iterator

import pytest

from pipeline.cli.exit_codes import exit_code_of
from pipeline.errors import ErrorCode, PictorError
from pipeline.service.answers import http_status_of

# Code: exit code of a command, status of an HTTP answer.
NUMBERS = {
    ErrorCode.INTERNAL_ERROR: (1, 500),
    ErrorCode.MISCONFIGURED: (2, 500),
    ErrorCode.INVALID_ARGUMENT: (2, 400),
    ErrorCode.MODEL_UNUSABLE: (2, 422),
    ErrorCode.TARGET_UNUSABLE: (2, 422),
    ErrorCode.MODEL_MISMATCH: (2, 409),
    ErrorCode.NOT_FOUND: (2, 404),
    ErrorCode.CONFLICT: (2, 409),
    ErrorCode.LIMIT_REACHED: (2, 409),
    ErrorCode.DENIED: (2, 403),
    ErrorCode.REFUSED_BY_POLICY: (2, 403),
    ErrorCode.UNAUTHENTICATED: (2, 401),
    ErrorCode.IMAGE_REJECTED: (1, 422),
    ErrorCode.UNAVAILABLE: (1, 503),
    ErrorCode.AUDIT_UNAVAILABLE: (1, 503),
    ErrorCode.BAD_MESSAGE: (1, 400),
    ErrorCode.PROCESS_UNFIT: (1, 503),
    ErrorCode.CREDENTIALS_REFUSED: (2, 503),
}


def public_errors(of: type[PictorError] = PictorError) -> Iterator[type[PictorError]]:
    if of.__module__ == "pipeline.errors":
        yield of
        for kind in of.__subclasses__():
            yield from public_errors(kind)


def test_every_class_has_a_code_and_no_two_have_the_same() -> None:
    codes = [kind.code for kind in public_errors()]
    assert sorted(codes) == sorted(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_the_numbers_of_each_code_are_these(code: ErrorCode) -> None:
    assert (exit_code_of(code), http_status_of(code)) == NUMBERS[code]

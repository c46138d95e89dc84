"""The exit codes. Scripts rely on them."""

from typing import assert_never

from pipeline.errors import ErrorCode

EXIT_UNFINISHED = 1  # the work could not be finished, or too much of it failed
EXIT_USAGE = 2  # bad usage or configuration: nothing was started
EXIT_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
EXIT_TERMINATED = 143  # the same of SIGTERM


def exit_code_of(code: ErrorCode) -> int:
    """The exit code for an error."""
    match code:
        case (
            ErrorCode.MISCONFIGURED
            | ErrorCode.INVALID_ARGUMENT
            | ErrorCode.MODEL_UNUSABLE
            | ErrorCode.TARGET_UNUSABLE
            | ErrorCode.MODEL_MISMATCH
            | ErrorCode.NOT_FOUND
            | ErrorCode.CONFLICT
            | ErrorCode.LIMIT_REACHED
            | ErrorCode.DENIED
            | ErrorCode.REFUSED_BY_POLICY
            | ErrorCode.UNAUTHENTICATED
            | ErrorCode.CREDENTIALS_REFUSED
        ):
            return EXIT_USAGE
        case (
            ErrorCode.INTERNAL_ERROR
            | ErrorCode.IMAGE_REJECTED
            | ErrorCode.UNAVAILABLE
            | ErrorCode.AUDIT_UNAVAILABLE
            | ErrorCode.BAD_MESSAGE
            | ErrorCode.PROCESS_UNFIT
        ):
            return EXIT_UNFINISHED
        case _:
            assert_never(code)

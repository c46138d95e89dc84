"""The error tree. The class decides how the present work is settled.

PictorError                 internal_error
├── ConfigError             misconfigured: a setting, or what it names, cannot work; nothing was started
│   ├── ArgumentError       invalid_argument: an argument of this one call cannot work
│   ├── ModelError          model_unusable: a model that cannot be found, read or trusted
│   └── TargetError         target_unusable: a bucket or collection that was named: the job fails
│       └── ModelMismatchError  model_mismatch: a collection belongs to another model
├── NotFoundError           not_found: what was asked for by its name or id is not there
├── ConflictError           conflict: it is there, and in a state in which this cannot be done
│   └── LimitError              limit_reached: it would have more of something than it may
├── DeniedError             denied: the caller may not do this
│   └── PolicyError         refused_by_policy: the policy of the collection does not allow this search
├── UnknownCallerError      unauthenticated: nobody knows who asks
├── ImageError              image_rejected: reject this one image, go on with its neighbours
├── TransientError          unavailable: the world is away for a moment: retry the batch
│   └── AuditError          audit_unavailable: it could not be recorded, and so it was not done or not told
├── MessageError            bad_message: the message cannot be understood: dead-letter it
└── FatalError              process_unfit: this process cannot go on: give the batch back and stop
    └── CredentialsError    credentials_refused: this process was refused by a service

The word after each class is its `code`. The exit code of a command, the status of an HTTP answer and the
`code` of a JSON answer follow from it.

An expected failure of one image travels as a value (`types.Rejected`); `ImageError` is how decoders and
stores say it to `prepare_one`, which turns it into that value, as `view_search` does for what comes later.
"""

from enum import StrEnum
from typing import ClassVar

from pipeline.reasons import Reason


class ErrorCode(StrEnum):
    """The codes by which programs tell errors apart. A new code is a change of the public contract."""

    INTERNAL_ERROR = "internal_error"
    MISCONFIGURED = "misconfigured"
    INVALID_ARGUMENT = "invalid_argument"
    MODEL_UNUSABLE = "model_unusable"
    TARGET_UNUSABLE = "target_unusable"
    MODEL_MISMATCH = "model_mismatch"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    LIMIT_REACHED = "limit_reached"
    DENIED = "denied"
    REFUSED_BY_POLICY = "refused_by_policy"
    UNAUTHENTICATED = "unauthenticated"
    IMAGE_REJECTED = "image_rejected"
    UNAVAILABLE = "unavailable"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    BAD_MESSAGE = "bad_message"
    PROCESS_UNFIT = "process_unfit"
    CREDENTIALS_REFUSED = "credentials_refused"


class PictorError(Exception):
    """Base of every error that Pictor raises on purpose. `str(error)` is safe to show and to log."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR


class ConfigError(PictorError):
    """A setting cannot work, for example its address, schema, device or file."""

    code = ErrorCode.MISCONFIGURED


class ArgumentError(ConfigError):
    """An argument of this one call cannot work. The process is sound, and the next call may be right."""

    code = ErrorCode.INVALID_ARGUMENT


class ModelError(ConfigError):
    """A model that cannot be found, read or trusted."""

    code = ErrorCode.MODEL_UNUSABLE


class TargetError(ConfigError):
    """A bucket or collection that was named is not there, or may not be used.

    Every worker would meet it, and only with this job: the job fails with this text, and workers go on.
    """

    code = ErrorCode.TARGET_UNUSABLE


class ModelMismatchError(TargetError):
    """A collection is bound to one model and another was offered."""

    code = ErrorCode.MODEL_MISMATCH


class NotFoundError(PictorError):
    """A job, collection or dead letter that was asked for by its name or id is not there."""

    code = ErrorCode.NOT_FOUND


class ConflictError(PictorError):
    """It is there, in a state in which this cannot be done: a job has ended, or another process runs it."""

    code = ErrorCode.CONFLICT


class LimitError(ConflictError):
    """It would have more of something than it may: faces of a person, or tags."""

    code = ErrorCode.LIMIT_REACHED


class DeniedError(PictorError):
    """The caller may not do this."""

    code = ErrorCode.DENIED


class PolicyError(DeniedError):
    """The policy of a collection does not allow this search. The refusal is recorded.

    Args:
        reason: the code that is recorded, a RefusalReason. A newer service may have others.
        detail: our own words, with what was stated and what is allowed.
        record_id: of the refusal in the log.
    """

    code = ErrorCode.REFUSED_BY_POLICY

    def __init__(self, reason: str, detail: str, record_id: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.record_id = record_id


class UnknownCallerError(PictorError):
    """No key was shown, or none that is valid."""

    code = ErrorCode.UNAUTHENTICATED


class ImageError(PictorError):
    """One object cannot become an indexed image.

    Args:
        reason: the closed code that is stored and counted.
        detail: our own words, with both values: "21000x19000 is over 50000000 px".
    """

    code = ErrorCode.IMAGE_REJECTED

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TransientError(PictorError):
    """A service is away, slow or overloaded. The same call may work later."""

    code = ErrorCode.UNAVAILABLE


class AuditError(TransientError):
    """What was to be recorded could not be written, so that it was not done, or its answer is not given."""

    code = ErrorCode.AUDIT_UNAVAILABLE


class MessageError(PictorError):
    """A message that cannot be parsed or whose version is unknown."""

    code = ErrorCode.BAD_MESSAGE


class FatalError(PictorError):
    """This process cannot do its work. Another one may."""

    code = ErrorCode.PROCESS_UNFIT


class CredentialsError(FatalError):
    """A service refused this process's credentials."""

    code = ErrorCode.CREDENTIALS_REFUSED


REFUSALS = (
    MessageError,
    ArgumentError,
    TargetError,
    NotFoundError,
    ConflictError,
    DeniedError,
    UnknownCallerError,
)
"""Whoever asked must ask otherwise: no other process could do it, and no later try."""

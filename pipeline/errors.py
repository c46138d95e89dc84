"""The error tree. The class decides what happens to the work in hand.

PictorError
├── ConfigError             the caller's to mend: exit code 2, nothing was started
│   ├── ModelError          a model that cannot be found, read or trusted
│   └── TargetError         a bucket or collection that was named cannot be used: the job fails
│       └── ModelMismatchError  a collection belongs to another model
├── ImageError              reject this one image, go on with its neighbours
├── TransientError          the world is away for a moment: retry the batch
├── MessageError            the message cannot be understood: dead-letter it
└── FatalError              this process cannot go on: give the batch back and stop
    └── CredentialsError    this process was refused by a service

An expected failure of one image travels as a value (`types.Rejected`); `ImageError` is how decoders and
stores say it to `prepare_one`, the one place that turns it into that value.
"""

from pipeline.types import Reason


class PictorError(Exception):
    """Base of every error that Pictor raises on purpose. `str(error)` is safe to show and to log."""


class ConfigError(PictorError):
    """Something the caller gave cannot work: a setting, an argument, a model file."""


class ModelError(ConfigError):
    """A model that cannot be found, read or trusted."""


class TargetError(ConfigError):
    """A bucket or collection that was named is not there, or may not be used.

    Every worker would meet it, and only with this job: the job fails with this text, and workers go on.
    """


class ModelMismatchError(TargetError):
    """A collection is bound to one model and another was offered."""


class ImageError(PictorError):
    """One object cannot become an indexed image.

    Args:
        reason: the closed code that is stored and counted.
        detail: our own words, with both values: "21000x19000 is over 50000000 px".
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TransientError(PictorError):
    """A service is away, slow or overloaded; the same call may work later."""


class MessageError(PictorError):
    """A message that cannot be parsed or whose version is unknown."""


class FatalError(PictorError):
    """This process cannot do its work; another one may."""


class CredentialsError(FatalError):
    """A service refused this process's credentials."""

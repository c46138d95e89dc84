"""The broker's refusals and absences in our words. Messages hold no credentials."""

from collections.abc import Iterator
from contextlib import contextmanager

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed, PreconditionFailed
from kombu import Connection
from kombu.exceptions import OperationalError

from pipeline.errors import ConfigError, CredentialsError, TransientError
from pipeline.settings import Settings
from workers.app import make_app
from workers.transport import UnconfirmedError

# Half a minute in all, for a command that a person waits for; a worker comes back by itself.
_TRIES, _FIRST_PAUSE_S, _LONGER_BY_S = 3, 0.5, 1.0


@contextmanager
def broker_errors(otherwise: str, *, unconfirmed: str = "") -> Iterator[None]:
    """Translate what Celery, Kombu and amqp raise.

    Args:
        otherwise: the message when the broker is away, which is no fault of the settings.
        unconfirmed: the message when it may have what it was sent, but did not say so; else as `otherwise`.
    """
    try:
        yield
    except AccessRefused as err:
        raise CredentialsError("the broker refused the user or password of PICTOR_BROKER_URL") from err
    except NotAllowed as err:
        raise ConfigError(
            "the broker has no virtual host of the name in PICTOR_BROKER_URL, or this user may not use it"
        ) from err
    except PreconditionFailed as err:
        raise ConfigError(
            "the broker has a queue or exchange of one of our names with other properties; "
            "give Pictor a virtual host of its own, or delete it"
        ) from err
    except (AMQPError, OperationalError, OSError) as err:
        is_unknown = isinstance(err, UnconfirmedError | TimeoutError) or isinstance(
            err.__cause__, TimeoutError
        )
        raise TransientError(unconfirmed if is_unknown and unconfirmed else otherwise) from err


@contextmanager
def broker_connection(settings: Settings) -> Iterator[Connection]:
    """Raises TransientError when the broker cannot be reached."""
    with (
        broker_errors("the broker of PICTOR_BROKER_URL cannot be reached"),
        make_app(settings).connection_for_write() as connection,
    ):
        connection.ensure_connection(
            max_retries=_TRIES, interval_start=_FIRST_PAUSE_S, interval_step=_LONGER_BY_S
        )
        yield connection

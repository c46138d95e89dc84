"""The broker's refusals and absences in our words. Messages hold no credentials."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed, NotFound, PreconditionFailed
from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError

from pipeline.errors import ConfigError, CredentialsError, PictorError, TransientError
from pipeline.settings import Settings
from workers.broker.celery_app import make_app
from workers.broker.transport import UnconfirmedError, UnroutedError, UntrustedBrokerError

# Half a minute in all, for a command that a person waits for; a worker comes back by itself.
_TRIES, _FIRST_PAUSE_S, _LONGER_BY_S = 3, 0.5, 1.0

# RabbitMQ says in words alone which of its refusals one is. These hold for 3.8 to 4.3.
_TOO_LARGE = re.compile(r"message size (\d+) is larger than (?:configured )?max size (\d+)")
_OTHER_PROPERTIES = re.compile(r"inequivalent arg '[^']*' for ((?:queue|exchange) '[^']*')")
_NOT_THERE = re.compile(r"no ((?:queue|exchange) '[^']*')")
_FORBIDDEN = re.compile(r"access to ((?:queue|exchange|topic) '[^']*')")


@contextmanager
def broker_errors(otherwise: str, *, unconfirmed: str = "") -> Iterator[None]:
    """Translate the exceptions of Celery, Kombu and amqp.

    Args:
        otherwise: the message when the broker is away, which is no fault of the settings.
        unconfirmed: the message for a broker that did not confirm a publish; else as `otherwise`.
    """
    try:
        yield
    except (AccessRefused, NotAllowed, NotFound, PreconditionFailed) as err:
        raise _refusal(err, otherwise) from err
    except UnroutedError as err:
        raise TransientError(f"{otherwise}; it has no queue for it, `pictor init` declares them") from err
    except (AMQPError, OperationalError, OSError) as err:
        for untrusted in (err, err.__cause__):
            if isinstance(untrusted, UntrustedBrokerError):
                raise ConfigError(str(untrusted)) from err
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
            errback=_raise_if_untrusted,
            max_retries=_TRIES,
            interval_start=_FIRST_PAUSE_S,
            interval_step=_LONGER_BY_S,
        )
        yield connection


def check_broker(app: Celery) -> None:
    """One try, for a caller who comes back. Raises TransientError when the broker cannot be reached."""
    with broker_errors("the broker cannot be reached"), app.connection_for_write() as connection:
        connection.connect()


def _raise_if_untrusted(err: Exception, _pause_s: float) -> None:
    if isinstance(err, UntrustedBrokerError):  # the next try would see the same certificate
        raise err


def _refusal(err: AMQPError, otherwise: str) -> PictorError:
    reply = str(err.reply_text)
    match err:
        case AccessRefused():
            what = _FORBIDDEN.search(reply)
            if what:
                return CredentialsError(f"the user of PICTOR_BROKER_URL may not use {what[1]} of the broker")
            return CredentialsError("the broker refused the user or password of PICTOR_BROKER_URL")
        case NotAllowed():
            return ConfigError(
                "the broker has no virtual host of the name in PICTOR_BROKER_URL, or this user may not use it"
            )
        case NotFound() if what := _NOT_THERE.search(reply):
            return ConfigError(f"the broker has no {what[1]}; run `pictor init` to declare it")
        case PreconditionFailed():
            return _failed_precondition(reply)
        case _:  # a queue whose node is down, for one
            return TransientError(otherwise)


def _failed_precondition(reply: str) -> ConfigError:
    if sizes := _TOO_LARGE.search(reply):
        return ConfigError(
            f"the broker takes messages of at most {sizes[2]} bytes and was sent one of {sizes[1]}; "
            "send less at once, or raise max_message_size in its configuration"
        )
    if what := _OTHER_PROPERTIES.search(reply):
        return ConfigError(
            f"{what[1]} of the broker has other properties than Pictor's; "
            f"give Pictor a virtual host of its own, or delete that {what[1].split()[0]}"
        )
    words = "".join(char if char.isprintable() else "?" for char in reply[:200])
    return ConfigError(f"the broker refused what it was asked for: {words}")

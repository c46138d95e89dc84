"""What a broker's refusal means. The replies are RabbitMQ's own words, of 3.10 and 4.3."""

import pytest
from amqp.exceptions import (
    AccessRefused,
    AMQPError,
    ConnectionForced,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    ResourceError,
)
from kombu.exceptions import OperationalError

from pipeline.errors import ConfigError, CredentialsError, PictorError, TransientError
from workers.broker.connection import broker_errors

REFUSALS: list[tuple[Exception, type[PictorError], str]] = [
    (
        PreconditionFailed(
            "PRECONDITION_FAILED - message size 17825792 is larger than configured max size 16777216"
        ),
        ConfigError,
        "the broker takes messages of at most 16777216 bytes and was sent one of 17825792; send less",
    ),
    (
        PreconditionFailed("PRECONDITION_FAILED - message size 134217729 is larger than max size 134217728"),
        ConfigError,
        "at most 134217728 bytes and was sent one of 134217729",
    ),
    (
        PreconditionFailed(
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'plan' in vhost 'pictor': "
            "received the value 'quorum' of type 'longstr' but current is none"
        ),
        ConfigError,
        "queue 'plan' of the broker has other properties than Pictor's; "
        "give Pictor a virtual host of its own, or delete that queue",
    ),
    (
        PreconditionFailed(
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'embed' in vhost '/': "
            "received 'topic' but current is 'direct'"
        ),
        ConfigError,
        "exchange 'embed' of the broker has other properties.*delete that exchange$",
    ),
    (
        PreconditionFailed("PRECONDITION_FAILED - unknown delivery tag 5\x1b"),
        ConfigError,
        r"refused what it was asked for: PRECONDITION_FAILED - unknown delivery tag 5\?$",
    ),
    (
        AccessRefused(
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the log"
        ),
        CredentialsError,
        "refused the user or password of PICTOR_BROKER_URL",
    ),
    (
        AccessRefused("ACCESS_REFUSED - access to exchange 'plan' in vhost 'pictor' refused for user 'shop'"),
        CredentialsError,
        "the user of PICTOR_BROKER_URL may not use exchange 'plan' of the broker",
    ),
    (
        NotFound("NOT_FOUND - no queue 'dead' in vhost 'pictor'"),
        ConfigError,
        "the broker has no queue 'dead'; run `pictor init` to declare it",
    ),
    (
        NotFound(
            "NOT_FOUND - home node 'rabbit@b' of durable queue 'plan' in vhost '/' is down or inaccessible"
        ),
        TransientError,
        "^away$",
    ),
    (NotAllowed("NOT_ALLOWED - vhost nowhere not found"), ConfigError, "no virtual host of the name"),
    (ResourceError("RESOURCE_ERROR - disk alarm"), TransientError, "^away$"),
    (ConnectionForced("CONNECTION_FORCED - broker shut down"), TransientError, "^away$"),
    (OperationalError("refused"), TransientError, "^away$"),
    (ConnectionResetError(), TransientError, "^away$"),
]


@pytest.mark.parametrize(("error", "kind", "message"), REFUSALS)
def test_a_refusal_says_what_was_refused_and_whose_it_is_to_mend(
    error: AMQPError, kind: type[PictorError], message: str
) -> None:
    with pytest.raises(kind, match=message) as raised, broker_errors("away"):
        raise error
    assert raised.value.__cause__ is error


def test_what_is_no_error_of_a_broker_goes_through() -> None:
    with pytest.raises(KeyError), broker_errors("away"):
        raise KeyError("ours")

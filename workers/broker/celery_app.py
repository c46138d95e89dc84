"""Builds the Celery application of these settings."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from celery import Celery

from pipeline.addresses import is_host, show_url
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.tls import client_context
from workers.broker.celery_config import celery_config
from workers.broker.transport import CA_SETTING, use_for_amqp


def make_app(settings: Settings, *, blocked_patience_s: float = 0.0, consumed: Sequence[str] = ()) -> Celery:
    """Build an application for these settings.

    Args:
        blocked_patience_s: how long a publisher waits for a broker that takes nothing now. A person or a
            service wants to be told; a worker has time.
        consumed: the queues that a worker takes messages from.

    Raises:
        ConfigError: no broker is configured.
    """
    url = settings.broker_url.get_secret_value()
    if not url:
        raise ConfigError("PICTOR_BROKER_URL is not set; amqp://user:password@host:5672/vhost is expected")
    if not url.startswith(("amqp://", "amqps://", "pyamqp://")):
        raise ConfigError(
            "PICTOR_BROKER_URL: amqp:// or amqps:// is expected; Pictor relies on quorum queues"
        )
    _check_hosts(url)
    if "ssl_" in urlsplit(url).query:
        raise ConfigError(
            "PICTOR_BROKER_URL: options of TLS in the URL are not read; certificates are always "
            "verified, and PICTOR_BROKER_CA_FILE names their authority"
        )
    client_context(settings.broker_ca_file, CA_SETTING)  # else the first connection would find out
    use_for_amqp()
    app = Celery("pictor", set_as_current=False)
    app.conf.update(celery_config(url, blocked_patience_s, consumed, ca_file=settings.broker_ca_file))
    return app


def _check_hosts(url: str) -> None:
    """Raises ConfigError, since Kombu's own error may hold a part of the password."""
    for one in url.split(";"):  # a second broker takes over when the first is away
        try:
            parts = urlsplit(one)
            is_usable = is_host(parts.hostname or "") and parts.port != 0
        except ValueError:
            is_usable = False
        if not is_usable:
            raise ConfigError(
                f"PICTOR_BROKER_URL: {show_url(one)}: amqp://user:password@host:5672/vhost is expected; in "
                "the password, write characters such as @ / ? # as %40 %2F %3F %23"
            )

"""Builds the Celery application of these settings."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from celery import Celery
from kombu import Connection

from pipeline.addresses import is_host, show_url
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.tls import client_context
from workers.broker.celery_config import celery_config
from workers.broker.transport import CA_SETTING, use_for_amqp


class PictorCelery(Celery):  # type: ignore[misc]  # Celery is untyped
    """Connects to the broker that it was configured for.

    Celery itself prefers CELERY_BROKER_URL, which is another application's where a service uses our client.
    It prefers CELERY_RESULT_BACKEND to the configured one, too, but not to that of its class.
    """

    backend_cls = "rpc://"

    def connection_for_read(self, url: str | None = None, **options: object) -> Connection:
        return super().connection_for_read(url or self.conf["broker_url"], **options)

    def connection_for_write(self, url: str | None = None, **options: object) -> Connection:
        return super().connection_for_write(url or self.conf["broker_url"], **options)


def check_environment(app: Celery) -> None:
    """Of a worker, some of whose parts ask Celery for the address of the broker.

    Raises:
        ConfigError: a variable of Celery's own leads to another one.
    """
    addresses = {app.conf.broker_url, app.conf.broker_read_url, app.conf.broker_write_url}
    if addresses != {app.conf["broker_url"]}:
        raise ConfigError(
            "CELERY_BROKER_URL, CELERY_BROKER_READ_URL or CELERY_BROKER_WRITE_URL is set and names another "
            "broker than PICTOR_BROKER_URL; unset it for workers"
        )


def make_app(settings: Settings, *, blocked_patience_s: float = 0.0, consumed: Sequence[str] = ()) -> Celery:
    """Build an application for these settings.

    Args:
        blocked_patience_s: how long a publisher waits for a broker that takes nothing now. A person or a
            service wants to be told. A worker has time.
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
    app = PictorCelery("pictor", set_as_current=False)
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

"""`pictor serve`: the HTTP service and the search page."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from pipeline.addresses import is_loopback
from pipeline.cli.output import note, warn
from pipeline.errors import ConfigError
from pipeline.location import parse_location
from pipeline.logs import configure_logging
from pipeline.ports import KeyBook
from pipeline.running import Announcement, digest_of_stores
from pipeline.service.aws_pairs import check_master
from pipeline.service.keyring import Keyring
from pipeline.settings import Settings
from pipeline.tracing import traced

EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - it is compared

if TYPE_CHECKING:
    from pipeline.api.backend import Backend
    from pipeline.api.middleware.callers import Door


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Without keys, a loopback one.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port. 0 takes any free one.", min=0, max=65535)] = 8780,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="A folder or s3://bucket/prefix that requests may name. You can repeat it. "
            "Places that were indexed before are always allowed."
        ),
    ] = None,
    keys: Annotated[
        bool,
        typer.Option("--keys", help="Want a key for every request. Default PICTOR_SERVICE_KEYS."),
    ] = False,
) -> None:
    """Serve the search page and the HTTP API."""
    try:
        from pipeline.api.app import make_app
        from pipeline.api.assembly import warm_up
        from pipeline.api.embedded import open_embedded
        from pipeline.api.middleware.callers import KeyDoor, OpenDoor
        from pipeline.api.middleware.owner import OwnerDoor
        from pipeline.api.serve import check_address, hosts_of, read_tls, run
    except ModuleNotFoundError as err:
        if err.name not in ("fastapi", "uvicorn", "starlette", "jinja2", "prometheus_client"):
            raise
        raise ConfigError(f"{err.name} is not installed; pip install 'pictor[service]' brings it") from err
    settings = Settings.from_env()
    with_keys = keys or settings.service_keys == "required"
    address = check_address(host, with_keys=with_keys)
    hosts, tls = hosts_of(address, settings.service_host_names), read_tls(settings)
    allowed = [parse_location(text) for text in allow or ()]
    opened = open_embedded
    if settings.broker_url.get_secret_value():
        from pipeline.api.cluster import open_cluster  # needs Celery

        configure_logging(settings.log_level)  # as workers do
        opened = open_cluster
    with (
        traced(settings, service="pictor-api"),
        opened(settings, allowed) as backend,
        _metrics_of(backend),
        _announcement(settings, address, has_tls=tls is not None) as announced,
    ):
        warm_up(backend)
        door: Door = KeyDoor(Keyring(backend.keys)) if with_keys else OpenDoor()
        if announced is not None:
            door = OwnerDoor(door, token=announced.token)
        application = make_app(
            backend,
            hosts=hosts,
            door=door,
            cursor_key=settings.service_cursor_key.get_secret_value(),
            per_minute=settings.service_requests_per_minute,
            aws_key=_aws_key(settings),
        )
        run(
            application,
            host=address,
            port=port,
            tls=tls,
            on_stop=backend.stopping.set,
            on_ready=lambda url: _on_ready(url, backend.keys, door, announced),
        )


def _aws_key(settings: Settings) -> str:
    """ "" where AWS clients find nothing. Raises ConfigError: a setting cannot work."""
    if settings.rekognition == "off":
        return ""
    return check_master(settings.rekognition_key.get_secret_value())


def _metrics_of(backend: "Backend") -> AbstractContextManager[None]:
    """On a port of their own, or else on a page of the service itself."""
    if not backend.settings.metrics_port:
        return nullcontext()
    from workers.metrics.page import served_page

    return served_page(backend.settings, backend.metrics.registry)


def _announcement(
    settings: Settings, address: str, *, has_tls: bool
) -> "AbstractContextManager[Announcement | None]":
    """For commands of this user beside a service that runs the jobs of this home itself."""
    is_embedded = not settings.broker_url.get_secret_value()
    # A certificate is for the names of the service, and commands beside know a loopback address.
    if not is_embedded or has_tls or not (is_loopback(address) or address in EVERY_ADDRESS):
        return nullcontext()
    stores = digest_of_stores(
        milvus_uri=settings.milvus_uri, ledger_url=settings.ledger_url.get_secret_value()
    )
    return Announcement(settings.home, stores=stores)


def _on_ready(url: str, keys: KeyBook, door: "Door", announced: Announcement | None) -> None:
    if announced is not None:
        announced.publish(
            url.rstrip("/").replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        )
    _say_where(url, keys, door)


def _say_where(url: str, keys: KeyBook, door: "Door") -> None:
    note(f"Pictor answers at {url} (search page), {url}docs (API). Ctrl-C stops it.")
    if door.keyring is None:
        note("There are no keys: everybody who can reach this address of this machine may do everything.")
        return
    if not keys.list_keys():
        note("There is no key yet. `pictor keys create NAME --role admin` makes one.")
    if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or ""):
        warn("keys travel unencrypted. Set PICTOR_SERVICE_TLS_CERT_FILE, or put a proxy with TLS before it.")

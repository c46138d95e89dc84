"""`pictor serve`: the HTTP service and the search page."""

from typing import Annotated

import typer

from pipeline.cli.output import note
from pipeline.errors import ConfigError
from pipeline.location import parse_location
from pipeline.logs import configure_logging
from pipeline.settings import Settings


def serve(
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port. 0 takes any free one.", min=0, max=65535)] = 8780,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="A folder or s3://bucket/prefix that requests may name. You can repeat it. "
            "Places that were indexed before are always allowed."
        ),
    ] = None,
) -> None:
    """Serve the search page and the HTTP API on this machine."""
    try:
        from pipeline.api.app import make_app
        from pipeline.api.backend import open_backend, warm_up
        from pipeline.api.serve import check_loopback, run
    except ModuleNotFoundError as err:
        if err.name not in ("fastapi", "uvicorn", "starlette", "jinja2"):
            raise
        raise ConfigError(f"{err.name} is not installed; pip install 'pictor[service]' brings it") from err
    settings = Settings.from_env()
    address = check_loopback(host)
    allowed = [parse_location(text) for text in allow or ()]
    opened = open_backend
    if settings.broker_url.get_secret_value():
        from pipeline.api.cluster import open_cluster  # needs Celery

        configure_logging(settings.log_level)  # as workers do
        opened = open_cluster
    with opened(settings, allowed) as backend:
        warm_up(backend)
        run(make_app(backend), host=address, port=port, on_ready=_say_where)


def _say_where(url: str) -> None:
    note(f"Pictor answers at {url} (search page), {url}docs (API). Ctrl-C stops it.")
    note("There are no keys: everybody who can reach this address of this machine may do everything.")

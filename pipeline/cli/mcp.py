"""`pictor mcp`: tools for an assistant, over standard input and output."""

from typing import TYPE_CHECKING

from pipeline.cli.running_service import find_service
from pipeline.client_settings import ClientSettings
from pipeline.errors import ConfigError, TransientError

PATIENCE_S = 120.0  # a service that has just begun loads its model first

if TYPE_CHECKING:
    from pipeline.client import AsyncPictor


def mcp() -> None:
    """Offer search to an assistant that speaks MCP, over standard input and output. It changes nothing."""
    try:
        from pipeline.mcp.tools import make_server
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] not in ("mcp", "httpx2"):
            raise
        raise ConfigError(f"{err.name} is not installed; pip install 'pictor[mcp]' brings it") from err
    make_server(_connect, collection=ClientSettings.from_env().collection).run("stdio")


def _connect() -> "AsyncPictor":
    """Asked for with each call: the service may have been started anew, at another address.

    With the key of PICTOR_API_KEY, and never as the owner of the service: what an assistant asks for may
    come from a text that it has read, so it may name no more places than any other program.
    """
    from pipeline.client import AsyncPictor

    service = find_service()
    if service is None:
        raise TransientError("no Pictor service is running here; start `pictor serve`, or set PICTOR_API")
    return AsyncPictor(service.url, key=ClientSettings.from_env().api_key, timeout_s=PATIENCE_S)

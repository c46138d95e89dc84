"""Is the process alive, and can it do its work?"""

from collections.abc import Callable

from fastapi import APIRouter, Response

from pipeline.api.backend import Ports
from pipeline.api.bodies import Live, Ready
from pipeline.errors import PictorError

router = APIRouter(tags=["health"])


@router.get("/livez")
def live() -> Live:
    """The process answers. It says nothing about its services."""
    return Live()


@router.get("/readyz", responses={503: {"model": Ready, "description": "A part is away"}})
def ready(ports: Ports, response: Response) -> Ready:
    """Index and ledger answer. Each part is "ready", or names its fault."""
    parts = {
        "index": _state_of(ports.index.list_collections),
        "ledger": _state_of(lambda: ports.ledger.list_jobs(limit=1)),
    }
    if set(parts.values()) == {"ready"}:
        return Ready(status="ready", parts=parts)
    response.status_code = 503
    return Ready(status="not_ready", parts=parts)


def _state_of(look: Callable[[], object]) -> str:
    try:
        look()
    except PictorError as err:
        return str(err)
    return "ready"

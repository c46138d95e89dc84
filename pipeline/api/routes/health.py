"""Is the process alive, and can it do its work?"""

from typing import cast

from fastapi import APIRouter, HTTPException, Request, Response

from pipeline.api.backend import Backend
from pipeline.api.bodies import Live, Ready
from pipeline.api.metrics import CONTENT_TYPE
from pipeline.api.problems import RETRY_AFTER_S
from pipeline.api.readiness import READY, states_of

router = APIRouter(tags=["health"])


@router.get("/livez")
async def live() -> Live:
    """The process answers. It says nothing about its services."""
    return Live()


@router.get("/readyz", responses={503: {"model": Ready, "description": "A part is away"}})
async def ready(request: Request, response: Response) -> Ready:
    """The parts behind the service. Each is "ready", or names its fault.

    It needs no thread of those that answer requests, so that it is answered while all of them wait.
    """
    parts = cast("Backend", request.app.state.backend).parts
    states = await states_of(parts)
    if all(states[part.name] == READY for part in parts if part.is_needed):
        return Ready(status="ready", parts=dict(states))
    response.status_code = 503
    response.headers["retry-after"] = str(RETRY_AFTER_S)
    return Ready(status="not_ready", parts=dict(states))


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"}},
)
async def metrics(request: Request) -> Response:
    """What this process counts, for Prometheus. With `PICTOR_METRICS_PORT` it is on that port instead."""
    backend = cast("Backend", request.app.state.backend)
    if backend.settings.metrics_port:
        raise HTTPException(404)
    return Response(backend.metrics.page(), media_type=CONTENT_TYPE)

"""Is the process alive, and can it do its work?"""

import asyncio
from typing import cast

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.types import Scope

from pipeline.api.backend import Backend
from pipeline.api.bodies import Live, Ready
from pipeline.api.metrics import CONTENT_TYPE
from pipeline.api.middleware.callers import Door
from pipeline.api.problems import RETRY_AFTER_S
from pipeline.api.readiness import NOT_READY, READY, states_of
from pipeline.service.access import Permission

router = APIRouter(tags=["health"])

KEY_S = 2.0  # to look at a key, while the ledger may be the part that is away


@router.get("/livez")
async def live() -> Live:
    """The process answers. It says nothing about its services."""
    return Live()


@router.get("/readyz", responses={503: {"model": Ready, "description": "A part is away"}})
async def ready(request: Request, response: Response) -> Ready:
    """The parts behind the service. Each is "ready" or "not_ready"; an admin reads what is wrong instead.

    It needs no thread of those that answer requests, so that it is answered while all of them wait.
    """
    parts = cast("Backend", request.app.state.backend).parts
    states, is_told = await asyncio.gather(states_of(parts), _runs_the_service(request.scope))
    shown = {name: state if is_told or state == READY else NOT_READY for name, state in states.items()}
    if all(states[part.name] == READY for part in parts if part.is_needed):
        return Ready(status=READY, parts=shown)
    response.status_code = 503
    response.headers["retry-after"] = str(RETRY_AFTER_S)
    return Ready(status=NOT_READY, parts=shown)


async def _runs_the_service(scope: Scope) -> bool:
    """Whether whoever asks may know of hosts and buckets. Most show no key, as probes do."""
    door: Door = scope["app"].state.door
    asked = asyncio.ensure_future(door.caller_of(scope))
    asked.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody else looks at it
    done, _ = await asyncio.wait({asked}, timeout=KEY_S)  # not cancelled: it may wait in a thread
    if not done or asked.exception() is not None:
        return False
    return Permission.OPERATE in asked.result().permissions


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"},
        401: {"description": "The service has keys, and none was shown"},
    },
)
async def metrics(request: Request) -> Response:
    """What this process counts, for Prometheus. With `PICTOR_METRICS_PORT` it is on that port instead."""
    backend = cast("Backend", request.app.state.backend)
    if backend.settings.metrics_port:
        raise HTTPException(404)
    return Response(backend.metrics.page(), media_type=CONTENT_TYPE)

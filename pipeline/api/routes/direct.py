"""A search that is well formed is answered without FastAPI's way from a request to arguments.

That way takes 0.4 ms of CPU time, as long as it takes to ask Milvus. FastAPI still describes the route, and
still tells what is wrong with a request that is not well formed.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from pipeline.api.backend import caller_in, ports_for
from pipeline.api.search_bodies import SearchBody
from pipeline.api.stated import stated_by


class DirectSearch(APIRoute):
    """Of a function of a collection, a body, ports, a caller and what they state. It is run in a thread."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        usual, endpoint = super().get_route_handler(), self.endpoint

        async def handle(request: Request) -> Response:
            body, stated = await _read_body(request), stated_by(request.headers)
            if body is None or stated is None:
                return await usual(request)
            caller = await caller_in(request)
            ports = await ports_for(request, caller)
            answer: Response = await run_in_threadpool(
                endpoint, request.path_params["collection"], body, ports, caller, stated
            )
            return answer

        return handle


async def _read_body(request: Request) -> SearchBody | None:
    """None for a body that is no search, or is not said to be JSON."""
    if request.headers.get("content-type") != "application/json":
        return None
    try:
        return SearchBody.model_validate_json(await request.body())
    except ValidationError:
        return None

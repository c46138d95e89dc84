"""The two clients of the service, asked in one way: over an application here, or over canned answers."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import anyio
import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from pipeline.client import AsyncPictor, Pictor, Retries
from tests.unit.api_client import ORIGIN

AT_ONCE = Retries(first_wait_s=0.0)
KINDS = ("sync", "async")
Answerer = Callable[[httpx2.Request], httpx2.Response]


class Ask(Protocol):
    """Calls the method of this name, waits for its answer and reads what iterates to its end."""

    def __call__(self, name: str, *arguments: Any, **options: Any) -> Any: ...


class InThisProcess(httpx2.BaseTransport):
    """The application for a client that waits: the library has it for asyncio alone."""

    def __init__(self, app: FastAPI, portal: BlockingPortal) -> None:
        self._inner = httpx2.ASGITransport(app, raise_app_exceptions=False)
        self._portal = portal

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._portal.call(self._answer, request)

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._inner.handle_async_request(request)
        body = await answer.aread()
        return httpx2.Response(answer.status_code, headers=answer.headers, content=body, request=request)


@contextmanager
def asked_of_app(app: FastAPI, kind: str, **options: Any) -> Iterator[Ask]:
    if kind == "async":
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        yield _ask_later(partial(AsyncPictor, ORIGIN, transport=transport, retries=AT_ONCE, **options))
        return
    with (
        start_blocking_portal() as portal,
        Pictor(ORIGIN, transport=InThisProcess(app, portal), retries=AT_ONCE, **options) as pictor,
    ):
        yield partial(_ask_now, pictor)


@contextmanager
def asked_of(answer: Answerer, kind: str, **options: Any) -> Iterator[Ask]:
    """Canned answers."""
    given = {"retries": AT_ONCE} | options
    if kind == "async":
        yield _ask_later(partial(AsyncPictor, ORIGIN, transport=httpx2.MockTransport(answer), **given))
        return
    with Pictor(ORIGIN, transport=httpx2.MockTransport(answer), **given) as pictor:
        yield partial(_ask_now, pictor)


def _ask_now(pictor: Pictor, name: str, *arguments: Any, **options: Any) -> Any:
    answer = getattr(pictor, name)(*arguments, **options)
    return list(answer) if isinstance(answer, Iterator) else answer


def _ask_later(make: Callable[[], AsyncPictor]) -> Ask:
    async def ask(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        async with make() as pictor:
            answer = getattr(pictor, name)(*arguments, **options)
            if isinstance(answer, AsyncIterator):
                return [item async for item in answer]
            return await answer

    return lambda name, *arguments, **options: anyio.run(ask, name, arguments, options)

"""A search waits a moment for its place, or is told to come back."""

import asyncio
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from pipeline.api.app import make_app
from pipeline.api.middleware.bounds import BoundedRequests
from pipeline.api.middleware.timely import TimelySearches
from pipeline.api.rekognition import searches, user_searches
from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from tests.unit.api_client import backend_of
from tests.unit.fakes import COLLECTION, SPEC, distinct_png
from tests.unit.test_api_middleware import Echo, ask, scope_of

SEARCH = "/v1/collections/images/search"
OWN = "http://127.0.0.1"  # the service answers under its own names alone
ENDLESS_S = 600.0
OF_AWS_CLIENTS = [  # DetectFaces looks for nobody
    route.path
    for route in (*searches.router.routes, *user_searches.router.routes)
    if isinstance(route, APIRoute) and not route.path.endswith("/DetectFaces")
]


class Held(Echo):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        await self.go_on.wait()
        await super().__call__(scope, receive, send)


async def begun(held: Held, count: int) -> None:
    while held.begun < count:
        await asyncio.sleep(0)


def test_the_searches_of_aws_clients_are_these() -> None:
    names = ("SearchFaces", "SearchFacesByImage", "CompareFaces", "SearchUsers", "SearchUsersByImage")
    assert [f"/rekognition/{name}" for name in names] == OF_AWS_CLIENTS


@pytest.mark.parametrize(
    "path", [SEARCH, f"{SEARCH}/batch", f"{SEARCH}/image", "/v1/embeddings", *OF_AWS_CLIENTS]
)
def test_a_search_without_a_place_is_turned_away_with_when_to_come_back(path: str) -> None:
    async def check() -> None:
        held = Held()
        app = TimelySearches(held, at_once=1, most_wait_s=0.0)
        first = asyncio.create_task(ask(app, scope_of(path=path)))
        await begun(held, 1)
        status, headers = await ask(app, scope_of(path=path))
        assert (status, headers["retry-after"]) == (429, "1")
        held.go_on.set()
        assert (await first)[0] == 200
        assert held.begun == 1

    asyncio.run(check())


def test_a_search_that_is_turned_away_has_searched_nothing_and_is_no_entry(
    deps: Deps, index: MemoryIndex, tmp_path: Path
) -> None:
    backend = backend_of(deps, tmp_path)
    log = backend.answers_to.log
    assert log is not None
    index.create_collection(COLLECTION, SPEC)
    app, body = make_app(backend), distinct_png(0)
    with TestClient(TimelySearches(app, at_once=0, most_wait_s=0.0), base_url=OWN) as client:
        assert client.post(f"{SEARCH}/image", content=body).status_code == 429
    assert (log.head().size, list(log.entries())) == (0, [])
    with TestClient(TimelySearches(app, at_once=1), base_url=OWN) as client:
        assert client.post(f"{SEARCH}/image", content=body).status_code == 200
    assert log.head().size == 1


def test_searches_wait_for_their_place_in_order_and_leave_it_to_the_next() -> None:
    async def check() -> None:
        held = Held()
        app = TimelySearches(held, at_once=2, most_wait_s=ENDLESS_S)
        searches = [asyncio.create_task(ask(app, scope_of(path=SEARCH))) for _ in range(5)]
        await begun(held, 2)
        await asyncio.sleep(0)
        assert held.begun == 2
        held.go_on.set()
        assert [status for status, _ in await asyncio.gather(*searches)] == [200] * 5

    asyncio.run(check())


@pytest.mark.parametrize("path", ["/v1/jobs", "/livez", "/v1/collections/search", "/"])
def test_other_requests_need_no_place(path: str) -> None:
    async def check() -> None:
        app = TimelySearches(Echo(), at_once=1, most_wait_s=0.0)
        held = Held()
        busy = TimelySearches(held, at_once=1, most_wait_s=0.0)
        asyncio.create_task(ask(busy, scope_of(path=SEARCH)))  # noqa: RUF006 - ends with the loop
        await begun(held, 1)
        held.go_on.set()
        assert (await ask(busy, scope_of(path=path)))[0] == 200
        assert (await ask(app, scope_of(path=path)))[0] == 200

    asyncio.run(check())


def test_a_search_that_fails_gives_its_place_back() -> None:
    class Broken:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise ValueError("broken")

    async def check() -> None:
        app = TimelySearches(Broken(), at_once=1, most_wait_s=0.0)
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                await ask(app, scope_of(path=SEARCH))

    asyncio.run(check())


def test_a_refusal_takes_its_time_and_nobody_elses() -> None:
    async def check() -> None:
        held = Held()
        app = BoundedRequests(held, most=1, streams=1, pause_s=ENDLESS_S)
        first = asyncio.create_task(ask(app, scope_of()))
        await begun(held, 1)
        refused = asyncio.create_task(ask(app, scope_of()))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not refused.done()
        held.go_on.set()
        assert (await first)[0] == 200
        assert (await ask(app, scope_of()))[0] == 200
        refused.cancel()

    asyncio.run(check())

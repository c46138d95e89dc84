"""Places for requests in flight, and that no key takes them all."""

import asyncio
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.middleware.bounds import BoundedRequests
from pipeline.api.middleware.shares import FairShares
from tests.unit.test_api_middleware import Echo, ask, scope_of
from tests.unit.test_api_rates import scope_by

PLACES = 12


class Service:
    """Each request that has a place keeps it until the end."""

    def __init__(self, *, pause_s: float = 0.0) -> None:
        self.begun = 0
        self._end = asyncio.Event()
        self._asked: list[asyncio.Task[tuple[int, dict[str, str]]]] = []
        shares: ASGIApp = FairShares(self._work, most=PLACES, streams=PLACES)
        self._app = BoundedRequests(shares, most=PLACES, streams=PLACES, pause_s=pause_s)

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        await self._end.wait()
        await Echo()(scope, receive, send)

    async def ask(self, key_id: str, times: int = 1, *, path: str = "/v1/jobs") -> int:
        """How many of these requests have a place."""
        before = self.begun
        for _ in range(times):
            scope = scope_by("who", key_id=key_id)
            scope["path"] = path
            self._asked.append(asyncio.create_task(ask(self._app, scope)))
        for _ in range(10):  # turns of the loop: each request is in its place, or is refused
            await asyncio.sleep(0)
        return self.begun - before

    async def end(self) -> Sequence[tuple[int, dict[str, str]]]:
        self._end.set()
        return await asyncio.gather(*self._asked)


def test_one_key_alone_has_half_of_the_places_and_is_told_so() -> None:
    async def run() -> None:
        service = Service()
        assert await service.ask("greedy", PLACES) == PLACES // 2
        answers = await service.end()
        refused = [headers for status, headers in answers if status == 429]
        assert len(refused) == PLACES // 2
        fields = refused[0]
        assert fields["retry-after"] == "1"
        assert fields["ratelimit-policy"] == f'"requests";q={PLACES // 2};qu="concurrent-requests"'

    asyncio.run(run())


def test_keys_that_want_all_share_and_leave_a_place_for_the_next_one() -> None:
    async def run() -> None:
        service = Service()
        held = {"a": 0, "b": 0, "c": 0}
        for _ in range(PLACES):
            for key_id in held:
                held[key_id] += await service.ask(key_id)
        assert set(held.values()) == {PLACES // 4}
        assert await service.ask("new") == 1
        await service.end()

    asyncio.run(run())


def test_what_is_given_back_may_be_had_again() -> None:
    async def run() -> None:
        service = Service()
        await service.ask("a", PLACES)
        await service.end()
        service._end.clear()
        assert await service.ask("a", PLACES) == PLACES // 2
        await service.end()

    asyncio.run(run())


def test_streams_of_events_have_places_of_their_own() -> None:
    async def run() -> None:
        service = Service()
        await service.ask("a", PLACES)
        assert await service.ask("a", PLACES, path="/v1/jobs/1/events") == PLACES // 2
        await service.end()

    asyncio.run(run())


def test_a_service_without_keys_gives_its_user_all_places() -> None:
    async def run() -> None:
        service = Service()
        assert await service.ask("", PLACES + 1) == PLACES
        await service.end()

    asyncio.run(run())


def test_requests_that_wait_to_be_refused_take_no_place() -> None:
    async def run() -> None:
        service = Service(pause_s=3600.0)
        await service.ask("greedy", 10 * PLACES)
        assert await service.ask("other") == 1

    asyncio.run(run())


def test_probes_are_answered_whoever_holds_the_places() -> None:
    async def run() -> int:
        service = Service()
        await service.ask("", PLACES)
        probes = [asyncio.create_task(ask(service._app, scope_of(path="/livez")))]
        for _ in range(10):
            await asyncio.sleep(0)
        await service.end()
        return (await probes[0])[0]

    assert asyncio.run(run()) == 200

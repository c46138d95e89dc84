"""No key may take all the places of a service: a client that sends much would keep out all others."""

from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.middleware.bounds import NoPlaceError, is_always_answered, kind_of
from pipeline.api.middleware.callers import caller_of


class FairShares:
    """Gives a key a place while it holds fewer than are free.

    So one key alone has at most half of them, and of two that want all each has a third. Whoever comes next
    finds a place. Callers without a key are all the same one, and are left alone.

    Args:
        most: places of requests.
        streams: places of streams of events.
    """

    def __init__(self, app: ASGIApp, *, most: int, streams: int) -> None:
        self._app = app
        self._places = {"requests": most, "streams of events": streams}
        self._held: dict[tuple[str, str], int] = {}  # by kind and key; only the event loop's thread counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_always_answered(scope["path"]) or not caller_of(scope).key_id:
            await self._app(scope, receive, send)
            return
        kind = kind_of(scope["path"])
        name = kind, caller_of(scope).key_id
        held = self._held.get(name, 0)
        if held >= self._free(kind):
            raise NoPlaceError(
                f"your key holds {held} of {self._places[kind]} {kind}, and no key holds more than are free",
                name=kind,
                quota=self._places[kind] // 2,
            )
        self._held[name] = held + 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._give_back(name)

    def _free(self, kind: str) -> int:
        return self._places[kind] - sum(held for (of, _), held in self._held.items() if of == kind)

    def _give_back(self, name: tuple[str, str]) -> None:
        self._held[name] -= 1
        if not self._held[name]:
            del self._held[name]  # keys come and go

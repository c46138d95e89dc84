"""Searches that would wait too long for a place are turned away, before they cost anything.

Past some searches at once a machine answers no more of them in a second, and each takes longer. So only as
many are worked on as it has cores for. The others wait, in order, for a moment that nobody before a page
notices. Who would wait longer is told to come back.
"""

import asyncio
import re

from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.problems import RETRY_AFTER_S, problem
from pipeline.api.rate_fields import Limit
from pipeline.api.request_id import request_id_of

SEARCHES = re.compile(  # also of the search page
    r"/v1/(collections/[^/]+/search(/.*)?|embeddings)|/results|/rekognition/(Search(Faces|Users)(ByImage)?|CompareFaces)"
)
MOST_WAIT_S = 0.25
AT_ONCE_PER_CORE = 4  # a search mostly waits for the index; a fifth gains nothing


class TimelySearches:
    """Args: `at_once` searches are worked on, and none waits longer than `most_wait_s` for its place."""

    def __init__(self, app: ASGIApp, *, at_once: int, most_wait_s: float = MOST_WAIT_S) -> None:
        self._app = app
        self._places = asyncio.Semaphore(at_once)
        self._at_once = at_once
        self._most_wait_s = most_wait_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_search(scope):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._most_wait_s):
                await self._places.acquire()
        except TimeoutError:
            bound = f"no other waits longer than {self._most_wait_s:g} s"
            detail = f"{self._at_once} searches are worked on, and {bound}"
            limit = Limit(name="searches", quota=self._at_once, left=0, reset_s=RETRY_AFTER_S)
            await problem("too_busy", detail, request_id_of(scope), limit=limit)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._places.release()


def _is_search(scope: Scope) -> bool:
    return bool(SEARCHES.fullmatch(scope["path"])) or (scope["method"], scope["path"]) == ("POST", "/")

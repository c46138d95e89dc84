"""A request with an Idempotency-Key is worked on once at a time, whichever process is asked.

The ledger's database knows which keys were used, so any number of processes agree. The first request claims
the key. One that comes while it is worked on is told to come back, and another request cannot have the key.
The same request after the answer goes on to its route, which finds what the first one has made.
"""

import hashlib
import logging
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import assert_never, cast

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.idempotency import check_key
from pipeline.api.middleware.bounds import replay
from pipeline.api.middleware.callers import caller_of
from pipeline.api.problems import problem, problem_of
from pipeline.api.request_id import request_id_of
from pipeline.errors import PictorError, TransientError
from pipeline.ports import RequestBook
from pipeline.types import KeyedRequest, RequestState

logger = logging.getLogger(__name__)

# All that makes something. A test looks for routes that are missing here.
CREATES = re.compile(r"/v1/(collections|jobs|keys|keys/[^/]+/rotate|collections/[^/]+/images(/upload)?)")
SHOWS_A_SECRET = re.compile(r"/v1/keys(/.*)?")
LONGEST = timedelta(minutes=5)  # a model may be fetched. After that a process is taken for dead
KEPT = timedelta(days=1)  # longer than any program goes on trying


class KeyedRequests:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_creating = (
            scope["type"] == "http" and scope["method"] == "POST" and CREATES.fullmatch(scope["path"])
        )
        if not is_creating or not (key := Headers(scope=scope).get("idempotency-key")):
            await self._app(scope, receive, send)
            return
        body = (await receive()).get("body", b"")  # whole: `BoundedBodies` has read it
        try:
            request, book = _request_of(scope, check_key(key), body), _book_of(scope)
            state = await run_in_threadpool(book.begin, request, now=datetime.now(UTC))
        except PictorError as err:
            await problem_of(err, request_id_of(scope))(scope, receive, send)
            return
        if state is RequestState.NEW:
            await self._work(request, book, scope, replay(body, receive), send)
        elif (refusal := _refusal(state, scope)) is not None:
            await refusal(scope, receive, send)
        else:
            await self._app(scope, replay(body, receive), send)

    async def _work(
        self, request: KeyedRequest, book: RequestBook, scope: Scope, receive: Receive, send: Send
    ) -> None:
        is_settled = False

        async def settled(message: Message) -> None:
            """Before the answer goes out: who has it may send the request again at once."""
            nonlocal is_settled
            if message["type"] == "http.response.start":
                is_settled = True
                await run_in_threadpool(_settle, request, book, is_made=message["status"] < 300)
            await send(message)

        try:
            await self._app(scope, receive, settled)
        finally:
            if not is_settled:  # an error that nobody foresaw
                await run_in_threadpool(_settle, request, book, is_made=False)


def _request_of(scope: Scope, key: str, body: bytes) -> KeyedRequest:
    named = f"{caller_of(scope).tenant}\0{key}".encode()
    asked = f"{scope['method']} {scope['path']}\0".encode() + body
    return KeyedRequest(
        name=hashlib.sha256(named).hexdigest(),
        digest=hashlib.sha256(asked).hexdigest(),
        attempt=secrets.token_hex(16),
        until=datetime.now(UTC) + LONGEST,
    )


def _book_of(scope: Scope) -> RequestBook:
    return cast("RequestBook", scope["app"].state.backend.requests)


def _settle(request: KeyedRequest, book: RequestBook, *, is_made: bool) -> None:
    try:
        if is_made:
            book.end(request, kept_until=datetime.now(UTC) + KEPT)
        else:
            book.forget(request)
    except TransientError as err:  # the answer is right all the same; the claim ends by itself
        logger.warning("end of a request not noted", extra={"error": str(err)})


def _refusal(state: RequestState, scope: Scope) -> Response | None:
    """None for a request that its route answers once more."""
    name = request_id_of(scope)
    match state:
        case RequestState.IN_FLIGHT:
            return problem("in_flight", "Idempotency-Key: the same request is being worked on", name)
        case RequestState.OTHER:
            return problem("key_reused", "Idempotency-Key: it was used for another request", name)
        case RequestState.ANSWERED if SHOWS_A_SECRET.fullmatch(scope["path"]):
            detail = (
                "Idempotency-Key: this request has made a key, and its secret is not shown again; revoke "
                "that key, and make another one with another Idempotency-Key"
            )
            return problem("conflict", detail, name)
        case RequestState.ANSWERED | RequestState.NEW:
            return None
        case _:
            assert_never(state)

"""Limits on requests, and the fields that tell of them."""

import asyncio
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.api.middleware.bounds import BoundedRequests
from pipeline.api.middleware.callers import KeyDoor
from pipeline.api.middleware.rates import MOST_CALLERS, BoundedRates
from pipeline.api.problems import problem
from pipeline.api.rate_fields import Limit, rate_fields
from pipeline.ports import Deps
from pipeline.service.access import Caller
from pipeline.service.keyring import Keyring
from pipeline.types import KeyRole
from tests.unit.api_client import ORIGIN, backend_of, key_for
from tests.unit.test_api_middleware import Echo, ask, scope_of


def limited(backend: Backend, per_minute: int) -> TestClient:
    return TestClient(make_app(backend, per_minute=per_minute), base_url=ORIGIN)


def test_a_caller_is_told_how_much_is_left_and_then_to_wait(deps: Deps, tmp_path: Path) -> None:
    with limited(backend_of(deps, tmp_path), 2) as client:
        answers = [client.get("/v1/jobs") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"requests";q=2;w=60'}
        left = [answer.headers["ratelimit"] for answer in answers]
        assert [field.rpartition(";t=")[0] for field in left] == [f'"requests";r={n}' for n in (1, 0, 0)]
        assert answers[-1].json()["code"] == "rate_limited"
        assert int(answers[-1].headers["retry-after"]) in range(1, 61)
        assert client.get("/").status_code == 200, "pages are not counted"
        assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/results?collection=images"),
        ("GET", "/?collection=images&id=x"),
        ("POST", "/"),
        ("POST", "/jobs"),
        ("POST", "/faces?collection=images"),
    ],
)
def test_a_page_that_searches_is_counted(deps: Deps, tmp_path: Path, method: str, path: str) -> None:
    with limited(backend_of(deps, tmp_path), 1) as client:
        codes = [client.request(method, path, content=b"no picture").status_code for _ in range(2)]
        assert 429 not in codes[:1]
        assert codes[1] == 429


def test_without_the_setting_nothing_is_counted(deps: Deps, tmp_path: Path) -> None:
    with limited(backend_of(deps, tmp_path), 0) as client:
        assert "ratelimit" not in client.get("/v1/jobs").headers


def scope_by(who: str, *, key_id: str = "") -> Scope:
    scope = scope_of()
    scope["pictor.caller"] = Caller(who=who, permissions=frozenset(), key_id=key_id)
    return scope


def test_each_key_has_a_count_of_its_own_and_a_new_one_each_minute() -> None:
    now_s = [1000.0]
    app = BoundedRates(Echo(), per_minute=1, clock_s=lambda: now_s[0])

    async def statuses(*scopes: Scope) -> list[int]:
        return [(await ask(app, scope))[0] for scope in scopes]

    ann, ben, again = scope_by("ann", key_id="1"), scope_by("ann", key_id="2"), scope_by("ben", key_id="1")
    assert asyncio.run(statuses(ann, ben, again)) == [200, 200, 429]
    now_s[0] += 59.5
    assert asyncio.run(ask(app, ann))[1]["retry-after"] == "1"
    now_s[0] += 0.5
    assert asyncio.run(statuses(ann, ann)) == [200, 429]


def test_callers_without_number_do_not_fill_the_memory() -> None:
    now_s = [1000.0]
    app = BoundedRates(Echo(), per_minute=1, clock_s=lambda: now_s[0])

    async def visit(count: int) -> None:
        for number in range(count):
            await ask(app, scope_by(f"{now_s[0]} {number}"))

    asyncio.run(visit(MOST_CALLERS + 5))
    assert len(app._windows) == MOST_CALLERS
    now_s[0] += 61
    asyncio.run(visit(1))
    assert len(app._windows) == 1


def test_a_bound_on_requests_at_once_says_so() -> None:
    async def run() -> dict[str, str]:
        inside, free = asyncio.Event(), asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            inside.set()
            await free.wait()
            await Echo()(scope, receive, send)

        app = BoundedRequests(slow, most=1, streams=1)
        first = asyncio.create_task(ask(app, scope_of()))
        await inside.wait()
        _, headers = await ask(app, scope_of())
        free.set()
        await first
        return headers

    headers = asyncio.run(run())
    assert headers["ratelimit-policy"] == '"requests";q=1;qu="concurrent-requests"'
    assert headers["ratelimit"] == '"requests";r=0;t=1'


def test_a_refusal_tells_of_the_limit_that_refused() -> None:
    """By the draft, Retry-After is not to be earlier than any `t` that comes with it."""

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        limit = Limit(name="searches", quota=8, left=0, reset_s=1)
        await problem("too_busy", "busy", "r1", limit=limit)(scope, receive, send)

    status, headers = asyncio.run(ask(BoundedRates(busy, per_minute=5), scope_by("ann")))
    assert (status, headers["retry-after"]) == (429, "1")
    assert headers["ratelimit"] == '"searches";r=0;t=1'
    assert headers["ratelimit-policy"] == '"searches";q=8;qu="concurrent-requests"'


# A string of RFC 9651 and parameters of the draft: q, and w or the unit; r and t. All numbers are whole.
POLICY_FIELD = re.compile(r'"[\x20\x21\x23-\x5b\x5d-\x7e]+";q=\d+(;w=[1-9]\d*|;qu="concurrent-requests")')
LEFT_FIELD = re.compile(r'"[\x20\x21\x23-\x5b\x5d-\x7e]+";r=\d+;t=\d+')


@pytest.mark.parametrize("window_s", [0, 60])
@pytest.mark.parametrize("name", ["requests", "streams of events", "searches"])
def test_the_fields_have_the_form_of_the_draft(name: str, window_s: int) -> None:
    fields = rate_fields(Limit(name=name, quota=32, left=0, reset_s=1, window_s=window_s))
    assert POLICY_FIELD.fullmatch(fields["RateLimit-Policy"])
    assert LEFT_FIELD.fullmatch(fields["RateLimit"])


def test_keys_are_told_apart_by_the_application(deps: Deps, tmp_path: Path) -> None:
    backend = backend_of(deps, tmp_path)
    app = make_app(backend, door=KeyDoor(Keyring(backend.keys)), per_minute=1)
    with TestClient(app, base_url=ORIGIN) as client:
        ann, ben = (key_for(backend, KeyRole.SEARCHER) for _ in range(2))
        statuses = [client.get("/v1/jobs", headers=key).status_code for key in (ann, ben, ann)]
        assert statuses == [200, 200, 429]
        assert client.get("/v1/jobs").status_code == 401

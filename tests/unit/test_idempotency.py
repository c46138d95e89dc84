"""An Idempotency-Key, whichever of two processes is asked: one request at a time, one of what it makes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from starlette.testclient import TestClient

from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.api.middleware.keyed import CREATES
from pipeline.ports import Deps, RequestBook
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import KeyedRequest, KeyRole, RequestState
from tests.unit.api_client import backend_of, client_with_keys, key_for
from tests.unit.fakes import BUCKET, COLLECTION, SPEC, distinct_png

IMAGES = f"/v1/collections/{COLLECTION}/images"
Request = Mapping[str, Any]

# By path: a request that makes something, and another one.
CREATING: Mapping[str, tuple[Request, Request]] = {
    "/v1/collections": ({"json": {"name": "one"}}, {"json": {"name": "two"}}),
    "/v1/jobs": (
        {"json": {"source": f"s3://{BUCKET}/cam/"}},
        {"json": {"source": f"s3://{BUCKET}/cam/", "keep_missing": True}},
    ),
    IMAGES: (
        {"json": {"object": {"bucket": BUCKET, "key": "1.png"}}},
        {"json": {"object": {"bucket": BUCKET, "key": "2.png"}}},
    ),
    f"{IMAGES}/upload": ({"content": distinct_png(3)}, {"content": distinct_png(4)}),
    "/v1/keys": (
        {"json": {"name": "k", "roles": ["searcher"]}},
        {"json": {"name": "k", "roles": ["writer"]}},
    ),
    "/v1/keys/ROTATED/rotate": ({"json": {}}, {"json": {"overlap_hours": 1}}),
}
SECRETS = [path for path in CREATING if path.startswith("/v1/keys")]
MOVES = {"/v1/jobs/{job_id}/resume", "/v1/jobs/{job_id}/retry"}  # of a job that is there; nothing is made


@dataclass
class WatchedRequests:
    """Sends something else just before a request has ended."""

    book: RequestBook
    meanwhile: Callable[[], object] = field(default=lambda: None)

    def begin(self, request: KeyedRequest, *, now: datetime) -> RequestState:
        return self.book.begin(request, now=now)

    def end(self, request: KeyedRequest, *, kept_until: datetime, answer: str = "") -> None:
        then, self.meanwhile = self.meanwhile, lambda: None
        then()
        self.book.end(request, kept_until=kept_until, answer=answer)

    def answer_of(self, request: KeyedRequest) -> str:
        return self.book.answer_of(request)

    def forget(self, request: KeyedRequest) -> None:
        self.book.forget(request)


@dataclass(frozen=True)
class Processes:
    """Two of one service."""

    requests: WatchedRequests  # of the first one
    one: TestClient
    other: TestClient
    admin: Mapping[str, str]
    backend: Backend

    def send(self, process: TestClient, path: str, request: Request, key: str = "monday") -> httpx2.Response:
        rotated = self.backend.keys.list_keys()[-1].key_id
        headers = {**self.admin, "idempotency-key": key}
        return process.post(path.replace("ROTATED", rotated), headers=headers, **request)


@pytest.fixture
def processes(deps: Deps, store: MemoryStore, tmp_path: Path) -> Iterator[Processes]:
    for number in (1, 2):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    deps.index.create_collection(COLLECTION, SPEC)
    second = backend_of(deps, tmp_path)
    requests = WatchedRequests(second.requests)
    first = replace(backend_of(deps, tmp_path), requests=requests)
    key_for(second, KeyRole.SEARCHER)  # the one that is rotated
    with ExitStack() as opened:
        one, other = (opened.enter_context(client_with_keys(backend)) for backend in (first, second))
        yield Processes(requests, one, other, key_for(second, KeyRole.ADMIN), second)


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("path", CREATING)
def test_the_same_request_is_told_to_wait_while_the_first_is_worked_on(
    processes: Processes, path: str
) -> None:
    request, _ = CREATING[path]
    later: list[httpx2.Response] = []
    processes.requests.meanwhile = lambda: later.append(processes.send(processes.other, path, request))
    assert processes.send(processes.one, path, request).status_code in (201, 202)
    [answer] = later
    assert code_of(answer) == (409, "in_flight")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", CREATING)
def test_another_request_cannot_have_the_key(processes: Processes, path: str) -> None:
    request, another = CREATING[path]
    assert processes.send(processes.one, path, request).status_code in (201, 202)
    assert code_of(processes.send(processes.other, path, another)) == (422, "key_reused")
    assert processes.send(processes.other, path, another, key="tuesday").status_code in (201, 202)


@pytest.mark.parametrize("path", [path for path in CREATING if path not in SECRETS])
def test_the_same_request_afterwards_finds_what_was_made(processes: Processes, path: str) -> None:
    request, _ = CREATING[path]
    answers = [processes.send(process, path, request) for process in (processes.one, processes.other)]
    assert {answer.status_code for answer in answers} <= {201, 202}
    first, again = (answer.headers["location"] for answer in answers)
    assert first == again


@pytest.mark.parametrize("path", SECRETS)
def test_a_secret_is_not_shown_again_and_no_second_key_is_made(processes: Processes, path: str) -> None:
    request, _ = CREATING[path]
    assert processes.send(processes.one, path, request).status_code == 201
    keys = len(processes.backend.keys.list_keys())
    assert code_of(processes.send(processes.other, path, request)) == (409, "conflict")
    assert len(processes.backend.keys.list_keys()) == keys


def test_a_request_that_was_refused_may_be_sent_again(processes: Processes, store: MemoryStore) -> None:
    request = {"json": {"object": {"bucket": BUCKET, "key": "late.png"}}}
    assert code_of(processes.send(processes.one, IMAGES, request)) == (404, "not_found")
    store.put(BUCKET, "late.png", distinct_png(5))
    assert processes.send(processes.other, IMAGES, request).status_code == 202


def test_a_request_that_ended_with_an_error_that_nobody_foresaw_may_be_sent_again(
    processes: Processes, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    request, _ = CREATING[IMAGES]
    with monkeypatch.context() as patched:
        patched.setattr(store, "stat", broken)
        assert processes.send(processes.one, IMAGES, request).status_code == 500
    assert processes.send(processes.one, IMAGES, request).status_code == 202


def test_the_request_of_a_process_that_died_may_be_sent_again_after_a_while(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed: list[KeyedRequest] = []
    begin = processes.requests.begin

    def died_long_ago(request: KeyedRequest, *, now: datetime) -> RequestState:
        old = replace(request, until=datetime.now(UTC) - timedelta(seconds=1))
        claimed.append(old)
        return begin(old, now=now - timedelta(hours=1))

    request, _ = CREATING["/v1/jobs"]
    processes.requests.begin = died_long_ago  # type: ignore[method-assign]
    monkeypatch.setattr(processes.requests, "end", lambda *_, **__: None)
    made = processes.send(processes.one, "/v1/jobs", request).json()["job_id"]
    assert len(claimed) == 1
    again = processes.send(processes.other, "/v1/jobs", request)
    assert (again.status_code, again.json()["job_id"]) == (202, made)


def test_every_route_that_makes_something_takes_a_key() -> None:
    document = make_app(cast("Backend", None)).openapi()
    makes = {
        path: item["post"]
        for path, item in document["paths"].items()
        if "post" in item and {"201", "202"} & set(item["post"]["responses"]) and path not in MOVES
    }
    assert len(makes) == len(CREATING)
    for path, operation in makes.items():
        assert CREATES.fullmatch(path), path
        assert "idempotency-key" in {given["name"] for given in operation["parameters"]}, path

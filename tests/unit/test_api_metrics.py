"""What the service counts of its requests and searches, and shows to Prometheus."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.backend import Backend
from pipeline.api.middleware.measured import MeasuredRequests
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import JobState, image_id_of
from tests.scrape import Page
from tests.unit.api_client import backend_of, client_of
from tests.unit.fakes import BUCKET, COLLECTION, HERE, LIMITS, distinct_png, plan_one_batch, request_of
from tests.unit.test_api_middleware import ask, scope_of

SEARCH = f"/v1/collections/{COLLECTION}/search"
DECLARED = "/v1/collections/{collection}/search"


@pytest.fixture
def backend(deps: Deps, store: MemoryStore, tmp_path: Path) -> Backend:
    store.put(BUCKET, "a.png", distinct_png(1))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    return backend_of(deps, tmp_path)


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    with client_of(backend) as client:
        yield client


def page_of(client: TestClient) -> Page:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Page(answer.text)


def test_requests_are_counted_by_declared_route_method_and_status(client: TestClient) -> None:
    body = {"query": {"id": image_id_of(BUCKET, "a.png")}}
    for path, json in ((SEARCH, body), (SEARCH, body), ("/v1/collections/nope/search", body), (SEARCH, {})):
        client.post(path, json=json)
    page = page_of(client)
    counted = {
        status: page.total("pictor_http_requests_total", route=DECLARED, method="POST", status=status)
        for status in ("200", "404", "422")
    }
    assert counted == {"200": 2, "404": 1, "422": 1}
    assert page.total("pictor_http_request_seconds_count", route=DECLARED, method="POST") == 4


def test_whatever_is_asked_for_makes_no_more_series(client: TestClient) -> None:
    for number in range(20):
        client.get(f"/v1/jobs/{number}")
        client.get(f"/nowhere/{number}")
        client.request(f"VERB{number}", "/v1/jobs")
        client.get(f"/static/{number}")
    page = page_of(client)
    series = {labels for name, labels in page.counters() if name == "pictor_http_requests_total"}
    assert {(dict(labels)["route"], dict(labels)["method"]) for labels in series} == {
        ("/v1/jobs/{job_id}", "GET"),
        ("none", "GET"),
        ("/v1/jobs", "other"),
    }


def test_an_error_that_nobody_foresaw_is_counted(
    client: TestClient, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise KeyError

    monkeypatch.setattr(backend.ledger, "list_jobs", broken)
    client.get("/v1/jobs")
    assert page_of(client).total("pictor_http_requests_total", route="/v1/jobs", status="500") == 1


PATHS = ("/v1/jobs", "/v1/jobs/a/events", "/readyz")


def ask_each(backend: Backend, inner: ASGIApp) -> Page:
    """The page after one request for each path."""
    app = client_of(backend).app
    for path in PATHS:
        asyncio.run(ask(MeasuredRequests(inner), {**scope_of(path=path), "app": app}))
    return Page(backend.metrics.page().decode())


def test_what_is_turned_away_is_shed(backend: Backend) -> None:
    async def turned_away(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 429, "headers": []})

    shed = ask_each(backend, turned_away).by("pictor_http_shed_total", "kind")
    assert shed == {"requests": 1, "streams": 1}


def test_what_is_open_is_in_flight_and_probes_are_not(backend: Backend) -> None:
    seen: list[dict[str, float]] = []

    async def look(_scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(Page(backend.metrics.page().decode()).by("pictor_http_in_flight", "kind"))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    page = ask_each(backend, look)
    assert seen == [{"requests": 1}, {"streams": 1}, {}]
    assert page.by("pictor_http_in_flight", "kind") == {}


def test_a_request_whose_caller_hung_up_is_counted(backend: Backend) -> None:
    async def hang_up(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise OSError

    app = client_of(backend).app
    with pytest.raises(OSError):  # noqa: PT011 - ours
        asyncio.run(ask(MeasuredRequests(hang_up), {**scope_of(), "app": app}))
    page = Page(backend.metrics.page().decode())
    assert page.total("pictor_http_requests_total", status="closed") == 1
    assert page.by("pictor_http_in_flight", "kind") == {}


def test_queries_are_counted_by_door(client: TestClient) -> None:
    known, unknown = image_id_of(BUCKET, "a.png"), "0" * 32
    client.post(f"{SEARCH}/batch", json={"queries": [{"id": known}, {"id": known}, {"id": unknown}]})
    client.get("/", params={"id": known, "collection": COLLECTION})
    page = page_of(client)
    assert page.total("pictor_searches_total", door="api", answer="answered") == 2
    assert page.total("pictor_searches_total", door="api", answer="refused") == 1
    assert page.by("pictor_searches_total", "door")["page"] == 1
    assert page.total("pictor_search_seconds_count") == 2


def test_calls_of_the_index_are_counted_by_what_they_hold(backend: Backend) -> None:
    for questions in (1, 3):
        backend.metrics.record_index_call("search", questions)
    page = Page(backend.metrics.page().decode())
    assert page.by("pictor_index_call_questions_count", "call") == {"search": 2}
    assert page.total("pictor_index_call_questions_sum", call="search") == 4


def test_metrics_with_a_port_of_their_own_are_not_on_the_service(backend: Backend) -> None:
    moved = replace(backend, settings=backend.settings.model_copy(update={"metrics_port": 9090}))
    with client_of(moved) as client:
        assert client.get("/metrics").status_code == 404


def test_streams_end_when_the_process_is_to_stop(client: TestClient, backend: Backend, deps: Deps) -> None:
    job = deps.ledger.create_job(request_of(), driver=HERE)
    backend.stopping.set()
    answer = client.get(f"/v1/jobs/{job.job_id}/events")
    assert answer.text.count("event: job") == 1
    assert deps.ledger.get_job(job.job_id).state is JobState.RUNNING

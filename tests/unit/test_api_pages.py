"""The pages: what they show, that they show it safely, and that they need nothing from elsewhere."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import BatchReport, FailedAt, PlannedBatch, Reason, Rejected, image_id_of
from tests.unit.api_client import backend_of, client_of
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    HERE,
    LIMITS,
    distinct_png,
    plan_one_batch,
    ref_of,
    request_of,
)

ODD_KEY = "<script>alert(1)</script>\n\"'.png"
STATIC = Path("pipeline/api/pages/static")


@pytest.fixture
def client(deps: Deps, store: MemoryStore, tmp_path: Path) -> Iterator[TestClient]:
    store.put(BUCKET, ODD_KEY, distinct_png(1))
    store.put(BUCKET, "plain.png", distinct_png(2), {"camera": "7"})
    run_batch(plan_one_batch(deps), deps, LIMITS)
    with client_of(backend_of(deps, tmp_path)) as client:
        yield client


def test_a_permalink_shows_the_neighbours_of_a_stored_image(client: TestClient) -> None:
    page = client.get("/", params={"collection": COLLECTION, "id": image_id_of(BUCKET, "plain.png")})
    assert page.status_code == 200
    assert page.text.count('class="picture"') == 2


def hits_of(page: str) -> int:
    return page.count('class="picture"')


@pytest.mark.parametrize(
    ("filters", "hits"),
    [
        ({"metadata": "camera=7"}, 1),
        ({"metadata": "camera=7, day=mo"}, 0),
        ({"width": "4"}, 2),
        ({"width": "4000"}, 0),
        ({"since": "2020-01-01"}, 2),
        ({"where": '{"field": "metadata.camera", "in": ["6", "7"]}', "prefix": "plain"}, 1),
    ],
)
def test_filters_of_the_page_leave_out_what_does_not_pass(
    client: TestClient, filters: dict[str, str], hits: int
) -> None:
    asked = {"collection": COLLECTION} | filters
    page = client.get("/", params=asked | {"id": image_id_of(BUCKET, "plain.png")}).text
    assert hits_of(page) == hits
    assert hits_of(client.post("/results", params=asked, content=distinct_png(2)).text) == hits
    for link in re.findall(r'class="picture" href="([^"]*)"', page):
        assert filters.items() <= dict(parse_qsl(urlsplit(unescape(link)).query)).items()


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"metadata": "camera"}, "Metadata camera: NAME=VALUE is expected"),
        ({"width": "wide"}, "Least width.gte: width is a whole number"),
        ({"since": "yesterday"}, "Indexed since.gte: a time such as"),
        ({"where": "{"}, "Condition &#39;{&#39;: JSON is expected"),
    ],
)
def test_a_filter_that_cannot_be_is_said_on_the_page(
    client: TestClient, filters: dict[str, str], said: str
) -> None:
    asked = {"collection": COLLECTION, "id": image_id_of(BUCKET, "plain.png")} | filters
    page = client.get("/", params=asked)
    assert (page.status_code, said in page.text) == (400, True)


def test_a_key_with_markup_in_it_is_shown_as_text(client: TestClient) -> None:
    page = client.get("/", params={"collection": COLLECTION, "id": image_id_of(BUCKET, ODD_KEY)}).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\n" in page


def test_a_picture_is_searched_for_and_one_that_is_none_is_said(client: TestClient) -> None:
    asked = {"collection": COLLECTION}
    assert "plain.png" in client.post("/results", params=asked, content=distinct_png(2)).text
    refused = client.post("/results", params=asked, content=b"hello").text
    assert "not_an_image" in refused
    assert 'role="alert"' in refused


@pytest.mark.parametrize(("wrong", "status"), [("<b>", 400), ("0" * 32, 404)])
def test_an_id_that_is_not_there_is_said_on_the_page(client: TestClient, wrong: str, status: int) -> None:
    page = client.get("/", params={"collection": COLLECTION, "id": wrong})
    assert page.status_code == status
    assert 'role="alert"' in page.text
    assert "<b>" not in page.text


def test_without_a_collection_the_page_says_how_to_begin(client: TestClient, deps: Deps) -> None:
    deps.index.drop_collection(COLLECTION)
    assert "pictor ingest" in client.get("/").text


def test_jobs_and_one_job_are_shown(client: TestClient, deps: Deps) -> None:
    job_id = deps.ledger.create_job(request_of(), driver=HERE).job_id
    assert job_id in client.get("/jobs").text
    page = client.get(f"/jobs/{job_id}").text
    assert 'data-move="pause"' in page
    assert client.get("/jobs/none").status_code == 404


def test_a_job_of_the_workers_has_no_buttons(client: TestClient, deps: Deps) -> None:
    job_id = deps.ledger.create_job(request_of(), driver="workers").job_id
    assert "data-move" not in client.get(f"/jobs/{job_id}").text


def failed_job(deps: Deps, *failures: tuple[str, Reason]) -> str:
    job_id = deps.ledger.create_job(request_of(), driver=HERE).job_id
    planned = PlannedBatch(path="00000000", items=len(failures), body=b"{}")
    deps.ledger.record_plan(job_id, [planned], cursor="z", ignored=0)
    rejected = [
        Rejected(ref=ref_of(key), stage=FailedAt.DECODE, reason=reason, detail=f"{key} is bad")
        for key, reason in failures
    ]
    report = BatchReport(job_id=job_id, path=planned.path, indexed=0, unchanged=0, rejected=tuple(rejected))
    deps.ledger.report(report)
    return job_id


def test_failures_are_shown_by_reason_with_what_the_objects_look_like_now(
    client: TestClient, deps: Deps, store: MemoryStore
) -> None:
    store.put(BUCKET, "cut.png", b"\x89PNG\r\n\x1a\n")
    job_id = failed_job(
        deps,
        ("cut.png", Reason.TRUNCATED),
        ("gone.png", Reason.NOT_FOUND),
        ("plain.png", Reason.TRUNCATED),
        (ODD_KEY, Reason.TRUNCATED),
    )
    page = client.get(f"/jobs/{job_id}").text
    assert re.findall(r"<summary><b>(\d+)</b> (\w+)", page) == [
        ("3", "truncated"),
        ("1", "not_found"),
    ]
    assert "<script>alert" not in page
    pictures = re.findall(r'src="(/v1/jobs/[^"]*)"', page)
    answers = [client.get(unescape(address)) for address in pictures]
    assert sorted(answer.status_code for answer in answers) == [200, 200, 404, 422]
    assert {a.headers["content-type"] for a in answers if a.status_code == 200} == {"image/jpeg"}
    assert client.get(f"/v1/jobs/{job_id}/failures/{'0' * 32}/thumbnail").status_code == 404


def test_a_running_job_that_nobody_runs_can_be_resumed_on_its_page(client: TestClient, deps: Deps) -> None:
    left = deps.ledger.create_job(request_of(), driver=HERE).job_id
    assert 'data-move="resume"' in client.get(f"/jobs/{left}").text
    assert client.post(f"/v1/jobs/{left}/resume").status_code == 202
    assert 'data-move="resume"' not in client.get(f"/jobs/{left}").text


@pytest.mark.parametrize("path", ["/", "/jobs", "/docs", "/problems", "/problems/not_found"])
def test_a_page_loads_nothing_from_elsewhere_and_holds_no_script_of_its_own(
    client: TestClient, path: str
) -> None:
    page = client.get(path).text
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]*", page) == []
    assert re.findall(r"<script(?![^>]*src=)", page) == []
    assert re.findall(r"\son\w+=|style=", page) == []
    for asset in re.findall(r"(?:src|href)=\"(/static/[^\"]*)", page):
        assert client.get(asset).status_code == 200


def test_scripts_and_styles_name_no_other_host() -> None:
    files = [path for path in STATIC.iterdir() if path.suffix in (".js", ".css")]
    assert len(files) == 4
    for path in files:
        assert re.findall(r"(?:https?|wss?):|url\(|@import|[\"'`]//", path.read_text()) == []


def test_the_reference_names_every_operation(client: TestClient) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page

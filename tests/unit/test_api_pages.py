"""The pages: what they show, that they show it safely, and that they need nothing from elsewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import image_id_of
from tests.unit.api_client import backend_of, client_of
from tests.unit.fakes import BUCKET, COLLECTION, HERE, LIMITS, distinct_png, plan_one_batch, request_of

ODD_KEY = "<script>alert(1)</script>\n\"'.png"
STATIC = Path("pipeline/api/pages/static")


@pytest.fixture
def client(deps: Deps, store: MemoryStore, tmp_path: Path) -> Iterator[TestClient]:
    store.put(BUCKET, ODD_KEY, distinct_png(1))
    store.put(BUCKET, "plain.png", distinct_png(2))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    with client_of(backend_of(deps, tmp_path)) as client:
        yield client


def test_a_permalink_shows_the_neighbours_of_a_stored_image(client: TestClient) -> None:
    page = client.get("/", params={"collection": COLLECTION, "id": image_id_of(BUCKET, "plain.png")})
    assert page.status_code == 200
    assert page.text.count('class="picture"') == 2


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
    assert len(files) == 3
    for path in files:
        assert re.findall(r"(?:https?|wss?):|url\(|@import|[\"'`]//", path.read_text()) == []


def test_the_reference_names_every_operation(client: TestClient) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page

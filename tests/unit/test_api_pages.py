"""The pages: what they show, that they show it safely, and that they need nothing from elsewhere."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.pages.rendering import duration
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    LOCAL_ROLE,
    BatchReport,
    CollectionPolicy,
    FailedAt,
    KeyRole,
    PlannedBatch,
    Purpose,
    Reason,
    Rejected,
    image_id_of,
)
from tests.accountable import policy_version
from tests.unit.api_client import backend_of, client_of, client_with_keys, key_for
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


ASKS_WHY = CollectionPolicy(
    purposes=(Purpose(code="theft", text="Theft of vehicles"),), roles=(LOCAL_ROLE,), case_required=True
)
WHY = {"purpose": "theft", "case": "Ä-1"}


@pytest.fixture
def policed(client: TestClient, deps: Deps) -> TestClient:
    """The collection has a policy that asks for a purpose and a case."""
    version = policy_version(COLLECTION, ASKS_WHY)
    assert isinstance(deps.ledger, SqlLedger)
    deps.ledger.policies.add(version)
    return client


def fields_of(form: str) -> dict[str, str]:
    found = re.findall(r'<(?:input type="hidden"|button class="picture") name="(\w+)" value="([^"]*)"', form)
    return {name: unescape(value) for name, value in found}


def test_a_link_asks_why_and_the_form_searches(policed: TestClient) -> None:
    link = {"collection": COLLECTION, "id": image_id_of(BUCKET, "plain.png"), "prefix": "plain"}
    for why in ({}, WHY):  # what an address says of it counts for nothing
        page = policed.get("/", params=link | why)
        assert (page.status_code, hits_of(page.text)) == (200, 0)
        assert "Say why you search" in page.text
        assert 'id="ask" action="/" method="post"' in page.text
    found = policed.post("/", data=link | WHY)
    assert (found.status_code, hits_of(found.text)) == (200, 1)
    assert "Recorded as" in found.text
    refused = policed.post("/", data=link)
    assert (refused.status_code, "purpose_missing" in refused.text) == (403, True)


def test_why_somebody_searches_stands_in_no_address(policed: TestClient) -> None:
    asked = {"collection": COLLECTION, "id": image_id_of(BUCKET, "plain.png")}
    headers = [(f"x-pictor-{name}".encode(), text.encode()) for name, text in WHY.items()]
    pages = [
        policed.post("/", data=asked | WHY).text,
        policed.post(
            "/results", params={"collection": COLLECTION}, content=distinct_png(2), headers=headers
        ).text,
    ]
    for page in pages:
        assert hits_of(page) == 2
        addresses = [unescape(found) for found in re.findall(r'(?:href|src|action)="([^"]*)"', page)]
        assert not [address for address in addresses if "theft" in address or "purpose" in address]
        again = fields_of(page)  # of the button of the last hit
        assert again | WHY == again
        assert hits_of(policed.post("/", data=again).text) == 2
    [kept] = [unescape(found) for found in re.findall(r'href="(/\?[^"]*)"', pages[0])]
    assert "Say why you search" in policed.get(kept).text


def test_the_script_of_the_page_sends_reasons_as_headers() -> None:
    script = (STATIC / "search.js").read_text()
    assert re.search(r"asked\.delete\(name\)", script)
    assert "x-pictor-" in script


@pytest.mark.parametrize(
    ("form", "status"), [({"id": "x" * 65}, 422), ({f"a{n}": "b" for n in range(60)}, 400)]
)
def test_a_form_that_cannot_be_is_refused(client: TestClient, form: dict[str, str], status: int) -> None:
    assert client.post("/", data=form).status_code == status


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


NEW = {"source": f"s3://{BUCKET}/new/", "collection": "more"}


def test_a_job_is_estimated_on_the_page_and_then_started_once(
    client: TestClient, deps: Deps, store: MemoryStore
) -> None:
    for number in (20, 21):
        store.put(BUCKET, f"new/{number}.png", distinct_png(number))
    page = client.post("/jobs", data=NEW)
    assert page.status_code == 200
    shown = dict(re.findall(r"<dt>([\w ]+)</dt><dd>([^<]*)</dd>", page.text))
    assert (shown["to index"], shown["time"]) == ("2", "unknown")
    assert deps.ledger.list_jobs(limit=1)[0].request.collection != "more", "an estimate makes nothing"
    form = fields_of(page.text)
    assert form | NEW == form
    started = [client.post("/jobs", data=form, follow_redirects=False) for _ in range(2)]
    assert {answer.status_code for answer in started} == {303}
    [address] = {answer.headers["location"] for answer in started}
    [job] = [job for job in deps.ledger.list_jobs() if job.request.collection == "more"]
    assert address == f"/jobs/{job.job_id}"
    assert client.get(address).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "status"),
    [({"source": "/etc"}, 403), ({"source": "s3://secrets/"}, 403), ({"collection": "a b"}, 400)],
)
@pytest.mark.parametrize("token", [{}, {"token": "t"}])
def test_a_job_that_cannot_be_is_said_on_the_page(
    client: TestClient, wrong: dict[str, str], token: dict[str, str], status: int
) -> None:
    page = client.post("/jobs", data=NEW | wrong | token)
    assert (page.status_code, 'role="alert"' in page.text) == (status, True)
    for text in wrong.values():
        assert f'value="{text}"' in page.text, "nobody has to type it again"


def test_who_may_not_submit_a_job_is_shown_no_form(deps: Deps, tmp_path: Path) -> None:
    backend = backend_of(deps, tmp_path)
    with client_with_keys(backend) as client:
        pages = {
            role: client.get("/jobs", headers=key_for(backend, role)).text
            for role in (KeyRole.SEARCHER, KeyRole.WRITER)
        }
        assert {role: "Estimate" in page for role, page in pages.items()} == {
            KeyRole.SEARCHER: False,
            KeyRole.WRITER: True,
        }
        refused = client.post("/jobs", data=NEW, headers=key_for(backend, KeyRole.SEARCHER))
        assert refused.status_code == 403


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "1 s"), (119, "119 s"), (120, "2 minutes"), (9000, "2 hours"), (2e6, "23 days")],
)
def test_a_time_is_told_in_the_unit_of_people(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


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
    assert len(files) == 6
    for path in files:
        assert re.findall(r"(?:https?|wss?):|url\(|@import|[\"'`]//", path.read_text()) == []


def test_the_reference_names_every_operation(client: TestClient) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page

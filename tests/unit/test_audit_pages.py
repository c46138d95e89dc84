"""The auditor's pages, as the service renders them. In Chromium they are looked at by test_serve.py."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from pipeline.api.backend import Backend
from pipeline.ports import Deps
from pipeline.service.face_ids import face_id_of
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import AuditKind, AuditRecord, Candidate, KeyRole, Probe, ReferenceDb
from tests.audit_records import NOON, erasure_of, search_by
from tests.unit.api_client import backend_of, client_of, client_with_keys, key_for
from tests.verifications import decision_on, search_to_verify

ODD = "<script>alert(1)</script>\n\"'é\u2028"


@pytest.fixture
def log() -> MemoryAuditLog:
    log = MemoryAuditLog()
    log.append([search_by("ann"), search_by("bob", minute=1, case_ref="C-7"), search_by(ODD, minute=2)])
    return log


@pytest.fixture
def backend(deps: Deps, tmp_path: Path, log: MemoryAuditLog) -> Backend:
    return backend_of(deps, tmp_path, log=log)


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    with client_of(backend) as client:
        yield client


def find(client: TestClient, **fields: str) -> Response:
    """Send the form of the page, as a browser does."""
    return client.post("/audit", data=fields)


def shown_entries(page: str) -> list[int]:
    return [int(index) for index in re.findall(r'href="/audit/entries/(\d+)"', page)]


@pytest.mark.parametrize(
    ("params", "entries"),
    [
        ({"actor": ""}, [2, 1, 0]),
        ({"actor": "bob", "kind": "", "decision": "", "since": ""}, [1]),
        ({"case": "C-7"}, [1]),
        ({"since": "2026-11-27T12:02", "until": "2026-11-27T12:03"}, [2]),
        ({"probe": "AB" * 32}, [2, 1, 0]),
        ({"probe": "1" * 32}, []),
        ({"candidate": "0" * 32, "actor": "ann"}, [0]),
        ({"decision": "refused"}, []),
        ({"before": "1"}, [0]),
        ({"refers_to": "0" * 32}, []),
    ],
)
def test_the_page_lists_what_its_fields_ask_for(
    client: TestClient, params: dict[str, str], entries: list[int]
) -> None:
    page = find(client, **params)
    assert page.status_code == 200
    assert shown_entries(page.text) == entries


@pytest.mark.parametrize("name", ["actor", "case", "purpose", "probe", "candidate", "subject"])
def test_what_names_a_person_or_a_reason_stands_in_no_address(client: TestClient, name: str) -> None:
    page = client.get("/audit", params={name: "0" * 32})
    assert (page.status_code, f"{name}: enter it on the page" in page.text) == (400, True)
    shown = find(client, **{name: "0" * 32, "kind": "search"}).text
    assert "0" * 32 in shown, "the field keeps it"
    links = re.findall(r'(?:href|action|formaction)="([^"]*)"', shown)
    assert not [link for link in links if "?" in link]


def test_a_link_may_say_which_kind_of_entries(client: TestClient) -> None:
    assert shown_entries(client.get("/audit", params={"kind": "search"}).text) == [2, 1, 0]
    assert shown_entries(client.get("/audit", params={"kind": "job"}).text) == []


def test_for_whom_a_report_is_stands_in_no_address(client: TestClient, log: MemoryAuditLog) -> None:
    page = client.get("/audit").text
    for path in re.findall(r'formaction="(/audit/reports/[a-z]+)"', page):
        form = {"since": "2026-01-01", "until": "2027-01-01", "format": "csv", "recipient": "Ms Roe"}
        answer = client.post(path, data=form)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
        assert "attachment" in answer.headers["content-disposition"]
        assert log_record(log, log.head().size - 1)["recipients"] == ["Ms Roe"]
    assert client.post("/audit/reports/usage", data={"since": "soon"}).status_code == 400
    assert "/v1/audit/reports" not in page


ROW = f"{'5' * 32}:07"
OTHER_ROW = f"{'5' * 32}:08"
QUESTIONS = [
    ("ab" * 32, ["by_picture", "by_row_and_shown"]),
    ("AB" * 32, ["by_picture", "by_row_and_shown"]),
    (ROW, ["by_row", "by_image", "shown", "by_row_and_shown"]),
    (face_id_of(ROW), ["by_row", "by_image", "shown", "by_row_and_shown"]),
    ("5" * 32, ["by_row", "by_image", "shown", "shown_another", "by_row_and_shown"]),
    ("7" * 32, []),
]


def searches_of_one_person() -> list[AuditRecord]:
    def by(actor: str, source: str, *shown: str) -> AuditRecord:
        is_upload = source == "upload"
        candidates = tuple(Candidate(id=id_, score=0.9, rank=rank) for rank, id_ in enumerate(shown, 1))
        probe = Probe(sha256="ab" * 32 if is_upload else "unknown", source=source)
        return search_by(actor, probe=probe, candidates=candidates)

    return [
        by("by_picture", "upload"),
        by("by_row", ROW, "9" * 32),
        by("by_image", "5" * 32),
        by("shown", "6" * 32, "9" * 32, ROW),
        by("shown_another", "6" * 32, OTHER_ROW),
        by("by_row_and_shown", "upload", ROW),
        by("nobody", "6" * 32, "9" * 32),
    ]


@pytest.mark.parametrize(("subject", "expected"), QUESTIONS)
def test_who_searched_for_a_person_is_found_by_picture_row_or_face(
    deps: Deps, tmp_path: Path, subject: str, expected: list[str]
) -> None:
    log = MemoryAuditLog()
    erased = search_by("gone")
    log.append([erased, *searches_of_one_person()])
    log.erase([erased.record_id], erasure_of([erased]))
    with client_of(backend_of(deps, tmp_path, log=log)) as client:
        page = find(client, subject=subject)
        assert page.status_code == 200, page.text
        actors = [log_record(log, index)["actor"]["id"] for index in shown_entries(page.text)]
    assert actors == expected[::-1]
    asked = json.loads(list(log.entries())[-1].record or b"")
    assert asked["details"]["query"]["subject"] == subject.lower(), "the question is an entry"


@pytest.mark.parametrize(
    ("subject", "expected", "said"),
    [
        ("person:Ann B", ["found_her", "by_person"], "found, rank 2, 0.800 alike"),
        ("person:Eve", ["found_her"], "found, rank 1, 0.900 alike"),
        ("person:ann b", [], None),  # ids of persons tell upper from lower case
    ],
)
def test_a_search_that_found_a_person_is_found_by_the_person(
    client: TestClient, log: MemoryAuditLog, subject: str, expected: list[str], said: str | None
) -> None:
    """Her candidate is one of her faces, of which an auditor need not know."""
    shown = (Candidate(id="6" * 32, score=0.9, rank=1), Candidate(id="9" * 32, score=0.8, rank=2))
    of_persons = {"group_by": "person", "persons": ["Eve", "Ann B"]}
    log.append(
        [
            search_by("by_person", probe=Probe(sha256="unknown", source="person:Ann B"), candidates=()),
            search_by("found_her", candidates=shown, details=of_persons),
            search_by("found_faces", candidates=shown),
        ]
    )
    page = find(client, subject=subject).text
    assert [log_record(log, index)["actor"]["id"] for index in shown_entries(page)] == expected
    assert said is None or said in page


def log_record(log: MemoryAuditLog, index: int) -> Any:
    return json.loads(next(log.entries(start=index)).record or b"")


def test_the_list_says_what_the_person_has_to_do_with_each_search(
    client: TestClient, log: MemoryAuditLog
) -> None:
    log.append(searches_of_one_person())
    page = find(client, subject=ROW).text
    assert page.count("searched for<") + page.count("searched for</td>") >= 2
    assert "found, rank 2, 0.900 alike" in page
    assert "found, rank" not in client.get("/audit").text


def test_the_page_of_a_search_has_its_chain_of_verification(backend: Backend, log: MemoryAuditLog) -> None:
    """Who searched, with what result, and who decided over it: each is a link to its entry."""
    search = search_to_verify("ann", candidates=(Candidate(id="0" * 32, score=0.9, rank=1),))
    log.append([search])
    for person in ("bob", "cat"):
        log.append([decision_on(search, person)])
    with client_of(backend) as client:
        page = client.get(f"/audit/entries/{search.record_id}").text
        assert "confirmed" in page
        links = re.findall(r'<a href="/audit/entries/([0-9a-f]{32})">(bob|cat)</a>: confirm', page)
        assert [person for _, person in links] == ["bob", "cat"]
        for record_id, person in links:
            decided = client.get(f"/audit/entries/{record_id}").text
            assert person in decided
            assert f'href="/audit/entries/{search.record_id}"' in decided
        for subject in ("0" * 32, "ab" * 32):
            assert f'form="ask" name="subject" value="{subject}"' in page
        listed = find(client, subject="0" * 32, actor="ann").text
    assert "1 confirmed" in listed


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"probe": "abc"}, "Searched with: a SHA-256"),
        ({"subject": "abc"}, "Person: the SHA-256"),
        ({"since": "yesterday"}, "From: a time such as"),
    ],
)
def test_a_field_that_cannot_be_is_said_on_the_page(
    client: TestClient, params: dict[str, str], said: str
) -> None:
    page = find(client, **params)
    assert (page.status_code, said in page.text) == (400, True)


def test_more_entries_are_found_under_the_same_filters(client: TestClient, log: MemoryAuditLog) -> None:
    log.append([search_by("eve", minute=minute) for minute in range(60)])
    first = find(client, actor="eve").text
    (form,) = re.findall(
        r'<form action="/audit" method="post">\s*<input type="hidden".*?</form>', first, re.DOTALL
    )
    older = {name: unescape(text) for name, text in re.findall(r'name="([a-z_]+)" value="([^"]*)"', form)}
    assert older.keys() == {"actor", "before"}
    second = find(client, **older).text
    assert len(shown_entries(first)) == 50
    assert shown_entries(first)[-1] > shown_entries(second)[0]
    assert len(shown_entries(second)) == 10


def test_the_record_on_the_page_is_the_record_of_the_entry(client: TestClient, log: MemoryAuditLog) -> None:
    page = client.get("/audit/entries/2").text
    found = re.search(r'<pre id="record"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert found
    entry = next(log.entries(start=2))
    assert json.loads(unescape(found[1])) == json.loads(entry.record or b"")
    assert f'data-commitment="{entry.commitment.hex()}"' in page
    assert log.vkey in unescape(page)
    assert "<script>alert" not in page


def test_an_erased_record_is_said_and_its_entry_is_still_proved(
    client: TestClient, log: MemoryAuditLog
) -> None:
    erased = search_by("gone")
    log.append([erased])
    log.erase([erased.record_id], erasure_of([erased]))
    page = client.get("/audit/entries/3").text
    assert "was erased" in page
    assert 'id="record"' not in page
    assert 'data-commitment="' in page


def test_what_follows_from_an_entry_is_found_from_its_page(client: TestClient, log: MemoryAuditLog) -> None:
    first = next(iter(log.entries()))
    client.get(f"/audit/entries/{first.record_id}")
    page = client.get("/audit", params={"refers_to": first.record_id}).text
    assert shown_entries(page) == [3], "the look at it"
    assert f'href="/audit/entries/{first.record_id}"' in client.get("/audit/entries/3").text


def test_each_page_is_an_entry_and_none_changes_an_earlier_one(
    client: TestClient, log: MemoryAuditLog
) -> None:
    before = list(log.entries())
    for path in ("/audit", "/audit/entries/0", "/audit/review"):
        assert client.get(path).status_code == 200
    entries = list(log.entries())
    assert entries[: len(before)] == before
    assert [entry.found_by["kind"] for entry in entries[len(before) :]] == [AuditKind.READ] * 3


def test_the_review_links_to_its_entries(client: TestClient, log: MemoryAuditLog) -> None:
    log.append([search_by("eve", minute=minute) for minute in range(5)])
    until = (NOON + timedelta(days=1)).strftime("%Y-%m-%d")
    page = client.get("/audit/review", params={"since": "2026-11-01", "until": until}).text
    assert "searched 5 times with one picture" in page
    assert shown_entries(page) == [3, 4, 5, 6, 7]
    assert client.get("/audit/review", params={"since": "soon"}).status_code == 400


def test_an_auditor_alone_sees_the_log_of_the_own_tenant(backend: Backend, log: MemoryAuditLog) -> None:
    log.append([search_by("secret", tenant="other", reference_db=ReferenceDb(collection="faces"))])
    with client_with_keys(backend) as client:
        auditor, admin = key_for(backend, KeyRole.AUDITOR), key_for(backend, KeyRole.ADMIN)
        assert "secret" not in client.get("/audit", headers=auditor).text
        assert client.get("/audit/entries/3", headers=auditor).status_code == 404
        for path in ("/audit", "/audit/review"):
            assert client.get(path, headers=admin).status_code == 403
        assert 'href="/audit"' in client.get("/jobs", headers=auditor).text
        assert 'href="/audit"' not in client.get("/jobs", headers=admin).text


def test_without_a_log_the_page_says_so(deps: Deps, tmp_path: Path, backend: Backend) -> None:
    backend.answers_to.log = None
    with client_of(backend) as client:
        page = client.get("/audit")
    assert (page.status_code, "PICTOR_AUDIT is off" in page.text) == (404, True)

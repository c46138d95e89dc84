"""Who searched for whom: entries found by what they say, and each look an entry of its own."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.client import audit_operations
from pipeline.errors import ArgumentError, AuditError, DeniedError, TransientError
from pipeline.ports import Deps
from pipeline.service import audit_search
from pipeline.service.access import Caller, local_caller, permissions_of
from pipeline.service.audit_search import Sought, search_log
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import (
    AuditKind,
    AuditOutcome,
    AuditQuery,
    AuditRecord,
    Candidate,
    Decision,
    KeyRole,
    Probe,
    ReferenceDb,
)
from tests.audit_records import NOON, search_by
from tests.golden.test_http_api import document
from tests.unit.api_client import backend_of, client_with_keys, key_for

ME = local_caller()
DIGEST = hashlib.sha256(b"picture").hexdigest()
IMAGE, OTHER = "1" * 32, "2" * 32
REFUSED = Decision(outcome=AuditOutcome.REFUSED, reason_code="purpose_unknown")


def auditor(*, tenant: str = "acme", collections: tuple[str, ...] = ("*",)) -> Caller:
    permissions = permissions_of([KeyRole.AUDITOR])
    return Caller(who="ada (k1)", permissions=permissions, tenant=tenant, collections=collections)


def log_with(*records: AuditRecord) -> MemoryAuditLog:
    log = MemoryAuditLog()
    log.append(records)
    return log


def found(sought: Sought, log: MemoryAuditLog, caller: Caller = ME, **rest: Any) -> list[int]:
    return [entry.index for entry in search_log(sought, log, caller, **{"limit": 100, **rest}).entries]


def reads_of(log: MemoryAuditLog) -> list[Mapping[str, Any]]:
    records = [json.loads(entry.record or b"{}") for entry in log.entries()]
    return [record for record in records if record["kind"] == AuditKind.READ]


@pytest.mark.parametrize(
    ("sought", "indexes"),
    [
        (Sought(), [5, 4, 3, 2, 1, 0]),
        (Sought(query=AuditQuery(actor="ann")), [0]),
        (Sought(query=AuditQuery(case_ref="C-7")), [1]),
        (Sought(query=AuditQuery(purpose_code="missing")), [2]),
        (Sought(query=AuditQuery(collection="faces", since=NOON + timedelta(minutes=4))), [5, 4]),
        (Sought(query=AuditQuery(until=NOON + timedelta(minutes=1))), [0]),
        (Sought(outcome=AuditOutcome.REFUSED), [3]),
        (Sought(probe_sha256=DIGEST), [4]),
        (Sought(probe_image=IMAGE), [5]),
        (Sought(probe_sha256=DIGEST, probe_image=IMAGE), [5, 4]),
        (Sought(probe_sha256=DIGEST, outcome=AuditOutcome.REFUSED), []),
        (Sought(candidate=OTHER), [5]),
    ],
)
def test_entries_are_found_by_what_they_say(sought: Sought, indexes: list[int]) -> None:
    log = log_with(
        search_by("ann"),
        search_by("bob", minute=1, case_ref="C-7"),
        search_by("bob", minute=2, purpose_code="missing"),
        search_by("bob", minute=3, decision=REFUSED),
        search_by("bob", minute=4, probe=Probe(sha256=DIGEST, source="upload")),
        search_by(
            "bob", minute=5, probe=Probe(source=IMAGE), candidates=(Candidate(id=OTHER, score=0.9, rank=1),)
        ),
    )
    assert found(sought, log) == indexes


@pytest.mark.parametrize(("candidate", "indexes"), [("person:ann", [0]), ("person:Ann", []), ("ann", [])])
def test_who_was_shown_a_person_is_found_by_the_person(candidate: str, indexes: list[int]) -> None:
    shown = (Candidate(id=OTHER, score=0.9, rank=1),)
    log = log_with(
        search_by("eve", candidates=shown, details={"group_by": "person", "persons": ["ann"]}),
        search_by("eve", minute=1, candidates=shown),
    )
    assert found(Sought(candidate=candidate), log) == indexes


@pytest.mark.parametrize("sought", [Sought(), Sought(outcome=AuditOutcome.ALLOWED)])
def test_pages_have_every_entry_once_and_the_last_one_says_so(sought: Sought) -> None:
    log = log_with(*(search_by("ann", minute=minute) for minute in range(7)))
    seen, before, pages = list[int](), None, 0
    while True:
        page = search_log(
            Sought(query=AuditQuery(kind=AuditKind.SEARCH), outcome=sought.outcome),
            log,
            ME,
            limit=3,
            before=before,
        )
        seen, pages, before = seen + [entry.index for entry in page.entries], pages + 1, page.before
        if before is None:
            break
    assert (seen, pages) == ([6, 5, 4, 3, 2, 1, 0], 3)
    assert len(reads_of(log)) == 3, "an entry for each page"


def test_a_page_reads_a_bounded_number_of_records_and_goes_on_where_it_stopped() -> None:
    log = log_with(search_by("ann", decision=REFUSED), *(search_by("ann") for _ in range(10)))
    refused = Sought(outcome=AuditOutcome.REFUSED)
    first = search_log(refused, log, ME, limit=5, scan=4)
    assert (first.entries, first.before) == ((), 7)
    assert found(refused, log, before=first.before, scan=None) == [0]


def test_a_question_is_recorded_with_its_conditions_before_its_answer_is_out() -> None:
    log = log_with(search_by("ann"))
    found(Sought(query=AuditQuery(actor="ann"), outcome=AuditOutcome.ALLOWED, probe_image=IMAGE), log)
    (read,) = reads_of(log)
    said = {"actor": "ann", "outcome": "allowed", "probe_image": IMAGE}
    assert read["details"] == {"query": said, "entries": 0}
    log.fail_next(TransientError("the disk is full"))
    with pytest.raises(AuditError, match="could not be recorded"):
        found(Sought(), log)


def test_an_auditor_sees_the_own_tenant_and_collections() -> None:
    of_secret = ReferenceDb(collection="secret")
    log = log_with(
        search_by("ann", tenant="acme"),
        search_by("bob", tenant="other"),
        search_by("eve", tenant="acme", reference_db=of_secret),
        search_by("joe", tenant="acme", reference_db=ReferenceDb()),
    )
    assert found(Sought(), log, auditor(collections=("faces",))) == [0]
    assert found(Sought(), log, auditor())[-3:] == [3, 2, 0]
    assert found(Sought(query=AuditQuery(tenant="other")), log, auditor(tenant="acme")) == [5, 4, 3, 2, 0]


def test_who_is_no_auditor_is_told_nothing_and_leaves_no_entry() -> None:
    log = log_with(search_by("ann"))
    caller = Caller(who="ann", permissions=permissions_of([KeyRole.ADMIN]))
    with pytest.raises(DeniedError):
        found(Sought(), log, caller)
    assert reads_of(log) == []


@pytest.mark.parametrize("limit", [0, audit_search.MAX_PAGE_ENTRIES + 1])
def test_a_page_has_a_size(limit: int) -> None:
    with pytest.raises(ArgumentError, match="1 to 1000"):
        found(Sought(), log_with(), limit=limit)


@pytest.fixture
def log() -> MemoryAuditLog:
    return log_with(*(search_by(name, minute=minute) for minute, name in enumerate(("ann", "bob", "bob"))))


@pytest.fixture
def asked(deps: Deps, tmp_path: Path, log: MemoryAuditLog) -> tuple[TestClient, dict[str, str]]:
    backend = backend_of(deps, tmp_path, log=log)
    return client_with_keys(backend), key_for(backend, KeyRole.AUDITOR)


def test_the_service_lists_entries_page_by_page(asked: tuple[TestClient, dict[str, str]]) -> None:
    client, headers = asked
    given = {"actor": "bob", "max_results": "1"}
    first = client.get("/v1/audit/entries", params=given, headers=headers).json()
    assert [entry["index"] for entry in first["entries"]] == [2]
    assert first["entries"][0]["record"]["actor"]["id"] == "bob"
    token = {"next_token": first["next_token"]}
    second = client.get("/v1/audit/entries", params=given | token, headers=headers).json()
    assert ([entry["index"] for entry in second["entries"]], second["next_token"]) == ([1], None)
    forged = client.get("/v1/audit/entries", params={"next_token": "MTAw"}, headers=headers)
    assert (forged.status_code, forged.json()["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize(
    ("params", "indexes"),
    [
        ({"since": "2026-11-27T12:02:00Z", "kind": "search"}, [2]),
        ({"since": "2026-11-27T12:02:00", "kind": "search"}, [2]),
        ({"until": "2026-11-27T14:01:00+02:00"}, [0]),
        ({"decision": "refused"}, []),
        ({"probe": "ab" * 32, "candidate": "0" * 32, "collection": "faces"}, [2, 1, 0]),
    ],
)
def test_the_service_reads_every_condition(
    asked: tuple[TestClient, dict[str, str]], params: dict[str, str], indexes: list[int]
) -> None:
    client, headers = asked
    listed = client.get("/v1/audit/entries", params=params, headers=headers).json()["entries"]
    assert [entry["index"] for entry in listed] == indexes


def test_what_is_sought_is_sent_in_a_body(asked: tuple[TestClient, dict[str, str]]) -> None:
    client, headers = asked
    given = {"actor": "bob", "max_results": 1}
    first = client.post("/v1/audit/search", json=given, headers=headers).json()
    by_address = client.get(
        "/v1/audit/entries", params={"actor": "bob", "until": "2026-11-27T14:03:00Z"}, headers=headers
    )
    assert first["entries"] == by_address.json()["entries"][:1]
    token = {"next_token": first["next_token"]}
    second = client.post("/v1/audit/search", json=given | token, headers=headers).json()
    assert ([entry["index"] for entry in second["entries"]], second["next_token"]) == ([1], None)


@pytest.mark.parametrize(
    "body", [{"probe": "abc"}, {"kind": "rumour"}, {"since": "yesterday"}, {"person": "bob"}]
)
def test_a_body_that_cannot_be_is_refused(
    asked: tuple[TestClient, dict[str, str]], body: dict[str, str]
) -> None:
    client, headers = asked
    assert client.post("/v1/audit/search", json=body, headers=headers).status_code == 422
    assert client.post("/v1/audit/reports/extract", json=body, headers=headers).status_code == 422


def test_an_address_that_tells_who_is_looked_for_is_deprecated() -> None:
    """For every route of the log, so that a new one is no exception."""
    told = {"actor", "case", "purpose", "probe", "image", "candidate", "recipient"}
    routes = {path: item for path, item in document()["paths"].items() if path.startswith("/v1/audit")}
    parameters = [each for item in routes.values() for each in item.get("get", {}).get("parameters", [])]
    assert {each["name"] for each in parameters} >= told
    assert {each["name"] for each in parameters if each.get("deprecated")} == told


def test_the_client_puts_nobody_into_an_address() -> None:
    who, case = "Ann Example", "2026-17"
    search = audit_operations.search_audit(actor=who, case=case, probe=b"picture").call("")
    report = audit_operations.audit_report("extract", actor=who, case=case)
    assert (search.method, search.params, report.method, report.params) == ("POST", {}, "POST", {})
    for body in (search.body, report.body):
        assert {"actor": who, "case": case}.items() <= json.loads(body or b"{}").items()


@pytest.mark.parametrize("params", [{"probe": "abc"}, {"kind": "rumour"}, {"since": "yesterday"}])
def test_a_condition_that_cannot_be_is_refused(
    asked: tuple[TestClient, dict[str, str]], params: dict[str, str]
) -> None:
    client, headers = asked
    assert client.get("/v1/audit/entries", params=params, headers=headers).status_code == 422


def test_the_service_makes_reports_as_files(asked: tuple[TestClient, dict[str, str]]) -> None:
    client, headers = asked
    page = client.get("/v1/audit/reports/usage", params={"format": "html"}, headers=headers)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-disposition"] == 'attachment; filename="pictor-usage.html"'
    params = {"actor": "bob", "since": "2026-11-27T12:02:00", "recipient": "the court"}
    extract = client.get("/v1/audit/reports/extract", params=params, headers=headers).json()
    assert [row["entry"] for row in extract["tables"]["entries"]["rows"]] == [2]
    sent = client.post("/v1/audit/reports/extract", json=params, headers=headers).json()
    assert sent["tables"]["entries"]["rows"] == extract["tables"]["entries"]["rows"]
    refused = client.get("/v1/audit/reports/annual", params={"actor": "bob"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_argument")

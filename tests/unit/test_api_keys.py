"""The service with keys: who is let in, who is told what is missing, and how somebody signs in."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.backend import Backend
from pipeline.api.middleware.callers import SESSION_COOKIE
from pipeline.api.problems import MEDIA_TYPE
from pipeline.api.routes import health
from pipeline.errors import TransientError
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps, ImageEmbedder
from pipeline.service.access import local_caller
from pipeline.service.keys import list_keys, revoke_key
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import JobState, KeyRole, Reason, image_id_of
from tests.accountable import NO_LOG
from tests.unit.api_client import backend_of, client_of, client_with_keys, key_for
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    HERE,
    LIMITS,
    FakeEmbedder,
    distinct_png,
    plan_one_batch,
    request_of,
)
from tests.unit.test_api_pages import failed_job

ME = local_caller()
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OPEN = ["/livez", "/readyz", "/docs", "/openapi.json", "/problems", "/problems/denied", "/static/style.css"]


@pytest.fixture
def backend(deps: Deps, tmp_path: Path) -> Backend:
    return backend_of(deps, tmp_path)


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    with client_with_keys(backend) as client:
        yield client


def code_of(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == MEDIA_TYPE, answer.text
    return answer.status_code, answer.json()["code"]


NO_KEYS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "an empty one": {"authorization": "Bearer "},
    "another scheme": {"authorization": "Basic cGljdG9yOnBpY3Rvcg=="},
    "a text that is no key": {"authorization": "Bearer secret"},
    "a key that nobody has": {"authorization": "Bearer pictor_sk_" + "0" * 55 + "000000"},
    "bytes": {"authorization": b"Bearer \xff\xfe"},
    "a session that nobody has": {"cookie": f"{SESSION_COOKIE}=abc"},
    "an empty session": {"cookie": f"{SESSION_COOKIE}="},
}


@pytest.mark.parametrize("name", NO_KEYS)
def test_without_a_valid_key_nobody_is_answered(client: TestClient, name: str) -> None:
    for method, path in (("GET", "/v1/collections"), ("POST", "/v1/jobs"), ("POST", "/results")):
        answer = client.request(method, path, headers=NO_KEYS[name])
        assert code_of(answer) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", OPEN)
def test_what_belongs_to_nobody_is_answered_to_everybody(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_path_that_is_not_there_tells_a_stranger_nothing(client: TestClient) -> None:
    assert code_of(client.get("/v1/none"))[0] == 401
    assert code_of(client.get("/livez/../v1/collections"))[0] == 401


def test_a_key_opens_what_its_role_may_do_and_nothing_else(client: TestClient, backend: Backend) -> None:
    searcher, admin = key_for(backend, KeyRole.SEARCHER), key_for(backend, KeyRole.ADMIN)
    assert client.get("/v1/collections", headers=searcher).status_code == 200
    refused = client.delete(f"/v1/collections/{COLLECTION}", headers=searcher)
    assert code_of(refused) == (403, "denied")
    assert client.delete(f"/v1/collections/{COLLECTION}", headers=admin).status_code == 204


WITH_A_MODEL: dict[str, dict[str, str]] = {
    "/v1/collections": {"name": "more", "model": "torchvision/resnet50"},
    "/v1/jobs": {"source": "s3://photos/cam1/", "model": "torchvision/resnet50"},
    "/v1/jobs/estimate": {"source": "s3://photos/cam1/", "model": "torchvision/resnet50"},
}


@pytest.mark.parametrize("path", WITH_A_MODEL)
def test_who_may_not_write_has_no_model_fetched(backend: Backend, path: str) -> None:
    """The weights of a model may come over the network, and fill a disk."""
    asked: list[str] = []

    def model_for(address: str, _collection: str) -> ImageEmbedder:
        asked.append(address)
        return FakeEmbedder()

    with client_with_keys(replace(backend, model_for=model_for)) as client:
        answer = client.post(path, json=WITH_A_MODEL[path], headers=key_for(backend, KeyRole.SEARCHER))
        assert code_of(answer) == (403, "denied")
        assert asked == []
        answer = client.post(path, json=WITH_A_MODEL[path], headers=key_for(backend, KeyRole.WRITER))
        assert set(asked) == {"torchvision/resnet50"}, answer.text


def test_the_key_of_anothers_job_is_no_way_around_the_role(client: TestClient, backend: Backend) -> None:
    once = {"idempotency-key": "monday"}
    job = {"source": "s3://photos/cam1/"}
    writer, searcher = key_for(backend, KeyRole.WRITER), key_for(backend, KeyRole.SEARCHER)
    assert client.post("/v1/jobs", json=job, headers=writer | once).status_code == 202
    assert code_of(client.post("/v1/jobs", json=job, headers=searcher | once)) == (403, "denied")


def test_no_picture_of_a_bucket_that_was_not_granted_is_drawn(
    client: TestClient, backend: Backend, deps: Deps, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(BUCKET, "a.png", distinct_png(1))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    job_id = failed_job(deps, ("a.png", Reason.TRUNCATED))
    image_id = image_id_of(BUCKET, "a.png")
    paths = [
        f"/v1/collections/{COLLECTION}/images/{image_id}/thumbnail",
        f"/v1/jobs/{job_id}/failures/{image_id}/thumbnail",
    ]
    granted, other = (key_for(backend, KeyRole.SEARCHER, buckets=[name]) for name in (BUCKET, "others"))
    assert [client.get(path, headers=granted).status_code for path in paths] == [200, 200]
    monkeypatch.setattr(store, "get", pytest.fail)
    monkeypatch.setattr(store, "stat", pytest.fail)
    for path in paths:
        assert code_of(client.get(path, headers=other)) == (403, "denied")


def test_only_who_may_cancel_jobs_begins_one_anew(client: TestClient, backend: Backend) -> None:
    """The unfinished job of the same source is cancelled, and may be somebody else's."""
    job = {"source": "s3://photos/cam1/", "restart": True}
    writer, admin = key_for(backend, KeyRole.WRITER), key_for(backend, KeyRole.ADMIN)
    first = client.post("/v1/jobs", json=job | {"restart": False}, headers=writer).json()["job_id"]
    assert code_of(client.post("/v1/jobs", json=job, headers=writer)) == (403, "denied")
    assert backend.ledger.get_job(first).state is JobState.RUNNING
    assert client.post("/v1/jobs", json=job, headers=admin).status_code == 202
    assert backend.ledger.get_job(first).state is JobState.CANCELLED


def test_the_parts_of_the_service_are_explained_to_who_runs_it_alone(
    client: TestClient, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors name hosts, buckets and collections."""
    told = {role: key_for(backend, role) for role in (KeyRole.SEARCHER, KeyRole.ADMIN)}

    def away(**_: object) -> None:
        raise TransientError("10.0.0.7 does not answer")

    monkeypatch.setattr(backend.ledger, "list_jobs", away)
    strangers: list[Any] = [{}, {"authorization": "Bearer none"}, {"cookie": f"{SESSION_COOKIE}=none"}]
    for headers in (*strangers, told[KeyRole.SEARCHER]):
        answer = client.get("/readyz", headers=headers)
        assert (answer.status_code, answer.json()["parts"]["ledger"]) == (503, "not_ready"), headers
        assert "10.0.0.7" not in answer.text
    answer = client.get("/readyz", headers=told[KeyRole.ADMIN])
    assert answer.json()["parts"]["ledger"] == "10.0.0.7 does not answer"


def test_readiness_is_told_though_nobody_can_look_at_the_key(
    client: TestClient, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = key_for(backend, KeyRole.ADMIN)
    frozen = threading.Event()
    monkeypatch.setattr(backend.keys, "find_key", lambda _: frozen.wait(30) and None)
    monkeypatch.setattr(health, "KEY_S", 0.01)
    try:
        assert client.get("/readyz", headers=admin).json()["status"] == "ready"
    finally:
        frozen.set()


def test_a_body_of_a_stranger_is_not_read(client: TestClient) -> None:
    """It would be 413 if it were: the key is looked at first."""
    answer = client.post("/v1/jobs", content=b"x" * (17 * 2**20))
    assert code_of(answer) == (401, "unauthenticated")


def test_keys_are_made_shown_rotated_and_revoked_over_http(client: TestClient, backend: Backend) -> None:
    admin = key_for(backend, KeyRole.ADMIN)
    wanted = {"name": "shop", "roles": ["searcher"], "collections": ["images"], "expires_in_days": 1}
    made = client.post("/v1/keys", json=wanted, headers=admin)
    assert made.status_code == 201
    secret, path = made.json()["secret"], made.headers["location"]
    shop = {"authorization": f"Bearer {secret}"}
    assert client.get("/v1/collections", headers=shop).status_code == 200
    listed = client.get("/v1/keys", headers=admin)
    assert secret not in listed.text
    assert len(listed.json()["keys"]) == 2
    assert client.get(path, headers=admin).json()["last_used_at"] is not None
    rotated = client.post(f"{path}/rotate", json={"overlap_hours": 1}, headers=admin).json()
    assert rotated["replaces"] == made.json()["id"]
    again = {"authorization": f"Bearer {rotated['secret']}"}
    for headers in (shop, again):
        assert client.get("/v1/collections", headers=headers).status_code == 200
    assert client.delete(path, headers=admin).status_code == 204
    assert client.get(path, headers=admin).json()["revoked_at"] is not None
    assert code_of(client.get("/v1/keys/none", headers=admin)) == (404, "not_found")
    assert code_of(client.get("/v1/keys", headers=again)) == (403, "denied")


def test_without_the_ledger_nobody_is_let_in(
    client: TestClient, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = key_for(backend, KeyRole.ADMIN)

    def away(_: str) -> None:
        raise TransientError("the ledger is away")

    monkeypatch.setattr(backend.keys, "find_key", away)
    assert code_of(client.get("/v1/collections", headers=headers)) == (503, "unavailable")


@pytest.mark.parametrize(
    ("acts", "person", "status"),
    [
        (True, "ada@example.org", 200),
        (False, "ada@example.org", 403),
        (True, "x" * 201, 400),
        (False, "", 200),
    ],
)
def test_only_a_key_that_may_says_on_whose_behalf_it_asks(
    client: TestClient, backend: Backend, acts: bool, person: str, status: int
) -> None:
    headers = key_for(backend, KeyRole.SEARCHER, acts_for_others=acts) | {"x-pictor-on-behalf-of": person}
    assert client.get("/v1/collections", headers=headers).status_code == status


def test_a_stream_of_events_ends_when_its_key_is_revoked(
    client: TestClient, backend: Backend, ledger: SqlLedger
) -> None:
    headers = key_for(backend, KeyRole.SEARCHER)
    (key,) = list_keys(backend.keys, ME)
    job_id = ledger.create_job(request_of(), driver=HERE).job_id
    revoked = ledger.get_job

    def revoke(job_id: str) -> Any:
        """As soon as the stream has begun to look at the job."""
        revoke_key(key.key_id, backend.keys, NO_LOG, ME)
        return revoked(job_id)

    ledger.get_job = revoke  # type: ignore[method-assign]
    answer = client.get(f"/v1/jobs/{job_id}/events", headers=headers)  # comes back: the job goes on
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert json.loads(events[0].removeprefix("data: "))["state"] == JobState.RUNNING.value


# Pages


def test_a_page_leads_to_the_sign_in_and_back(client: TestClient, backend: Backend) -> None:
    asked = client.get("/jobs?x=1", headers=BROWSER, follow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=%2Fjobs%3Fx%3D1")
    form = client.get(asked.headers["location"])
    assert 'value="/jobs?x=1"' in form.text
    text = key_for(backend, KeyRole.ADMIN)["authorization"].removeprefix("Bearer ")
    signed_in = client.post("/sign-in", data={"key": text, "next": "/jobs?x=1"}, follow_redirects=False)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/jobs?x=1")
    cookie = signed_in.headers["set-cookie"]
    assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.lower().split("; "))
    assert text not in cookie
    page = client.get("/jobs")
    assert "Sign out" in page.text
    assert "no keys" not in page.text
    assert client.get("/v1/collections").status_code == 200  # pictures and buttons of the pages
    signed_out = client.post("/sign-out", follow_redirects=False)
    assert signed_out.headers["location"] == "/sign-in"
    client.cookies.set(SESSION_COOKIE, re.findall(rf"{SESSION_COOKIE}=([^;]+)", cookie)[0])
    assert client.get("/jobs", headers=BROWSER, follow_redirects=False).status_code == 303
    assert code_of(client.get("/jobs")) == (401, "unauthenticated")  # of a program


def test_over_tls_the_session_travels_over_tls_alone(client: TestClient, backend: Backend) -> None:
    text = key_for(backend, KeyRole.ADMIN)["authorization"].removeprefix("Bearer ")
    behind_a_proxy = {"x-forwarded-proto": "https"}
    answer = client.post("/sign-in", data={"key": text}, headers=behind_a_proxy, follow_redirects=False)
    assert "secure" in answer.headers["set-cookie"].lower().split("; ")


@pytest.mark.parametrize("text", ["", "wrong", "pictor_sk_" + "0" * 61, "<script>"])
def test_a_wrong_key_is_told_on_the_page(client: TestClient, text: str) -> None:
    answer = client.post("/sign-in", data={"key": text})
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "<script>" not in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example", "/\\evil.example", "x", "/a\nb"])
def test_the_sign_in_leads_to_no_other_site(client: TestClient, backend: Backend, next_: str) -> None:
    text = key_for(backend, KeyRole.ADMIN)["authorization"].removeprefix("Bearer ")
    answer = client.post("/sign-in", data={"key": text, "next": next_}, follow_redirects=False)
    assert answer.headers["location"] == "/"


def test_another_site_signs_nobody_in_or_out(client: TestClient) -> None:
    for path in ("/sign-in", "/sign-out"):
        answer = client.post(path, data={"key": "k"}, headers={"origin": "https://evil.example"})
        assert code_of(answer) == (403, "cross_site")


# Without keys


def test_without_keys_nobody_is_asked_to_sign_in(backend: Backend) -> None:
    with client_of(backend) as client:
        assert client.get("/v1/collections").status_code == 200
        assert client.get("/sign-in", follow_redirects=False).headers["location"] == "/"
        assert client.post("/sign-in", data={"key": "k"}, follow_redirects=False).headers["location"] == "/"
        assert "Sign out" not in client.get("/").text
        assert client.get("/v1/keys").json() == {"keys": []}


# Other sites


@pytest.mark.parametrize("path", ["/v1/collections", "/livez", "/"])
def test_no_page_of_another_site_may_read_an_answer(client: TestClient, path: str) -> None:
    for method in ("GET", "OPTIONS"):
        asked = {"origin": "https://evil.example", "access-control-request-method": "GET"}
        answer = client.request(method, path, headers=asked, follow_redirects=False)
        assert not [name for name in answer.headers if name.startswith("access-control-")]

"""One image over HTTP: indexed by reference or by upload, with a job of its own."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipeline.api.backend import Backend
from pipeline.embedded import DriverOptions, run_job
from pipeline.ports import Deps
from pipeline.service.index_image import ONE_IMAGE
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import IndexRow, JobState, KeyRole, image_id_of
from tests.unit.api_client import backend_of, client_of, client_with_keys, key_for
from tests.unit.fakes import BUCKET, COLLECTION, HERE, LIMITS, SPEC, distinct_png, request_of

IMAGES = f"/v1/collections/{COLLECTION}/images"


class RunsAtOnce:
    """A runner whose jobs are over when `start` returns."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def start(self, job_id: str) -> None:
        job = self._deps.ledger.get_job(job_id)
        if job.state is JobState.RUNNING:
            run_job(job, self._deps, LIMITS, DriverOptions(retry_delays_s=()), on_progress=lambda _: None)

    def has(self, job_id: str) -> bool:
        return False


@pytest.fixture
def backend(deps: Deps, tmp_path: Path) -> Backend:
    deps.index.create_collection(COLLECTION, SPEC)
    return backend_of(deps, tmp_path, runner=RunsAtOnce(deps))


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    with client_of(backend) as client:
        yield client


def reference(key: str, bucket: str = BUCKET) -> dict[str, object]:
    return {"object": {"bucket": bucket, "key": key}}


def rows(deps: Deps, *keys: str) -> list[IndexRow]:
    return deps.index.get_rows(deps.index.live(COLLECTION), [image_id_of(BUCKET, key) for key in keys])


ODD_KEYS = ("a.png", "in/[b]*?.png", "no suffix", ".hidden.png", "notes.txt", "ä😀.png")


@pytest.mark.parametrize("key", ODD_KEYS)
def test_an_object_is_indexed_alone_whatever_its_name(
    client: TestClient, deps: Deps, store: MemoryStore, key: str
) -> None:
    others = (f"{key}.bak.png", f"{key}/{key}", f"in/{key}2", "b.png")
    for number, name in enumerate((key, *others)):
        store.put(BUCKET, name, distinct_png(number))
    answer = client.post(IMAGES, json=reference(key))
    accepted = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{accepted['job']['job_id']}")
    assert accepted["job"]["job_id"].startswith(ONE_IMAGE)
    assert client.get(f"{IMAGES}/{accepted['id']}").json()["key"] == key
    assert [row.ref.key for row in rows(deps, key, *others)] == [key]
    assert client.get(answer.headers["location"]).json()["indexed"] == 1


def test_a_picture_is_kept_and_indexed_once(client: TestClient, deps: Deps, store: MemoryStore) -> None:
    picture = distinct_png(5)
    first, again = (client.post(f"{IMAGES}/upload", content=picture).json() for _ in range(2))
    key = f"uploads/default/{hashlib.sha256(picture).hexdigest()}"
    assert (first["bucket"], first["key"], again["id"]) == (BUCKET, key, first["id"])
    assert store.get(store.stat(BUCKET, key), max_bytes=10**6).body == picture
    [row] = rows(deps, key)
    assert client.get(f"/v1/jobs/{again['job']['job_id']}").json()["unchanged"] == 1
    found = client.post(f"/v1/collections/{COLLECTION}/search", json={"query": {"id": row.id}, "k": 1})
    assert found.json()["answers"][0]["hits"][0]["key"] == key
    assert client.get(f"{IMAGES}/{row.id}/thumbnail").status_code == 200


def test_what_is_indexed_one_by_one_takes_nothing_else_away(
    client: TestClient, deps: Deps, store: MemoryStore
) -> None:
    for number in (1, 2):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
        client.post(IMAGES, json=reference(f"{number}.png"))
    store.delete(BUCKET, "1.png")
    store.put(BUCKET, "2.png", distinct_png(9))
    client.post(IMAGES, json=reference("2.png"))
    assert len(rows(deps, "1.png", "2.png")) == 2


def test_a_request_that_is_sent_again_is_one_job(client: TestClient, store: MemoryStore) -> None:
    store.put(BUCKET, "a.png", distinct_png(1))
    headers = {"Idempotency-Key": "key-1"}
    first, again = (client.post(IMAGES, json=reference("a.png"), headers=headers).json() for _ in range(2))
    assert first["job"]["job_id"] == again["job"]["job_id"]
    other = client.post(f"{IMAGES}/upload", content=distinct_png(2), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")


def test_jobs_of_one_image_do_not_fill_the_lists_of_jobs(
    client: TestClient, store: MemoryStore, backend: Backend
) -> None:
    large = backend.ledger.create_job(request_of(), driver=HERE).job_id
    store.put(BUCKET, "a.png", distinct_png(1))
    for _ in range(3):
        assert client.post(IMAGES, json=reference("a.png")).status_code == 202
    listed = client.get("/v1/jobs", params={"max_results": 1}).json()
    assert ([job["job_id"] for job in listed["jobs"]], listed["next_token"]) == ([large], None)
    all_of_them = client.get("/v1/jobs", params={"of_one_image": True}).json()["jobs"]
    assert len(all_of_them) == 4
    assert "/jobs/one-" not in client.get("/jobs").text
    [more] = re.findall(r'href="(/jobs\?[^"]*)"', client.get("/jobs").text)
    assert client.get(more).text.count("/jobs/one-") == 3


REFUSED = {
    "an object that is not there": (reference("none.png"), 404, "not_found"),
    "an object of another bucket": (reference("a.png", "secrets"), 403, "denied"),
    "a file of the machine": (reference("hostname", "/etc"), 403, "denied"),
    "no object": ({}, 422, "invalid_request"),
    "a picture as text": ({"image": "aGVsbG8="}, 422, "invalid_request"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_object_that_cannot_be_indexed_is_refused(client: TestClient, backend: Backend, name: str) -> None:
    body, status, code = REFUSED[name]
    answer = client.post(IMAGES, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert backend.ledger.list_jobs() == []


def test_no_collection_is_made_by_the_way(client: TestClient, deps: Deps, store: MemoryStore) -> None:
    store.put(BUCKET, "a.png", distinct_png(1))
    for answer in (
        client.post("/v1/collections/none/images", json=reference("a.png")),
        client.post("/v1/collections/none/images/upload", content=distinct_png(1)),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert [info.name for info in deps.index.list_collections()] == [COLLECTION]


@pytest.mark.parametrize("body", [b"hello", distinct_png(1)[:60]])
def test_what_is_no_picture_is_not_kept(client: TestClient, store: MemoryStore, body: bytes) -> None:
    answer = client.post(f"{IMAGES}/upload", content=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "image_rejected")
    assert list(store.list_objects(BUCKET)) == []


def test_a_service_without_a_place_keeps_nothing(backend: Backend) -> None:
    with client_of(replace(backend, uploads=None)) as client:
        answer = client.post(f"{IMAGES}/upload", content=distinct_png(1))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "PICTOR_UPLOADS" in answer.json()["detail"]


def test_tenants_keep_their_pictures_apart_and_searchers_keep_none(
    backend: Backend, store: MemoryStore
) -> None:
    with client_with_keys(backend) as client:
        searcher = key_for(backend, KeyRole.SEARCHER)
        denied = client.post(f"{IMAGES}/upload", content=distinct_png(1), headers=searcher)
        assert (denied.status_code, denied.json()["code"]) == (403, "denied")
        elsewhere = key_for(backend, KeyRole.WRITER, buckets=("others",))
        denied = client.post(f"{IMAGES}/upload", content=distinct_png(1), headers=elsewhere)
        assert denied.status_code == 403
        assert list(store.list_objects(BUCKET)) == []

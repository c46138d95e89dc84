"""The HTTP service over the world in memory: what is answered, and with which status."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.backend import Backend
from pipeline.api.problems import KINDS, MEDIA_TYPE
from pipeline.errors import TransientError
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps, ImageEmbedder
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    BatchReport,
    FailedAt,
    FetchedObject,
    JobState,
    ObjectRef,
    PlannedBatch,
    Reason,
    Rejected,
    image_id_of,
)
from tests.unit.api_client import NotedJobs, backend_of, client_of
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    CONCURRENCY,
    HERE,
    LIMITS,
    OTHER_SPEC,
    SPEC,
    FakeEmbedder,
    distinct_png,
    plan_one_batch,
    request_of,
)
from tests.unit.test_late_batches import BeforeDeleting, embed, plan

KEYS = [f"{number}.png" for number in range(6)]
SEARCH = f"/v1/collections/{COLLECTION}/search"


@pytest.fixture
def backend(deps: Deps, store: MemoryStore, tmp_path: Path) -> Backend:
    for number, key in enumerate(KEYS):
        store.put(BUCKET, key, distinct_png(number), {"parity": str(number % 2)})
    run_batch(plan_one_batch(deps), deps, LIMITS)
    return backend_of(deps, tmp_path)


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    with client_of(backend) as client:
        yield client


def id_of(key: str) -> str:
    return image_id_of(BUCKET, key)


def keys_of(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["key"] for hit in answer.json()["answers"][0]["hits"]]


def problem_of(answer: httpx2.Response) -> dict[str, Any]:
    """The document, once it is one."""
    assert answer.headers["content-type"] == MEDIA_TYPE
    document: dict[str, Any] = answer.json()
    assert document["status"] == answer.status_code
    assert document["type"] == f"/problems/{document['code']}"
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


# Search

BY_EVERY_WAY: dict[str, Callable[[TestClient], httpx2.Response]] = {
    "id": lambda c: c.post(SEARCH, json={"query": {"id": id_of("3.png")}, "k": 2}),
    "object": lambda c: c.post(
        SEARCH, json={"query": {"object": {"bucket": BUCKET, "key": "3.png"}}, "k": 2}
    ),
    "base64": lambda c: c.post(
        SEARCH, json={"query": {"image": base64.b64encode(distinct_png(3)).decode()}, "k": 2}
    ),
    "body": lambda c: c.post(f"{SEARCH}/image", params={"k": 2}, content=distinct_png(3)),
}


@pytest.mark.parametrize("way", BY_EVERY_WAY)
def test_the_example_is_nearest_to_itself_whatever_way_it_comes(client: TestClient, way: str) -> None:
    answer = BY_EVERY_WAY[way](client)
    found = keys_of(answer)
    assert (len(found), found[0]) == (2, "3.png")
    assert answer.json()["answers"][0]["hits"][0]["score"] == pytest.approx(1)


def test_a_vector_is_taken_as_it_is(client: TestClient, deps: Deps) -> None:
    (row,) = deps.index.get_rows(deps.index.live(COLLECTION), [id_of("2.png")])
    vector = [float(value) for value in row.vector * 5]  # of any length but 0
    assert keys_of(client.post(SEARCH, json={"query": {"vector": vector}, "k": 1})) == ["2.png"]


def test_a_batch_answers_each_query_and_says_which_could_not_be_read(client: TestClient) -> None:
    unknown = "0" * 32
    body = {"queries": [{"id": id_of("1.png")}, {"id": unknown}, {"id": id_of("0.png")}], "k": 1}
    answers = client.post(f"{SEARCH}/batch", json=body).json()["answers"]
    assert [[hit["key"] for hit in answer["hits"]] for answer in answers] == [["1.png"], [], ["0.png"]]
    assert answers[1]["code"] == "not_found"
    assert "error" not in answers[0]


def test_filter_and_threshold_are_applied(client: TestClient) -> None:
    query = {"query": {"id": id_of("1.png")}}
    assert keys_of(client.post(SEARCH, json=query | {"filter": {"prefix": "4"}})) == ["4.png"]
    assert keys_of(client.post(SEARCH, json=query | {"min_score": 0.9999})) == ["1.png"]


def test_a_search_counts_no_rows_to_say_which_model_answers(
    client: TestClient, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(*_: object) -> None:
        raise AssertionError("the rows were counted")

    client.post(SEARCH, json={"query": {"id": id_of("3.png")}})  # its record needs a count, once in a while
    monkeypatch.setattr(backend.index, "get_collection", counted)
    monkeypatch.setattr(backend.index, "get_generation", counted)
    answer = client.post(SEARCH, json={"query": {"id": id_of("3.png")}}).json()
    assert [answer[name] for name in ("collection", "model", "fingerprint")] == [
        COLLECTION,
        SPEC.name,
        SPEC.fingerprint,
    ]
    by_vector = client.post(SEARCH, json={"query": {"vector": [1.0] + [0.0] * (SPEC.dim - 1)}})
    assert by_vector.status_code == 200, by_vector.text


def test_a_search_in_no_collection_names_those_that_are_there(client: TestClient) -> None:
    answer = client.post("/v1/collections/none/search", json={"query": {"id": "0" * 32}})
    assert problem_of(answer)["code"] == "not_found"
    assert f"there are: {COLLECTION}" in problem_of(answer)["detail"]


def test_a_condition_leaves_out_what_it_does_not_hold_for(client: TestClient) -> None:
    parity = {"field": "metadata.parity", "eq": "1"}
    query = {"query": {"id": id_of("1.png")}, "filter": {"where": parity}}
    assert sorted(keys_of(client.post(SEARCH, json=query))) == ["1.png", "3.png", "5.png"]
    by_picture = client.post(f"{SEARCH}/image", params={"where": json.dumps(parity)}, content=distinct_png(3))
    assert sorted(keys_of(by_picture)) == ["1.png", "3.png", "5.png"]
    both = {"and": [parity, {"field": "indexed_at", "gte": "2020-01-01"}, {"field": "width", "lt": 4}]}
    assert keys_of(client.post(SEARCH, json=query | {"filter": {"where": both}})) == []
    wrong = client.post(SEARCH, json=query | {"filter": {"where": {"and": [{"field": "colour"}]}}})
    assert problem_of(wrong)["detail"].startswith("filter.where.and[0].field: one of metadata.NAME, width")


def test_vectors_come_where_they_are_asked_for(client: TestClient, deps: Deps) -> None:
    (row,) = deps.index.get_rows(deps.index.live(COLLECTION), [id_of("2.png")])
    query: dict[str, Any] = {"query": {"id": id_of("2.png")}, "k": 1}
    [hit] = client.post(SEARCH, json=query | {"with_vector": True}).json()["answers"][0]["hits"]
    assert hit["vector"] == pytest.approx(row.vector.tolist())
    [hit] = client.post(SEARCH, json=query).json()["answers"][0]["hits"]
    assert "vector" not in hit
    many = {"queries": [query["query"]] * 11, "k": 100, "with_vector": True}
    assert "1100 vectors; at most 1000" in problem_of(client.post(f"{SEARCH}/batch", json=many))["detail"]


def test_an_answer_says_which_generation_was_searched_and_where_the_time_went(client: TestClient) -> None:
    answer = client.post(f"{SEARCH}/image", content=distinct_png(3)).json()
    assert answer["generation"] == f"{COLLECTION}__{SPEC.fingerprint[:8]}"
    assert set(answer["stage_seconds"]) == {"embed", "search"}
    assert 0 < sum(answer["stage_seconds"].values()) <= answer["seconds"] + 1e-5


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no query": ({}, 422, "invalid_request"),
    "two examples": ({"query": {"id": "0" * 32, "image": "aa"}}, 422, "invalid_request"),
    "an unknown field": ({"query": {"id": "0" * 32}, "top": 3}, 422, "invalid_request"),
    "k of 0": ({"query": {"id": "0" * 32}, "k": 0}, 422, "invalid_request"),
    "k of a million": ({"query": {"id": "0" * 32}, "k": 10**6}, 422, "invalid_request"),
    "no id": ({"query": {"id": "../../etc"}}, 400, "invalid_argument"),
    "an unknown id": ({"query": {"id": "0" * 32}}, 404, "not_found"),
    "no base64": ({"query": {"image": "no base64!"}}, 400, "invalid_argument"),
    "no picture": ({"query": {"image": "aGVsbG8="}}, 422, "image_rejected"),
    "a short vector": ({"query": {"vector": [1.0]}}, 400, "invalid_argument"),
    "a vector of zeros": ({"query": {"vector": [0.0] * 13}}, 400, "invalid_argument"),
    "an object that is not there": (
        {"query": {"object": {"bucket": BUCKET, "key": "none.png"}}},
        404,
        "not_found",
    ),
    "an object of another bucket": (
        {"query": {"object": {"bucket": "secrets", "key": "a.png"}}},
        403,
        "denied",
    ),
    "a file of the machine": (
        {"query": {"object": {"bucket": "/etc", "key": "hostname"}}},
        403,
        "denied",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_search_that_cannot_work_is_refused_with_a_problem(client: TestClient, name: str) -> None:
    body, status, code = REFUSED[name]
    answer = client.post(SEARCH, json=body)
    assert (answer.status_code, problem_of(answer)["code"]) == (status, code)


def test_a_picture_that_is_none_names_its_reason(client: TestClient) -> None:
    answer = client.post(f"{SEARCH}/image", content=b"hello")
    assert problem_of(answer)["reason"] == "not_an_image"


# Collections


def test_collections_are_made_shown_listed_and_dropped(client: TestClient) -> None:
    made = client.post("/v1/collections", json={"name": "second"})
    assert (made.status_code, made.headers["location"]) == (201, "/v1/collections/second")
    assert client.post("/v1/collections", json={"name": "second"}).status_code == 201
    names = [info["name"] for info in client.get("/v1/collections").json()["collections"]]
    assert sorted(names) == sorted([COLLECTION, "second"])
    assert client.get(f"/v1/collections/{COLLECTION}").json()["rows"] == len(KEYS)
    assert client.delete("/v1/collections/second").status_code == 204
    assert problem_of(client.get("/v1/collections/second"))["code"] == "not_found"


def test_a_job_of_a_collection_that_is_there_takes_its_model_and_not_the_default(backend: Backend) -> None:
    """PICTOR_MODEL is for collections that are made."""
    own = backend.model_for("", COLLECTION)

    def model_for(address: str, _collection: str) -> ImageEmbedder:
        return FakeEmbedder(OTHER_SPEC) if address == "torchvision/resnet18" else own

    settings = backend.settings.model_copy(update={"model": "torchvision/resnet18"})
    with client_of(replace(backend, settings=settings, model_for=model_for)) as client:
        asked = {"source": f"s3://{BUCKET}/", "collection": COLLECTION}
        job = client.post("/v1/jobs", json=asked)
        assert (job.status_code, job.json()["model"]) == (202, SPEC.name)
        refused = client.post("/v1/jobs", json=asked | {"model": "torchvision/resnet18"})
        assert (refused.status_code, problem_of(refused)["code"]) == (409, "model_mismatch")
        new = client.post("/v1/jobs", json=asked | {"collection": "new"})
        assert (new.status_code, new.json()["model"]) == (202, OTHER_SPEC.name)


def test_a_collection_of_another_model_is_a_conflict(client: TestClient, deps: Deps) -> None:
    deps.index.create_collection("other", OTHER_SPEC)
    answer = client.post("/v1/collections", json={"name": "other"})
    assert (answer.status_code, problem_of(answer)["code"]) == (409, "model_mismatch")


# Images


def test_an_image_is_shown_drawn_and_taken_out(client: TestClient) -> None:
    path = f"/v1/collections/{COLLECTION}/images/{id_of('4.png')}"
    assert client.get(path).json()["key"] == "4.png"
    drawn = client.get(f"{path}/thumbnail", params={"side_px": 16})
    assert (drawn.headers["content-type"], drawn.content[:2]) == ("image/jpeg", b"\xff\xd8")
    assert drawn.headers["vary"] == "Authorization, Cookie", "the next one at this browser may be another"
    assert client.delete(path).status_code == 204
    assert problem_of(client.get(path))["code"] == "not_found"


def test_what_a_removal_takes_along_by_mistake_is_brought_in_again(
    deps: Deps, store: MemoryStore, index: MemoryIndex, tmp_path: Path
) -> None:
    store.put(BUCKET, "a.png", distinct_png(1))
    embed(plan(deps), deps)

    def bring_in_anew() -> None:
        store.put(BUCKET, "a.png", distinct_png(2))
        embed(plan(deps), deps)

    backend = replace(backend_of(deps, tmp_path), index=BeforeDeleting(index, bring_in_anew))
    with client_of(backend) as client:
        path = f"/v1/collections/{COLLECTION}/images/{id_of('a.png')}"
        assert client.delete(path).status_code == 204
    [job_id] = started(backend)
    job = deps.ledger.get_job(job_id)
    assert (job.driver, job.state, job.counts.pending) == (HERE, JobState.RUNNING, 1)


def test_a_picture_that_has_changed_since_is_not_drawn(client: TestClient, store: MemoryStore) -> None:
    path = f"/v1/collections/{COLLECTION}/images/{id_of('4.png')}/thumbnail"
    store.put(BUCKET, "4.png", distinct_png(50))
    assert problem_of(client.get(path))["reason"] == "changed"
    store.delete(BUCKET, "4.png")
    assert problem_of(client.get(path))["code"] == "not_found"


class CountedStore(MemoryStore):
    """Two reads wait for each other, and it is counted how many go on at once."""

    def __init__(self) -> None:
        super().__init__(BUCKET)
        self.most = 0
        self._active = 0
        self._lock = threading.Lock()
        self._pair = threading.Barrier(2, timeout=30)

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        with self._lock:
            self._active += 1
            self.most = max(self.most, self._active)
        self._pair.wait()
        with self._lock:
            self._active -= 1
        return super().get(ref, max_bytes=max_bytes)


def test_no_more_pictures_are_decoded_at_once_than_there_are_threads(
    backend: Backend, store: MemoryStore
) -> None:
    counted = CountedStore()
    for key in KEYS:
        counted.put(BUCKET, key, store.get(store.stat(BUCKET, key), max_bytes=10**6).body)
    path = f"/v1/collections/{COLLECTION}/images/{{}}/thumbnail"
    with client_of(replace(backend, store=counted)) as client, ThreadPoolExecutor(len(KEYS)) as callers:
        answers = list(callers.map(lambda key: client.get(path.format(id_of(key))), KEYS))
    assert [answer.status_code for answer in answers] == [200] * len(KEYS)
    assert counted.most == CONCURRENCY.decode_threads


# Jobs


def submit(client: TestClient, key: str = "", **more: Any) -> httpx2.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/v1/jobs", json={"source": f"s3://{BUCKET}/"} | more, headers=headers)


def failed_job(ledger: SqlLedger, keys: list[str]) -> str:
    """A job of which every object was truncated."""
    job_id = ledger.create_job(request_of(), driver=HERE).job_id
    planned = PlannedBatch(path="00000000", items=len(keys), body=b"{}")
    ledger.record_plan(job_id, [planned], cursor=keys[-1], ignored=0)
    refs = [ObjectRef(bucket=BUCKET, key=key, etag="e", size_bytes=1) for key in keys]
    rejected = [
        Rejected(ref=ref, stage=FailedAt.DECODE, reason=Reason.TRUNCATED, detail="cut") for ref in refs
    ]
    ledger.report(
        BatchReport(job_id=job_id, path=planned.path, indexed=0, unchanged=0, rejected=tuple(rejected))
    )
    return job_id


def started(backend: Backend) -> list[str]:
    assert isinstance(backend.runner, NotedJobs)
    return backend.runner.started


def test_a_job_is_submitted_shown_and_started(client: TestClient, backend: Backend) -> None:
    answer = submit(client)
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['job_id']}")
    assert started(backend) == [job["job_id"]]
    shown = client.get(f"/v1/jobs/{job['job_id']}").json()
    assert (shown["state"], shown["driver"], shown["source"]) == ("running", HERE, f"s3://{BUCKET}/")


def test_a_submission_is_estimated_before_it_is_made(
    client: TestClient, backend: Backend, store: MemoryStore
) -> None:
    backend.index.create_collection("new", SPEC)
    for number in (20, 21):
        store.put(BUCKET, f"new/{number}.png", distinct_png(number))
    body = {"source": f"s3://{BUCKET}/new/", "exclude": ["*21.png"], "collection": "new"}
    answer = client.post("/v1/jobs/estimate", json=body).json()
    assert answer == {
        "source": f"s3://{BUCKET}/new/",
        "collection": "new",
        "model": SPEC.name,
        "complete": True,
        "listed": 2,
        "ignored": 1,
        "unchanged": 0,
        "objects": 1,
        "size_bytes": store.stat(BUCKET, "new/20.png").size_bytes,
        "vector_bytes": 4 * SPEC.dim,
        "objects_per_second": None,
        "measured_in": None,
        "seconds": None,
    }
    assert started(backend) == []
    refused = client.post("/v1/jobs/estimate", json={"source": "s3://secrets/"})
    assert problem_of(refused)["code"] == "denied"


def test_a_submission_that_is_sent_again_is_one_job(client: TestClient, backend: Backend) -> None:
    first, again = submit(client, "key-1").json(), submit(client, "key-1").json()
    assert first["job_id"] == again["job_id"]
    assert started(backend) == [first["job_id"]]
    other = submit(client, "key-1", exclude=["*.gif"])
    assert (other.status_code, problem_of(other)["code"]) == (422, "key_reused")
    assert submit(client, "key-2").json()["job_id"] != first["job_id"]


def test_a_key_that_is_none_is_refused(client: TestClient) -> None:
    assert problem_of(submit(client, "with space"))["code"] == "invalid_argument"


NO_NAMES = ["/etc/model.toml", "model.toml", "torchvision/../x", "hf/../x", "hf/a/..", "hf/a/b/c", "timm/.x"]


@pytest.mark.parametrize("model", [*NO_NAMES, "\0.toml", "\ud800"])
def test_a_model_is_named_and_no_file_of_the_machine_is_looked_for(client: TestClient, model: str) -> None:
    for path, body in {"/v1/jobs": {"source": f"s3://{BUCKET}/"}, "/v1/collections": {"name": "new"}}.items():
        sent = json.dumps(body | {"model": model})
        answer = client.post(path, content=sent, headers={"content-type": "application/json"})
        assert problem_of(answer)["code"] == "invalid_request"


@pytest.mark.parametrize("model", ["timm/nobody.has_it", "hf/nobody/has-it", "hf/nobody"])
def test_a_model_of_a_library_may_be_named(client: TestClient, model: str) -> None:
    answer = client.post("/v1/collections", json={"name": "new", "model": model})
    assert answer.status_code == 201


def test_a_pattern_that_no_key_is_like_is_refused(client: TestClient) -> None:
    sent = json.dumps({"source": f"s3://{BUCKET}/", "include": ["\ud800*"]})
    answer = client.post("/v1/jobs", content=sent, headers={"content-type": "application/json"})
    assert problem_of(answer)["code"] == "invalid_argument"


@pytest.mark.parametrize("source", ["s3://secrets/", "/etc", "file:///root", "s3://photos-of-others/"])
def test_a_source_that_nobody_allowed_is_denied(client: TestClient, source: str) -> None:
    answer = client.post("/v1/jobs", json={"source": source})
    assert problem_of(answer)["code"] == "denied"


def test_jobs_are_paged_newest_first_and_cursors_cannot_be_made(
    client: TestClient, ledger: SqlLedger, backend: Backend
) -> None:
    made = [ledger.create_job(request_of(), driver=HERE).job_id for _ in range(5)]
    pages, token = [], ""
    while True:
        page = client.get("/v1/jobs", params={"max_results": 2, "next_token": token}).json()
        pages.append([job["job_id"] for job in page["jobs"]])
        token = page["next_token"]
        if not token:
            break
    listed = [job_id for page in pages for job_id in page]
    assert [job_id for job_id in listed if job_id in made] == sorted(
        made, key=lambda job_id: (ledger.get_job(job_id).created_at, job_id), reverse=True
    )
    assert len(listed) == len(set(listed))
    for forged in ("x", base64.urlsafe_b64encode(b"\0" * 16 + made[0].encode()).decode()):
        assert problem_of(client.get("/v1/jobs", params={"next_token": forged}))["code"] == "invalid_argument"


def test_failures_are_paged_by_key(client: TestClient, ledger: SqlLedger) -> None:
    job_id = failed_job(ledger, [f"{number:02}.png" for number in range(5)])
    path, pages = f"/v1/jobs/{job_id}/failures", []
    token: str | None = ""
    for _ in range(3):
        pages.append(client.get(path, params={"max_results": 2, "next_token": token}).json())
        token = pages[-1]["next_token"]
    assert token is None
    keys = [failure["key"] for page in pages for failure in page["failures"]]
    assert keys == [f"{number:02}.png" for number in range(5)]
    ledger.create_job(request_of(), driver=HERE)
    of_jobs = client.get("/v1/jobs", params={"max_results": 1}).json()["next_token"]
    assert problem_of(client.get(path, params={"next_token": of_jobs}))["code"] == "invalid_argument"
    assert pages[0]["failures"][0]["stage"] == FailedAt.DECODE.value


def test_moves_that_a_job_allows_are_made_and_others_are_conflicts(
    client: TestClient, backend: Backend
) -> None:
    path = f"/v1/jobs/{submit(client).json()['job_id']}"
    assert client.post(f"{path}/pause").json()["state"] == "paused"
    assert client.post(f"{path}/resume").json()["state"] == "running"
    assert client.post(f"{path}/cancel").json()["state"] == "cancelled"
    assert problem_of(client.post(f"{path}/pause"))["code"] == "conflict"
    assert len(started(backend)) == 2  # submitted, resumed


def test_a_job_of_another_host_is_left_alone(client: TestClient, ledger: SqlLedger, backend: Backend) -> None:
    job_id = ledger.create_job(request_of(), driver="embedded:elsewhere").job_id
    assert problem_of(client.post(f"/v1/jobs/{job_id}/resume"))["code"] == "conflict"
    assert started(backend) == []


def test_events_bring_the_job_until_it_is_over(client: TestClient, ledger: SqlLedger) -> None:
    job_id = submit(client).json()["job_id"]
    ledger.set_state(job_id, JobState.CANCELLED)
    answer = client.get(f"/v1/jobs/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    fields = dict(line.split(": ", 1) for line in answer.text.splitlines() if line)
    assert (fields["event"], json.loads(fields["data"])["state"]) == ("job", "cancelled")
    again = client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": fields["id"]})
    assert again.text == ""
    assert problem_of(client.get("/v1/jobs/none/events"))["code"] == "not_found"


# Health


def test_a_part_that_is_away_makes_the_service_unready_and_not_dead(
    client: TestClient, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/readyz").json()["status"] == "ready"

    def away(**_: object) -> None:
        raise TransientError("the ledger is away")

    monkeypatch.setattr(backend.ledger, "list_jobs", away)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]["ledger"]) == (503, "the ledger is away")
    assert client.get("/livez").status_code == 200
    busy = client.get("/v1/jobs")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")


# Errors


def test_every_error_has_a_page_that_explains_it(client: TestClient) -> None:
    for code, kind in KINDS.items():
        page = client.get(f"/problems/{code}")
        assert (page.status_code, kind.title in unescape(page.text)) == (200, True)
    assert client.get("/problems/none").status_code == 404


def test_an_error_that_nobody_foresaw_says_its_kind_and_no_more(
    client: TestClient, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("of a secret")

    monkeypatch.setattr(backend.index, "list_collections", broken)
    answer = client.get("/v1/collections")
    assert (answer.status_code, problem_of(answer)["code"]) == (500, "internal_error")
    assert "ZeroDivisionError" in answer.text
    assert "secret" not in answer.text


def test_a_path_or_method_that_is_none_is_a_problem(client: TestClient) -> None:
    assert problem_of(client.get("/v1/nothing"))["code"] == "no_such_page"
    answer = client.put("/v1/collections")
    assert (problem_of(answer)["code"], answer.headers["allow"]) == ("method_not_allowed", "GET")

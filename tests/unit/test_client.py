"""The client of the HTTP API, waiting and asynchronous, over the application in this process."""

import hashlib
import inspect
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.api.problems import KINDS as PROBLEMS
from pipeline.client import AsyncPictor, Pictor, Retries, StoredObject
from pipeline.client.problems import error_of
from pipeline.client.retries import may_repeat
from pipeline.errors import (
    ArgumentError,
    ConfigError,
    ConflictError,
    CredentialsError,
    DeniedError,
    ErrorCode,
    ImageError,
    MessageError,
    NotFoundError,
    PictorError,
    TransientError,
    UnknownCallerError,
)
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    BatchReport,
    FailedAt,
    JobState,
    ObjectRef,
    PlannedBatch,
    Reason,
    Rejected,
    image_id_of,
)
from tests.unit.api_client import backend_of
from tests.unit.client_doors import AT_ONCE, KINDS, Ask, asked_of, asked_of_app
from tests.unit.fakes import BUCKET, COLLECTION, HERE, LIMITS, SPEC, distinct_png, plan_one_batch, request_of

IDS = [image_id_of(BUCKET, f"{number}.png") for number in range(4)]
ORIGIN = "http://127.0.0.1"


@pytest.fixture
def backend(deps: Deps, store: MemoryStore, tmp_path: Path) -> Backend:
    for number in range(4):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    return backend_of(deps, tmp_path)


@pytest.fixture(params=KINDS)
def ask(backend: Backend, request: pytest.FixtureRequest) -> Iterator[Ask]:
    with asked_of_app(make_app(backend), request.param) as ask:
        yield ask


# Answers


def test_who_searched_for_a_picture_is_told(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "query.png"
    file.write_bytes(distinct_png(2))
    for number in (2, 3):
        ask("search", distinct_png(number))
    for picture in (file, distinct_png(2), hashlib.sha256(distinct_png(2)).hexdigest()):
        (entry,) = ask("search_audit", probe=picture, page_items=1)
        assert (entry.index, entry.record["probe"]["source"]) == (0, "upload")
    assert [entry.index for entry in ask("search_audit", kind="search", page_items=1)] == [1, 0]


def test_a_report_comes_as_the_file_that_was_asked_for(ask: Ask) -> None:
    ask("search", IDS[0])
    assert ask("audit_report", "usage", format="csv").startswith(b'"Report","Use by key"')
    assert json.loads(ask("audit_report", "extract"))["entries"]["in_period"] == 2


def test_what_is_worth_a_look_is_told(ask: Ask) -> None:
    assert ask("audit_review").findings == ()
    for _ in range(5):
        ask("search", distinct_png(2))
    review = ask("audit_review", since=datetime(2026, 1, 1, tzinfo=UTC))
    (repeated,) = [finding for finding in review.findings if finding.look_at == "repeated_probe"]
    assert (repeated.count, repeated.entries) == (5, [1, 2, 3, 4, 5])
    assert "5 times with one picture" in repeated.why
    assert review.searched == review.tree_size == 6
    assert ask("audit_review", until=datetime(2026, 1, 1, tzinfo=UTC)).searched == 0


def test_each_way_to_give_an_example_finds_it(ask: Ask, deps: Deps, tmp_path: Path) -> None:
    file = tmp_path / "query.png"
    file.write_bytes(distinct_png(2))
    (row,) = deps.index.get_rows(deps.index.live(COLLECTION), [IDS[2]])
    ways = {
        "id": IDS[2],
        "URL": f"s3://{BUCKET}/2.png",
        "object": StoredObject(bucket=BUCKET, key="2.png"),
        "file": file,
        "bytes": distinct_png(2),
        "array": row.vector,
        "list": [float(value) for value in row.vector],
    }
    found = {way: ask("search", query, collection=COLLECTION, k=1).hits[0].key for way, query in ways.items()}
    assert found == dict.fromkeys(ways, "2.png")


def test_pictures_become_the_vectors_that_are_stored_of_them(ask: Ask, deps: Deps) -> None:
    rows = deps.index.get_rows(deps.index.live(COLLECTION), [IDS[2]])
    first, second = ask("embed", [distinct_png(2), distinct_png(3)], model=SPEC.name)
    assert first == pytest.approx(list(rows[0].vector))
    assert first != second


def test_keys_are_made_listed_rotated_and_revoked(ask: Ask) -> None:
    made = ask("create_key", "shop", roles=["searcher"], collections=["images"], expires_in_days=1)
    assert made.secret.startswith("pictor_sk_")
    assert made.secret not in repr(made)
    assert [key.id for key in ask("list_keys")] == [made.id]
    rotated = ask("rotate_key", made.id, overlap_hours=1)
    assert rotated.replaces == made.id
    ask("revoke_key", rotated.id)
    assert ask("show_key", rotated.id).revoked_at is not None
    ask("create_key", "once", roles=["writer"], idempotency_key="k")
    with pytest.raises(ConflictError, match="secret"):
        ask("create_key", "once", roles=["writer"], idempotency_key="k")


def test_policies_are_set_listed_and_decided(ask: Ask) -> None:
    strict = {"purposes": [{"code": "theft", "text": "Theft"}], "roles": ["local"]}
    first = ask("set_policy", COLLECTION, strict)
    assert (first.version, first.state, first.policy["roles"]) == (1, "in_force", ["local"])
    looser = ask("set_policy", COLLECTION, strict | {"roles": ["local", "searcher"]})
    assert (looser.state, looser.loosens) == ("proposed", ["roles"])
    for decide in ("approve_policy", "refuse_policy"):
        with pytest.raises(DeniedError, match="another person"):
            ask(decide, COLLECTION, looser.version)
    assert ask("show_policy", COLLECTION).version == 1
    assert [version.version for version in ask("list_policies", COLLECTION)] == [2, 1]
    state = ask("decide_case", COLLECTION, "AB-1", granted=True, authorisation="W 1/26", authority="Court")
    assert (state.case, state.granted) == ("AB-1", True)


def test_a_batch_keeps_its_order_and_its_errors(ask: Ask) -> None:
    found = ask("search_batch", [IDS[1], "0" * 32, distinct_png(3)], collection=COLLECTION, k=1)
    assert [[hit.key for hit in answer.hits] for answer in found.answers] == [["1.png"], [], ["3.png"]]
    assert [answer.code for answer in found.answers] == ["", "not_found", ""]


@pytest.mark.parametrize("query", [IDS[0], distinct_png(0)], ids=["id", "bytes"])
def test_what_a_search_leaves_out_arrives(ask: Ask, query: str | bytes) -> None:
    only = ask("search", query, collection=COLLECTION, prefix="3", bucket=BUCKET, min_score=-1)
    assert [hit.key for hit in only.hits] == ["3.png"]
    assert ask("search", query, collection=COLLECTION, min_score=0.999, k=4).hits[0].key == "0.png"
    assert ask("search", query, collection=COLLECTION, metadata={"camera": "7"}).hits == ()
    none = {"field": "size_bytes", "lt": 1}
    assert ask("search", query, collection=COLLECTION, where=none).hits == ()
    (hit,) = ask("search", query, collection=COLLECTION, k=1, with_vector=True).hits
    assert len(hit.vector) > 0


def test_all_pages_are_read_one_by_one(ask: Ask, ledger: SqlLedger) -> None:
    job_ids = [ledger.create_job(request_of(), driver=HERE).job_id for _ in range(5)]
    listed = [job.job_id for job in ask("list_jobs", page_items=2)]
    assert listed[:5] == job_ids[::-1]
    assert len(set(listed)) == len(listed)


def test_the_failures_of_a_job_are_read_to_the_last(ask: Ask, ledger: SqlLedger) -> None:
    job_id = failed_job(ledger, count=5)
    failures = ask("job_failures", job_id, page_items=2)
    assert [(failure.key, failure.reason) for failure in failures] == [
        (f"{number}.jpg", "truncated") for number in range(5)
    ]


def test_a_job_is_submitted_moved_and_followed_to_its_end(ask: Ask, ledger: SqlLedger) -> None:
    job = ask("submit_job", f"s3://{BUCKET}/", collection=COLLECTION)
    assert (job.state, job.is_over) == ("running", False)
    assert ask("pause_job", job.job_id).state == "paused"
    assert ask("resume_job", job.job_id).state == "running"
    ledger.set_state(job.job_id, JobState.CANCELLED)
    (last,) = ask("follow_job", job.job_id)
    assert (last.state, last.is_over) == ("cancelled", True)


def test_a_submission_that_is_sent_twice_is_one_job(ask: Ask) -> None:
    jobs = {ask("submit_job", f"s3://{BUCKET}/", idempotency_key="mine").job_id for _ in range(2)}
    assert len(jobs) == 1
    with pytest.raises(ConflictError, match="Idempotency-Key"):
        ask("submit_job", f"s3://{BUCKET}/0", idempotency_key="mine")


def test_an_unfinished_job_is_resumed_or_begun_anew_as_asked(ask: Ask, ledger: SqlLedger) -> None:
    source = f"s3://{BUCKET}/"
    first = ask("submit_job", source, batch_items=7)
    assert (first.resumed, ledger.get_job(first.job_id).request.batch_items) == (False, 7)
    again = ask("submit_job", source, resume=True)
    assert (again.job_id, again.resumed) == (first.job_id, True)
    anew = ask("submit_job", source, restart=True)
    assert (anew.resumed, ask("show_job", first.job_id).state) == (False, "cancelled")
    assert ask("submit_job", source, resume=True).job_id == anew.job_id


def test_a_submission_is_estimated_before_it_is_made(ask: Ask, store: MemoryStore) -> None:
    store.put(BUCKET, "more/new.png", distinct_png(9))
    estimated = ask("estimate_job", f"s3://{BUCKET}/more/", collection="fresh")
    assert (estimated.objects, estimated.complete) == (1, True)


def test_one_object_is_indexed_by_a_job_of_its_own(ask: Ask) -> None:
    accepted = ask("index_object", BUCKET, "1.png", collection=COLLECTION)
    assert (accepted.id, accepted.key, accepted.job.state) == (IDS[1], "1.png", "running")
    keys = {
        ask("index_object", BUCKET, "1.png", collection=COLLECTION, idempotency_key="k").job.job_id
        for _ in "ab"
    }
    assert len(keys) == 1


def test_a_picture_that_is_sent_is_kept_and_indexed_once(ask: Ask) -> None:
    sent = [ask("index_picture", distinct_png(5), collection=COLLECTION) for _ in range(2)]
    assert sent[0].id == sent[1].id
    assert sent[0].key.startswith("uploads/")
    with pytest.raises(ImageError):
        ask("index_picture", b"hello", collection=COLLECTION)


def test_duplicates_are_found(ask: Ask) -> None:
    found = ask("find_duplicates", collection=COLLECTION, min_score=-1, purpose="tidy")
    assert found.embedding == "main"
    assert {hit.id for group in found.groups for hit in (group.kept, *group.copies)} == set(IDS)
    assert ask("find_duplicates", collection=COLLECTION, key_prefix="none").groups == ()


def test_a_collection_has_its_generations(ask: Ask) -> None:
    (generation,) = ask("list_generations", COLLECTION)
    shown = ask("show_collection", COLLECTION)
    assert (generation.fingerprint, generation.model, generation.live) == (
        shown.fingerprint,
        shown.model,
        True,
    )
    assert generation.precision == shown.precision == "float32"
    with pytest.raises(NotFoundError):
        ask("list_generations", "none")


def test_an_image_is_shown_and_removed(ask: Ask) -> None:
    assert ask("show_image", IDS[0], collection=COLLECTION).key == "0.png"
    assert ask("thumbnail", IDS[0], collection=COLLECTION, side_px=32)[:2] == b"\xff\xd8"
    assert ask("remove_image", IDS[0], collection=COLLECTION) is None
    with pytest.raises(NotFoundError):
        ask("show_image", IDS[0], collection=COLLECTION)


def test_a_name_is_quoted_whatever_is_in_it(ask: Ask) -> None:
    for name in ("a/b", "../jobs", "a?b#c", "a%2fb", "ünï"):
        with pytest.raises(PictorError) as refused:
            ask("show_collection", name)
        assert refused.value.code in (ErrorCode.NOT_FOUND, ErrorCode.INVALID_ARGUMENT)


SAME: Mapping[str, Callable[[Ask], object]] = {
    "collections": lambda ask: ask("list_collections"),
    "collection": lambda ask: ask("show_collection", COLLECTION),
    "created": lambda ask: ask("create_collection", "more"),
    "images": lambda ask: [  # each search has a receipt of its own
        replace(answer, receipt="", inclusion={})
        for answer in ask("search", IDS[0], collection=COLLECTION).answers
    ],
    "job": lambda ask: ask("submit_job", f"s3://{BUCKET}/", idempotency_key="same"),
    "jobs": lambda ask: [job.job_id for job in ask("list_jobs")],
}


@pytest.mark.parametrize("what", SAME)
def test_both_clients_give_the_same(backend: Backend, what: str) -> None:
    answers = []
    for kind in KINDS:
        with asked_of_app(make_app(backend), kind) as ask:
            answers.append(SAME[what](ask))
    assert answers[0] == answers[1]


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in vars(kind).items()
            if not name.startswith("_") and callable(method)
        }

    assert methods(Pictor) == methods(AsyncPictor)
    assert methods(Pictor)["search"][:3] == ["self", "query", "collection"]
    assert (Pictor.search.__doc__ or "").startswith("The stored images nearest")


# Errors


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_problem_of_the_service_has_an_error(code: str) -> None:
    status = PROBLEMS[code].status
    document = {"code": code, "detail": "some detail", "status": status, "reason": "truncated"}
    error = error_of(status, json.dumps(document).encode(), request_id="r1")
    assert "some detail" in str(error)
    assert error.__notes__ == ["request r1"]
    if code in {known.value for known in ErrorCode}:
        assert error.code == code
    elif status < 500:
        assert error.code is not ErrorCode.INTERNAL_ERROR or code == "method_not_allowed"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ArgumentError),
        (401, CredentialsError),
        (404, NotFoundError),
        (429, TransientError),
        (502, TransientError),
        (302, PictorError),
        (418, PictorError),
    ],
)
def test_an_answer_that_is_no_document_is_an_error_by_its_status(
    status: int, kind: type[PictorError]
) -> None:
    error = error_of(status, b"<html>nginx</html>", request_id="")
    assert type(error) is kind
    assert "nginx" in str(error)


def test_who_has_no_key_is_told_where_it_belongs() -> None:
    document = json.dumps({"code": "unauthenticated", "detail": "no key"}).encode()
    error = error_of(401, document, request_id="")
    assert isinstance(error, UnknownCallerError)
    assert "PICTOR_API_KEY" in str(error)


@pytest.mark.parametrize("is_repeatable", [True, False])
def test_the_same_request_that_is_still_worked_on_is_waited_for(is_repeatable: bool) -> None:
    """A conflict that has Retry-After passes, and another one does not."""
    assert may_repeat(409, is_repeatable=is_repeatable, retry_after="1") is is_repeatable
    assert not may_repeat(409, is_repeatable=is_repeatable)
    body = json.dumps({"code": "in_flight", "detail": "it is worked on"}).encode()
    assert isinstance(error_of(409, body, request_id=""), TransientError)


def test_a_picture_that_cannot_be_read_has_its_reason(ask: Ask) -> None:
    with pytest.raises(ImageError) as refused:
        ask("search", b"hello", collection=COLLECTION)
    assert refused.value.reason is Reason.NOT_AN_IMAGE
    assert str(refused.value).count("not_an_image") == 1


def test_a_file_that_is_not_there_is_said_before_anything_is_sent(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cannot be read"):
        ask("search", tmp_path / "none.jpg")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body", [b"[]", b"<html>", b'{"collections": [{"name": "a"}]}', b'{"collections": 5}']
)
def test_an_answer_of_another_program_is_not_taken(kind: str, body: bytes) -> None:
    with (
        asked_of(lambda _: httpx2.Response(200, content=body), kind) as ask,
        pytest.raises(MessageError, match="answer"),
    ):
        ask("list_collections")


# Again


class Scripted:
    """Gives one answer after another, and the last one from then on. An exception is raised."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self._answers = list(answers)
        self.seen: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        # A fresh one: whoever reads an answer changes it.
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)


def busy(status: int = 429, retry_after: str = "0") -> httpx2.Response:
    return httpx2.Response(
        status, headers={"retry-after": retry_after}, json={"code": "too_busy", "detail": "busy"}
    )


NONE = httpx2.Response(200, json={"collections": []})
JOB: Mapping[str, Any] = {
    "job_id": "j1", "state": "running", "driver": "d", "source": "s3://b/", "collection": "images",
    "model": "builtin", "scanned": 0, "indexed": 0, "unchanged": 0, "failed": 0, "pending": 0, "ignored": 0,
    "removed": 0, "planned": False, "error": "", "created_at": "2026-01-02T12:00:00+00:00",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "trouble", [busy(429), busy(503), httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow")], ids=str
)
def test_what_may_be_asked_twice_is_asked_again(kind: str, trouble: httpx2.Response | Exception) -> None:
    service = Scripted(trouble, trouble, NONE)
    with asked_of(service, kind) as ask:
        assert ask("list_collections") == []
    assert len(service.seen) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_is_sent_again_has_the_same_key(kind: str) -> None:
    service = Scripted(httpx2.ReadTimeout("slow"), busy(503), httpx2.Response(202, json=dict(JOB)))
    with asked_of(service, kind) as ask:
        assert ask("submit_job", "s3://b/").job_id == "j1"
        ask("submit_job", "s3://b/")
    keys = [request.headers["idempotency-key"] for request in service.seen]
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("trouble", "sent"),
    [(busy(503), 1), (httpx2.ReadTimeout("slow"), 1), (busy(429), 2), (httpx2.ConnectError("refused"), 2)],
    ids=str,
)
def test_what_may_have_been_done_is_not_done_twice(
    kind: str, trouble: httpx2.Response | Exception, sent: int
) -> None:
    service = Scripted(trouble, httpx2.Response(204))
    with asked_of(service, kind) as ask:
        if sent == 1:
            with pytest.raises(TransientError):
                ask("drop_collection", "images")
        else:
            ask("drop_collection", "images")
    assert len(service.seen) == sent


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_asks_for_ever(kind: str) -> None:
    service = Scripted(busy())
    with (
        asked_of(service, kind, retries=Retries(attempts=3, first_wait_s=0)) as ask,
        pytest.raises(TransientError),
    ):
        ask("list_collections")
    assert len(service.seen) == 3


def test_a_pause_is_never_shorter_than_the_service_asks_for_and_never_longer_than_allowed() -> None:
    retries = Retries(attempts=9, first_wait_s=0.5, longest_wait_s=4)
    waits = [retries.wait_s(attempt) for attempt in range(1, 9) for _ in range(50)]
    assert all(wait is not None and 0 <= wait <= 4 for wait in waits)
    assert len(set(waits)) > 300  # all who were turned away together do not come back together
    assert all(3 <= (retries.wait_s(1, retry_after="3") or 0) <= 3.5 for _ in range(50))
    assert retries.wait_s(1, retry_after="5") is None
    assert retries.wait_s(1, retry_after="Wed, 21 Oct 2099 07:28:00 GMT") is None
    assert (retries.wait_s(1, retry_after="Wed, 21 Oct 2015 07:28:00 GMT") or 0) <= 0.5
    assert (retries.wait_s(1, retry_after="soon") or 0) <= 0.5
    assert retries.wait_s(9) is None


def event(state: str, event_id: str) -> bytes:
    return f"id: {event_id}\nevent: job\ndata: {json.dumps({**JOB, 'state': state})}\n\n".encode()


def stream(*events: bytes) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b"".join(events))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_breaks_goes_on_after_its_last_event(kind: str) -> None:
    half = event("running", "e9")[:-40]
    service = Scripted(
        httpx2.ConnectError("refused"),
        stream(event("running", "e1"), b": still here\n\n", half),
        busy(),
        stream(event("completed", "e2")),
    )
    with asked_of(service, kind) as ask:
        assert [job.state for job in ask("follow_job", "j1")] == ["running", "completed"]
    assert [request.headers.get("last-event-id") for request in service.seen] == [None, None, "e1", "e1"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_never_says_anything_is_given_up(kind: str) -> None:
    service = Scripted(stream())
    with asked_of(service, kind) as ask, pytest.raises(TransientError):
        ask("follow_job", "j1")
    assert len(service.seen) == AT_ONCE.attempts


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_is_not_there_cannot_be_followed(backend: Backend, kind: str) -> None:
    with asked_of_app(make_app(backend), kind) as ask, pytest.raises(NotFoundError):
        ask("follow_job", "none")


# The key, the address, the purpose


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_is_sent_and_shown_nowhere(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PICTOR_API_KEY", "s3cret")
    caplog.set_level("DEBUG")
    service = Scripted(busy(503), httpx2.Response(401, json={"code": "x", "detail": "no such key"}))
    with asked_of(service, kind) as ask, pytest.raises(CredentialsError) as refused:
        ask("list_collections")
    assert {request.headers["authorization"] for request in service.seen} == {"Bearer s3cret"}
    assert "s3cret" not in caplog.text + repr(refused.value) + repr(refused.value.__dict__)
    pictor = Pictor(ORIGIN)
    assert "s3cret" not in repr(pictor) + repr(vars(pictor))
    pictor.close()


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTOR_API", "http://pictor.example:8780/")
    with Pictor() as pictor:
        assert repr(pictor) == "Pictor('http://pictor.example:8780')"


NO_ADDRESSES = (
    "",
    "rubbish",
    "pictor.example",
    "ftp://x",
    "http://",
    "http://x:rubbish",
    "http://x:65536",
    "http://x:0",
    "http://[::1",
    "http://me:secret@x",
    "http://me:secret@x:rubbish",
    "http://me:se/cret@x",
    "http://[me:secret@x",
)


@pytest.mark.parametrize("url", NO_ADDRESSES)
@pytest.mark.parametrize("is_set", [False, True], ids=["given", "set"])
def test_an_address_that_cannot_be_used_is_refused(
    url: str, is_set: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where it comes from is named."""
    monkeypatch.setenv("PICTOR_API", url if is_set else "")
    with pytest.raises(ArgumentError, match=r"address .*PICTOR_API|PICTOR_API.*address") as refused:
        Pictor("" if is_set else url)
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize("key", ["cl\u00e9", "a b", "a\nb", "k\x7f"])
def test_what_can_be_no_key_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTOR_API_KEY", key)
    with pytest.raises(ArgumentError, match="PICTOR_API_KEY") as refused:
        Pictor(ORIGIN)
    assert key not in str(refused.value)


def test_the_end_of_a_line_is_no_part_of_a_key() -> None:
    """Of a file that was written elsewhere."""
    service = Scripted(NONE)
    with asked_of(service, KINDS[0], key="k\r\n") as ask:
        ask("list_collections")
    assert service.seen[0].headers["authorization"] == "Bearer k"


def tls_error(reason: str = "", verify_code: int = 0) -> httpx2.ConnectError:
    """As the library raises it, with the error of `ssl` at its root."""
    inner = ssl.SSLCertVerificationError() if verify_code else ssl.SSLError()
    inner.reason = reason
    if isinstance(inner, ssl.SSLCertVerificationError):
        inner.verify_code = verify_code
    between, outer = OSError("handshake"), httpx2.ConnectError("handshake")
    between.__context__, outer.__cause__ = inner, between
    return outer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (tls_error("WRONG_VERSION_NUMBER"), "does not speak TLS"),
        (tls_error(verify_code=10), "certificate has expired"),
        (tls_error(verify_code=20), "PICTOR_CA_FILE"),
    ],
)
def test_a_certificate_that_is_refused_is_told_at_once(kind: str, trouble: Exception, said: str) -> None:
    """It is no service that does not answer, and to ask again would not help."""
    service = Scripted(trouble)
    with asked_of(service, kind) as ask, pytest.raises(ConfigError, match=said):
        ask("list_collections")
    assert len(service.seen) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_redirect_is_not_followed_with_the_key(kind: str) -> None:
    service = Scripted(httpx2.Response(307, headers={"location": "http://elsewhere/"}))
    with asked_of(service, kind, key="k") as ask, pytest.raises(PictorError):
        ask("list_collections")
    assert len(service.seen) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("query", ["0" * 32, b"picture"], ids=["id", "bytes"])
def test_the_purpose_of_a_search_travels_with_it(kind: str, query: str | bytes) -> None:
    found = {"collection": "images", "model": "m", "fingerprint": "f", "seconds": 0.1, "answers": []}
    service = Scripted(httpx2.Response(200, json=found))
    with asked_of(service, kind) as ask:
        ask("search", query, purpose="case 7")
        ask("search", query)
    assert [request.headers.get("x-pictor-purpose") for request in service.seen] == ["case 7", None]


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_persons_need_not_be_ascii(kind: str) -> None:
    found = {"collection": "images", "model": "m", "fingerprint": "f", "seconds": 0.1, "answers": []}
    service = Scripted(httpx2.Response(200, json=found))
    with asked_of(service, kind) as ask:
        ask("search", "0" * 32, on_behalf_of="Zo\u00eb \u674e")
        with pytest.raises(ArgumentError, match="case: printable"):
            ask("search", "0" * 32, case="7\r\nx-pictor-purpose: another")
    assert dict(service.seen[0].headers.raw)[b"x-pictor-on-behalf-of"] == "Zo\u00eb \u674e".encode()
    assert len(service.seen) == 1


def failed_job(ledger: SqlLedger, *, count: int) -> str:
    """A job whose objects all failed."""
    job_id = ledger.create_job(request_of(), driver=HERE).job_id
    refs = [ObjectRef(bucket=BUCKET, key=f"{number}.jpg", etag="1", size_bytes=1) for number in range(count)]
    rejected = tuple(
        Rejected(ref=ref, stage=FailedAt.DECODE, reason=Reason.TRUNCATED, detail="cut") for ref in refs
    )
    planned = PlannedBatch(path="00000000", items=count, body=b"{}")
    ledger.record_plan(job_id, [planned], cursor=refs[-1].key, ignored=0)
    ledger.report(BatchReport(job_id=job_id, path=planned.path, indexed=0, unchanged=0, rejected=rejected))
    return job_id

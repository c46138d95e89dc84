"""Two tenants of one service: whatever one does, it changes and learns nothing of what the other has."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ArgumentError, DeniedError
from pipeline.ingest.message import decode_batch
from pipeline.service.access import Caller, local_caller, require_names
from pipeline.service.confined import ConfinedIndex, ConfinedLedger, Scope, scope_of
from pipeline.service.keys import KeyRequest, create_key
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import BatchReport, CollectionRef, JobState, KeyRole, ReferenceDb
from tests.accountable import NO_LOG
from tests.conftest import REPOSITORY
from tests.unit.fakes import BUCKET, HERE, SPEC, request_of
from tests.unit.tenant_world import KEYS, STORED, TARGETS, TenantWorld, Worlds, image_of
from tests.verifications import search_to_verify

SEARCH_ALL: dict[str, Any] = {"query": {"vector": [1.0] * SPEC.dim}, "k": 100, "min_score": -1}
TRICKS = [
    "quokka",
    STORED["quokka"],
    "tenant_other",
    "tenant_other_",
    "other_quokka",
    f"../{STORED['quokka']}",
    f"{STORED['quokka']}__{SPEC.fingerprint[:8]}",
    "images",
    "secret",
    "new",
    "_x",
    "%",
    "*",
    "",
    "a" * 100,
    "\u0430cme",
]
PREFIXES = [
    "",
    "h",
    "quokka/",
    "quokka/c.png",
    "%",
    "_",
    "\\",
    '" or "" == "',
    "tenant_other_",
    "\0",
    "images/",
]
SEARCHED = "c" * 32  # the receipt of a search of the other tenant
MATCH = f"{SEARCHED}-1"
WORDS_OF_OTHER = ("quokka", "tenant_other", image_of("quokka"))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    return Worlds(tmp_path_factory.mktemp("tenants"))


@pytest.fixture(scope="module")
def acme(worlds: Worlds) -> dict[str, str]:
    return worlds.make_key("acme", KeyRole.ADMIN, KeyRole.VERIFIER)


@pytest.fixture(scope="module")
def other(worlds: Worlds) -> dict[str, str]:
    return worlds.make_key("other", KeyRole.ADMIN, KeyRole.VERIFIER)


@pytest.fixture
def world(worlds: Worlds, acme: object, other: object) -> Iterator[TenantWorld]:
    with worlds.world() as world:
        yield world


def all_answers(world: TenantWorld, headers: Mapping[str, str], collection: str, job_id: str) -> list[Any]:
    """All that a tenant can ask about what they have, without what differs each time."""
    of = f"/v1/collections/{collection}"
    asked: list[tuple[str, str, Any]] = [
        ("GET", "/v1/collections", None),
        ("GET", of, None),
        ("GET", f"{of}/images/{image_of(collection)}", None),
        ("GET", f"{of}/images/{image_of(collection)}/thumbnail", None),
        ("POST", f"{of}/search", SEARCH_ALL),
        ("POST", f"{of}/search", {"query": {"id": image_of(collection)}, "filter": {"prefix": ""}}),
        ("GET", "/v1/jobs", None),
        ("GET", f"/v1/jobs/{job_id}", None),
        ("GET", f"/v1/jobs/{job_id}/failures", None),
        ("GET", "/v1/keys", None),
        ("GET", "/v1/verifications", None),
    ]
    answers = [world.client.request(method, path, json=body, headers=headers) for method, path, body in asked]
    assert {answer.status_code for answer in answers} == {200}
    changing = re.compile(
        r'"(?:seconds|stage_seconds|timings|last_used_at|receipt|inclusion)": ?(?:\{[^}]*\}|[^,}]*)'
    )
    return [changing.sub("", answer.text) for answer in answers]


def requests_of(jobs: Mapping[str, str], key_ids: list[str]) -> st.SearchStrategy[tuple[str, str, Any]]:
    """Requests about the own collections, and about the other's in every guise."""
    name, prefix = st.sampled_from(TRICKS), st.sampled_from(PREFIXES)
    image = st.sampled_from([image_of(each) for each in KEYS] + ["0" * 32])
    job, key = st.sampled_from([*jobs.values(), "none"]), st.sampled_from([*key_ids, "none"])
    query = st.one_of(
        image.map(lambda each: {"id": each}),
        st.just(SEARCH_ALL["query"]),
        st.sampled_from(sorted(KEYS.values())).map(lambda each: {"object": {"bucket": BUCKET, "key": each}}),
    )
    where = st.builds(lambda p, b: {"prefix": p, "bucket": b}, prefix, st.sampled_from(["", BUCKET]))
    return st.one_of(
        name.map(lambda n: ("POST", "/v1/collections", {"name": n})),
        name.map(lambda n: ("GET", f"/v1/collections/{n}", None)),
        name.map(lambda n: ("DELETE", f"/v1/collections/{n}", None)),
        st.builds(lambda n, i: ("GET", f"/v1/collections/{n}/images/{i}", None), name, image),
        st.builds(lambda n, i: ("DELETE", f"/v1/collections/{n}/images/{i}", None), name, image),
        st.builds(
            lambda n, q, w: ("POST", f"/v1/collections/{n}/search", {"query": q, "filter": w, "k": 100}),
            name,
            query,
            where,
        ),
        st.builds(
            lambda n, p: ("POST", "/v1/jobs", {"source": f"s3://{BUCKET}/{p}", "collection": n}), name, prefix
        ),
        st.builds(
            lambda j, move: ("POST", f"/v1/jobs/{j}/{move}", None),
            job,
            st.sampled_from(["pause", "resume", "cancel", "retry"]),
        ),
        st.builds(
            lambda j, part: ("GET", f"/v1/jobs/{j}{part}", None), job, st.sampled_from(["", "/failures"])
        ),
        st.just(("GET", "/v1/jobs", None)),
        st.just(("GET", "/v1/collections", None)),
        st.just(("GET", "/v1/keys", None)),
        key.map(lambda k: ("GET", f"/v1/keys/{k}", None)),
        key.map(lambda k: ("DELETE", f"/v1/keys/{k}", None)),
        key.map(lambda k: ("POST", f"/v1/keys/{k}/rotate", {})),
        name.map(lambda n: ("GET", f"/?collection={n}&id={image_of('quokka')}", None)),
        name.map(lambda n: ("GET", f"/v1/verifications?collection={n}", None)),
        st.just(("GET", "/v1/verifications", None)),
        st.just(("GET", "/verify", None)),
        st.sampled_from(["", "/probe"]).map(lambda part: ("GET", f"/v1/verifications/{MATCH}{part}", None)),
        st.just(("POST", f"/v1/verifications/{MATCH}/decision", {"decision": "reject", "reason": "r"})),
        st.just(("GET", f"/v1/searches/{SEARCHED}", None)),
        st.just(("GET", "/jobs", None)),
        job.map(lambda j: ("GET", f"/jobs/{j}", None)),
    )


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_one_tenant_asks_the_other_s_answers_stay_the_same(
    worlds: Worlds, acme: dict[str, str], other: dict[str, str], data: st.DataObject
) -> None:
    theirs = other["authorization"].removeprefix("Bearer pictor_sk_")[:12]
    requests = data.draw(st.lists(requests_of(worlds.jobs, [theirs]), min_size=1, max_size=12))
    with worlds.world() as world:
        open_match_of_other(world)
        before, asked = all_answers(world, other, "quokka", world.jobs["quokka"]), ""
        for method, path, body in requests:
            asked += f"{path} {json.dumps(body)} "  # an own collection may have the name now
            answer = world.client.request(method, path, json=body, headers=acme)
            assert answer.status_code < 500, answer.text
            if answer.status_code < 300:
                assert told_of_other(answer.text, asked=asked) == [], (method, path, body)
        assert all_answers(world, other, "quokka", world.jobs["quokka"]) == before


def open_match_of_other(world: TenantWorld) -> None:
    """A search of the other tenant whose hit waits for persons."""
    log = world.backend.answers_to.log
    assert log is not None
    search = search_to_verify(
        record_id=SEARCHED, tenant="other", reference_db=ReferenceDb(collection="quokka")
    )
    log.append([search])


def test_a_verifier_of_the_tenant_sees_what_another_s_does_not(
    world: TenantWorld, acme: dict[str, str], other: dict[str, str]
) -> None:
    open_match_of_other(world)
    seen = [
        [match["id"] for match in world.client.get("/v1/verifications", headers=key).json()["verifications"]]
        for key in (acme, other)
    ]
    assert seen == [[], [MATCH]]


def told_of_other(text: str, *, asked: str) -> list[str]:
    """Names of the other tenant's that an answer holds and the request did not."""
    return [word for word in WORDS_OF_OTHER if word in text and word not in asked]


def test_the_test_would_see_what_the_other_has(world: TenantWorld, other: dict[str, str]) -> None:
    for answer in all_answers(world, other, "quokka", world.jobs["quokka"])[:3]:
        assert "quokka" in answer
    assert told_of_other("quokka/c.png", asked="/v1/collections/images") == ["quokka"]


def test_a_tenant_never_sees_how_things_are_stored(world: TenantWorld, acme: dict[str, str]) -> None:
    texts = all_answers(world, acme, "images", world.jobs["images"])
    missing = world.client.get("/v1/collections/none", headers=acme)
    broken = world.client.post("/v1/collections/none/search", json=SEARCH_ALL, headers=acme)
    for text in (*texts, missing.text, broken.text):
        assert "tenant_" not in text
    assert "images, secret" in missing.text


def test_a_job_of_a_tenant_fills_the_tenant_s_collection(world: TenantWorld, acme: dict[str, str]) -> None:
    """Its batches name the stored collection: workers know no other."""
    body = {"source": f"s3://{BUCKET}/images/", "collection": "images"}
    made = world.client.post("/v1/jobs", json=body, headers=acme).json()
    assert made["collection"] == "images"
    assert world.deps.ledger.get_job(made["job_id"]).request.target == TARGETS["images"]
    failed = world.jobs["images"]
    assert world.client.post(f"/v1/jobs/{failed}/retry", headers=acme).json()["retried"] == 1
    again = [batch for batch in world.deps.ledger.pending(failed) if batch.path.startswith("retry")]
    assert [decode_batch(batch.body).collection for batch in again] == [STORED["images"]]


def test_the_same_idempotency_key_of_two_tenants_is_two_jobs(
    world: TenantWorld, acme: dict[str, str], other: dict[str, str]
) -> None:
    sent = {"Idempotency-Key": "one-key"}
    body = {"source": f"s3://{BUCKET}/images/"}
    answers = [
        world.client.post("/v1/jobs", json=body, headers=headers | sent) for headers in (acme, other, acme)
    ]
    assert [answer.status_code for answer in answers] == [202] * 3, [answer.text for answer in answers]
    first, second, again = (answer.json()["job_id"] for answer in answers)
    assert first == again != second


def test_places_that_another_tenant_has_indexed_are_not_known(
    world: TenantWorld, acme: dict[str, str], other: dict[str, str]
) -> None:
    request = replace(request_of(bucket="vault"), collection=STORED["quokka"])
    world.deps.ledger.create_job(request, driver=HERE)
    body = {"query": {"object": {"bucket": "vault", "key": "a.png"}}}
    statuses = {
        collection: world.client.post(
            f"/v1/collections/{collection}/search", json=body, headers=headers
        ).status_code
        for collection, headers in {"images": acme, "quokka": other}.items()
    }
    assert statuses == {"images": 403, "quokka": 422}  # the bucket is looked for, and is not there


def test_a_page_of_jobs_is_full_however_many_another_tenant_has(
    world: TenantWorld, acme: dict[str, str]
) -> None:
    newest = world.client.get("/v1/jobs", params={"max_results": 1}, headers=acme).json()
    assert [job["job_id"] for job in newest["jobs"]] == [world.jobs["secret"]]
    following = {"max_results": 1, "next_token": newest["next_token"]}
    older = world.client.get("/v1/jobs", params=following, headers=acme).json()
    assert [job["job_id"] for job in older["jobs"]] == [world.jobs["images"]]
    assert older["next_token"] is None


def test_the_pace_of_a_tenant_s_jobs_is_told_to_no_other(world: TenantWorld) -> None:
    ledger = world.deps.ledger
    for job_id in (world.jobs["images"], world.jobs["quokka"]):
        ledger.set_state(job_id, JobState.RUNNING)
        report = BatchReport(job_id=job_id, path="0", indexed=1, unchanged=0, rejected=())
        ledger.report(report)
        assert ledger.finish_if_done(job_id)
    asked: list[str] = []

    def none_of(name: str) -> bool:
        asked.append(name)
        return False

    confined = ConfinedLedger(ledger, Scope(who="ann", tenant="acme", collections=("*",)))
    assert ledger.find_pace(SPEC.fingerprint) is not None
    assert confined.find_pace(SPEC.fingerprint) is not None
    assert confined.find_pace(SPEC.fingerprint, of=none_of) is None
    assert sorted(asked) == ["images", "secret"]


def test_grants_confine_within_a_tenant(worlds: Worlds) -> None:
    narrow = worlds.make_key("acme", KeyRole.ADMIN, collections=["ima*"])
    with worlds.world() as world:
        listed = world.client.get("/v1/collections", headers=narrow).json()["collections"]
        assert [info["name"] for info in listed] == ["images"]
        jobs = world.client.get("/v1/jobs", headers=narrow).json()["jobs"]
        assert [job["job_id"] for job in jobs] == [world.jobs["images"]]


@pytest.mark.parametrize(
    "source", [f"s3://{BUCKET}/images/", "s3://secrets/", "/etc", "file:///etc", "http://h/a"]
)
def test_a_key_names_only_buckets_that_it_was_granted(worlds: Worlds, tmp_path: Path, source: str) -> None:
    """The service may read this bucket, and this key may not; the others nobody may."""
    with worlds.world() as world:
        for buckets, status in ((("press",), 403), (("*",), 202 if BUCKET in source else None)):
            request = KeyRequest(name="k", roles=[KeyRole.WRITER], tenant="acme", buckets=buckets)
            text = create_key(request, world.backend.keys, NO_LOG, local_caller()).text
            answer = world.client.post(
                "/v1/jobs", json={"source": source}, headers={"authorization": f"Bearer {text}"}
            )
            assert answer.status_code == status or (status != 202 and answer.status_code in (400, 403))


# The one place that confines


def test_no_route_has_ports_that_are_not_confined() -> None:
    unconfined = {
        path.name: path.read_text().count("state.backend")
        for path in (REPOSITORY / "pipeline" / "api").rglob("*.py")
        if "state.backend" in path.read_text()
    }
    # `keyed.py` asks the book of requests, by names that are digests with the tenant in them.
    assert unconfined == {"app.py": 1, "backend.py": 1, "health.py": 2, "keyed.py": 1, "measured.py": 1}


def test_nobody_is_confined_to_all_tenants() -> None:
    with pytest.raises(DeniedError):
        scope_of(local_caller())


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,23}", fullmatch=True)
COLLECTIONS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,99}", fullmatch=True)


@given(NAMES, NAMES, COLLECTIONS, COLLECTIONS)
def test_no_two_names_of_two_tenants_are_stored_as_one(
    tenant: str, another: str, name: str, other_name: str
) -> None:
    first, second = (Scope(who="ann", tenant=each, collections=("*",)) for each in (tenant, another))
    try:
        stored = [first.stored(name), second.stored(other_name)]
    except ArgumentError:
        return
    assert (stored[0] == stored[1]) == ((tenant, name) == (another, other_name))
    assert first.seen(stored[0]) == name
    assert (second.seen(stored[0]) is None) == (tenant != another)


@given(COLLECTIONS)
def test_the_default_tenant_reaches_no_name_of_another(name: str) -> None:
    scope = Scope(who="ann", tenant="default", collections=("*",))
    try:
        stored = scope.stored(name)
    except ArgumentError:
        assert name.startswith("tenant_")
        return
    assert stored == scope.seen(stored) == name
    assert Scope(who="bob", tenant="acme", collections=("*",)).seen(stored) is None


def test_a_task_reaches_no_collection_of_a_tenant() -> None:
    broker = Caller(who="broker", permissions=frozenset())
    require_names(broker, collection="images")
    with pytest.raises(DeniedError):
        require_names(broker, collection=STORED["images"])
    require_names(local_caller(), collection=STORED["images"])


def test_an_id_of_somebody_else_s_job_makes_no_job_and_shows_none(world: TenantWorld) -> None:
    scope = Scope(who="ann", tenant="acme", collections=("*",))
    ledger, foreign = ConfinedLedger(world.deps.ledger, scope), world.jobs["quokka"]
    before = world.deps.ledger.get_job(foreign)
    with pytest.raises(Exception, match="cannot be used"):
        ledger.create_job(request_of(), driver=HERE, job_id=foreign)
    for ask in (
        lambda: ledger.set_state(foreign, JobState.RUNNING),
        lambda: ledger.take_up(foreign, HERE),
        lambda: ledger.set_sync(foreign, request_of()),
        lambda: ledger.failures(foreign),
        lambda: ledger.pending(foreign),
        lambda: ledger.finish_planning(foreign, ignored=1),
        lambda: ledger.plan_again(foreign, [], []),
    ):
        with pytest.raises(Exception, match="no job"):
            ask()
    assert world.deps.ledger.get_job(foreign) == before


def test_a_generation_is_confined_as_its_collection_is() -> None:
    index = MemoryIndex()
    index.create_collection(STORED["images"], SPEC)
    scope = Scope(who="ann", tenant="acme", collections=("images",))
    ref = CollectionRef(name="images", fingerprint=SPEC.fingerprint)
    assert ConfinedIndex(index, scope).live("images") == ref
    assert scope.stored_generation(ref.generation) == TARGETS["images"].generation
    with pytest.raises(DeniedError):
        ConfinedIndex(index, scope).check_generation(replace(ref, name="secret"))

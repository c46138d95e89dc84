"""Policy, search, record, answer: what is recorded of a search, and nothing is told without its record."""

import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import AuditError, DeniedError, FatalError, PictorError, PolicyError, TransientError
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.search.query import Bytes, Object, Query, Stored, Vector
from pipeline.service.access import Caller, Permission, local_caller
from pipeline.service.accountability import POLICY_AGE_S, ROWS_AGE_S, Accountability
from pipeline.service.models import ResidentModel
from pipeline.service.search import QUERIES_AT_ONCE, SearchAnswer, SearchPorts, SearchRequest, search_images
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    AuthorisationRule,
    CaseClock,
    CollectionPolicy,
    Justification,
    Purpose,
    SearchFilter,
    image_id_of,
)
from tests.accountable import policy_version
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, SPEC, TARGET, distinct_png, plan_one_batch

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
KEYS = [f"{number}.png" for number in range(4)]
POLICY = CollectionPolicy(
    purposes=(Purpose(code="theft", text="Theft of vehicles"),),
    roles=("local",),
    min_score=0.5,
    max_k=3,
    retention_days=365,
    verifications=2,
)
WHY = Justification(purpose="theft", case="AB-1", offence="242", authorisation="W 1/26", authority="Court")


class CountingIndex(MemoryIndex):
    """Notes how often the rows of a generation were asked for. Searches nothing while it is away."""

    counted = 0
    is_away = False

    def search(self, *args: Any, **rest: Any) -> Any:
        if self.is_away:
            raise TransientError("the index is away")
        return super().search(*args, **rest)

    def get_generation(self, ref: Any) -> Any:
        self.counted += 1
        return super().get_generation(ref)


class World:
    """A gate over four pictures, and what came of it."""

    def __init__(self, deps: Deps, index: CountingIndex) -> None:
        self.log, self.policies, self.passed_s = MemoryAuditLog(), MemoryPolicyBook(), 0.0
        self.index = index
        self.answers_to = self.another_process()
        self.ports = SearchPorts(
            store=deps.store,
            index=index,
            answers_to=self.answers_to,
            models=ResidentModel(deps.embedder, index),
        )

    def another_process(self, *, is_recording: bool = True) -> Accountability:
        return Accountability(
            log=self.log if is_recording else None,
            policies=self.policies,
            index=self.index,
            clock_s=lambda: self.passed_s,
            now=lambda: NOON + timedelta(seconds=self.passed_s),
        )

    def set_policy(self, policy: CollectionPolicy) -> None:
        former = self.policies.in_force(COLLECTION)
        number = former.version if former else 0
        self.policies.add(policy_version(COLLECTION, policy, replaces=number))

    def search(self, *queries: Query, caller: Caller | None = None, **rest: Any) -> list[SearchAnswer]:
        wanted: dict[str, Any] = {"k": 2, "justification": WHY} | rest
        request = SearchRequest(collection=COLLECTION, **wanted)
        return list(
            search_images(queries or (by_id(0),), request, self.ports, LIMITS, caller or local_caller())
        )

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(entry.record) for entry in self.log.entries() if entry.record]


@pytest.fixture
def index() -> CountingIndex:
    index = CountingIndex()
    index.create_collection(COLLECTION, SPEC)
    return index


@pytest.fixture
def world(deps: Deps, store: MemoryStore, index: CountingIndex) -> World:
    for number, key in enumerate(KEYS):
        store.put(BUCKET, key, distinct_png(number))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    return World(deps, index)


def by_id(number: int) -> Stored:
    id_ = image_id_of(BUCKET, KEYS[number])
    return Stored(text=id_, id=id_)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_a_record_says_who_searched_for_what_in_what_and_what_they_were_told(world: World) -> None:
    caller = replace(
        local_caller(on_behalf_of="Insp. Doe"),
        who="ann (k1)",
        key_id="k1",
        roles=("searcher",),
        address="10.0.0.7",
    )
    world.set_policy(replace(POLICY, roles=("searcher",)))
    [answer] = world.search(caller=caller, min_score=0.6, where=SearchFilter(bucket=BUCKET))
    [record] = world.records
    assert answer.receipt is not None
    assert record["record_id"] == answer.receipt.record_id
    assert record["kind"] == "search"
    assert record["actor"] == {
        "id": "ann (k1)",
        "role": "searcher",
        "auth_method": "key",
        "address": "10.0.0.7",
    }
    assert (record["on_behalf_of"], record["request_id"]) == ("Insp. Doe", caller.request_id)
    assert (record["purpose_code"], record["case_ref"], record["offence_code"]) == ("theft", "AB-1", "242")
    assert record["authorisation"]["ref"] == "W 1/26"
    assert record["authorisation"]["type"] == "ex_ante"
    assert record["probe"]["source"] == by_id(0).id
    assert record["reference_db"] == {
        "collection": COLLECTION,
        "index_generation": TARGET.generation,
        "model_fingerprint": SPEC.fingerprint,
        "row_count": 4,
        "data_checkpoint": "",
    }
    assert record["params"] == {"k": 2, "threshold": 0.6, "metric": "cosine", "filters": {"bucket": BUCKET}}
    assert record["decision"] == {"outcome": "allowed", "policy_version": 1, "reason_code": ""}
    assert record["outcome"] == "to_be_verified"
    assert [(c["id"], c["score"], c["rank"]) for c in record["candidates"]] == [
        (hit.id, round(hit.score, 6), rank) for rank, hit in enumerate(answer.hits, 1)
    ]
    assert record["retention_class"] == "365d"
    assert record["started_at"] <= record["ended_at"]
    assert record["software_version"].startswith("pictor ")


def test_a_probe_is_named_by_its_digest_and_never_kept(world: World) -> None:
    body, vector = distinct_png(2), np.ones(SPEC.dim, dtype=np.float32)
    world.search(
        Bytes(text="picture", body=body),
        Object(text="o", bucket=BUCKET, key="1.png"),
        Vector(text="vector", values=vector),
        by_id(3),
        Bytes(text="picture", body=b"no picture"),
    )
    probes = [(record["probe"]["sha256"], record["probe"]["source"]) for record in world.records]
    assert probes == [
        (sha256(body), "upload"),
        (sha256(distinct_png(1)), image_id_of(BUCKET, "1.png")),
        (sha256(vector.tobytes()), "vector"),
        ("unknown", by_id(3).id),
        (sha256(b"no picture"), "upload"),
    ]
    assert world.records[-1]["outcome"] == "not_an_image"
    assert body.hex()[:64] not in json.dumps(world.records)


def test_a_record_says_how_good_the_picture_was(world: World) -> None:
    body = distinct_png(2)
    world.search(
        Bytes(text="picture", body=body),
        Object(text="o", bucket=BUCKET, key="1.png"),
        by_id(3),
        Vector(text="vector", values=np.ones(SPEC.dim, dtype=np.float32)),
        Bytes(text="picture", body=b"no picture"),
    )
    given, fetched, stored, vector, broken = [record["probe"]["quality"] for record in world.records]
    with Image.open(io.BytesIO(body)) as image:
        size = image.size
    assert (given["width_px"], given["height_px"]) == size
    assert 0 < given["brightness"] < 100
    assert 0 <= given["sharpness"] <= 100
    assert fetched["brightness"] != given["brightness"], "each picture has its own"
    assert stored == {"width_px": size[0], "height_px": size[1], "sharpness": None, "brightness": None}
    assert (vector, broken) == (None, None)


def test_a_stored_picture_is_named_by_its_version_too(world: World) -> None:
    world.search(
        by_id(3), Object(text="o", bucket=BUCKET, key="1.png"), Bytes(text="p", body=distinct_png(2))
    )
    of_row, of_object, upload = [record["probe"]["etag"] for record in world.records]
    store = world.ports.store
    assert of_row == store.stat(BUCKET, KEYS[3]).etag != ""
    assert of_object == store.stat(BUCKET, "1.png").etag
    assert upload == ""


def test_a_record_says_who_gets_the_answer(world: World) -> None:
    key = replace(local_caller(on_behalf_of="ann"), who="desk (k1)")
    world.search(caller=key)
    world.search(caller=replace(key, on_behalf_of=""))
    world.set_policy(POLICY)
    world.passed_s += POLICY_AGE_S
    with pytest.raises(PolicyError):
        world.search(caller=key, justification=Justification(purpose="fun"))
    assert [record["recipients"] for record in world.records] == [["ann", "desk (k1)"], ["desk (k1)"], []]


def test_a_collection_without_a_policy_is_recorded_too(world: World) -> None:
    [answer] = world.search(justification=Justification(), min_score=1.0, k=1)
    [record] = world.records
    assert record["decision"] == {"outcome": "allowed", "policy_version": None, "reason_code": ""}
    assert record["outcome"] == "answered"
    assert answer.to_verify == 0


def test_each_answer_has_its_own_record_and_each_record_its_answer(world: World) -> None:
    queries = [by_id(number % 4) for number in range(QUERIES_AT_ONCE + 3)]
    answers = world.search(*queries)
    receipts = [answer.receipt.record_id for answer in answers if answer.receipt]
    assert receipts == [record["record_id"] for record in world.records]
    assert [record["probe"]["source"] for record in world.records] == [query.id for query in queries]


@pytest.mark.parametrize(
    "error", [TransientError("the disk is full"), FatalError("put back"), PictorError("?")]
)
def test_nothing_is_told_when_it_cannot_be_recorded(world: World, error: Exception) -> None:
    world.log.fail_next(error)
    with pytest.raises(AuditError, match="could not be recorded") as refusal:
        world.search()
    assert not any(key in str(refusal.value) for key in KEYS)
    assert world.records == []
    assert world.search()[0].hits  # the next one is


def test_a_search_that_fails_is_recorded_as_failed(world: World, index: CountingIndex) -> None:
    index.is_away = True
    with pytest.raises(TransientError, match="the index is away"):
        world.search(by_id(0), by_id(1))
    assert [record["outcome"] for record in world.records] == ["failed"] * 2
    assert [record["probe"]["source"] for record in world.records] == [by_id(0).id, by_id(1).id]
    assert {record["details"]["error"] for record in world.records} == {"unavailable"}
    assert {record["purpose_code"] for record in world.records} == {WHY.purpose}


def test_what_a_failed_search_has_told_already_is_recorded_once(world: World, index: CountingIndex) -> None:
    queries = [by_id(0)] * (QUERIES_AT_ONCE + 2)
    request = SearchRequest(collection=COLLECTION, k=2, justification=WHY)
    answers = search_images(queries, request, world.ports, LIMITS, local_caller())
    for _ in range(QUERIES_AT_ONCE):
        next(answers)
    index.is_away = True
    with pytest.raises(TransientError):
        next(answers)
    outcomes = [record["outcome"] for record in world.records]
    assert outcomes == ["answered"] * QUERIES_AT_ONCE + ["failed"] * 2


def test_answers_of_a_chunk_whose_records_fail_stay_inside(world: World) -> None:
    queries = [by_id(0)] * (QUERIES_AT_ONCE + 1)
    request = SearchRequest(collection=COLLECTION)
    answers = search_images(queries, request, world.ports, LIMITS, local_caller())
    told = [next(answers) for _ in range(QUERIES_AT_ONCE)]
    world.log.fail_next(TransientError("away"))
    with pytest.raises(AuditError):
        next(answers)
    assert len(told) == len(world.records)


def test_a_refusal_is_recorded_with_its_reason_and_nothing_is_searched(world: World) -> None:
    world.set_policy(POLICY)
    body = distinct_png(1)
    with pytest.raises(PolicyError, match="purpose fun is stated; allowed are theft") as err:
        world.search(Bytes(text="picture", body=body), justification=Justification(purpose="fun"))
    [record] = world.records
    assert err.value.record_id == record["record_id"]
    assert record["decision"] == {
        "outcome": "refused",
        "policy_version": 1,
        "reason_code": "purpose_not_allowed",
    }
    assert (record["outcome"], record["purpose_code"]) == ("refused", "fun")
    assert record["probe"]["sha256"] == sha256(body)
    assert record["candidates"] == []
    assert record["reference_db"]["collection"] == COLLECTION


@pytest.mark.parametrize("may", [frozenset[Permission](), frozenset({Permission.READ, Permission.WRITE})])
def test_whoever_may_not_search_is_recorded_as_well(world: World, may: frozenset[Permission]) -> None:
    with pytest.raises(DeniedError):
        world.search(caller=replace(local_caller(), permissions=may))
    with pytest.raises(DeniedError):
        world.search(caller=replace(local_caller(), collections=("other",)))
    assert [record["decision"]["reason_code"] for record in world.records] == ["access_denied"] * 2


def test_a_refusal_that_cannot_be_recorded_says_that_alone(world: World) -> None:
    world.set_policy(POLICY)
    world.log.fail_next(TransientError("away"))
    with pytest.raises(AuditError):
        world.search(justification=Justification())


def test_the_floor_of_the_policy_holds_for_whoever_asks_for_none(world: World) -> None:
    world.set_policy(replace(POLICY, min_score=0.999999))
    [answer] = world.search(k=3)
    assert [hit.key for hit in answer.hits] == [KEYS[0]]
    assert world.records[0]["params"]["threshold"] == 0.999999


def test_recording_is_off_only_where_it_was_said_and_then_no_policy_is_searched(world: World) -> None:
    world.ports = replace(world.ports, answers_to=world.another_process(is_recording=False))
    [answer] = world.search()
    assert (answer.receipt, world.records) == (None, [])
    world.set_policy(POLICY)
    world.passed_s += POLICY_AGE_S
    with pytest.raises(PolicyError, match="recording_off"):
        world.search()


def test_a_policy_that_is_changed_counts_within_a_second_and_is_not_looked_up_before(world: World) -> None:
    assert world.search()[0].hits
    world.set_policy(POLICY)
    assert world.search(justification=Justification())[0].hits, "it is remembered"
    world.passed_s += POLICY_AGE_S
    with pytest.raises(PolicyError, match="purpose_missing"):
        world.search(justification=Justification())


def test_rows_are_counted_once_in_a_while_and_the_record_says_when(world: World) -> None:
    for _ in range(5):
        world.search()
        world.passed_s += 1
    assert world.index.counted == 1
    world.passed_s += ROWS_AGE_S
    world.search()
    assert world.index.counted == 2
    counted_at = [record["details"]["rows_counted_at"] for record in world.records]
    assert counted_at[:5] == [NOON.isoformat()] * 5
    assert counted_at[5] == (NOON + timedelta(seconds=5 + ROWS_AGE_S)).isoformat()


class TestFortyEightHours:
    """The clock of a case."""

    WHY = Justification(purpose="theft", case="AB-1")

    @pytest.fixture(autouse=True)
    def policy(self, world: World) -> None:
        world.set_policy(replace(POLICY, authorisation=AuthorisationRule.WITHIN_48H))

    def test_it_starts_with_the_first_search_and_then_closes_the_collection_to_the_case(
        self, world: World
    ) -> None:
        world.search(justification=self.WHY)
        world.passed_s = 48 * 3600 - 1
        world.search(justification=self.WHY)
        ends = {record["authorisation"]["expires_at"] for record in world.records}
        assert ends == {"2026-11-29T12:00:00.000000+00:00"}
        assert {record["authorisation"]["type"] for record in world.records} == {"48h"}
        world.passed_s += 1
        for why in (self.WHY, replace(self.WHY, authorisation="W 1/26", authority="Court")):
            with pytest.raises(PolicyError, match="authorisation_overdue"):
                world.search(justification=why)
        world.search(justification=replace(self.WHY, case="AB-2"))

    @pytest.mark.parametrize("granted", [True, False])
    def test_what_the_authority_decided_opens_or_closes_it(self, world: World, granted: bool) -> None:
        world.search(justification=self.WHY)
        world.policies.decide_case(
            CaseClock(
                collection=COLLECTION,
                case="AB-1",
                started_at=NOON,
                granted=granted,
                authorisation="W 1/26",
                authority="Court",
                decided_by="bob",
                decided_at=NOON,
            )
        )
        world.passed_s = 1 if not granted else 90 * 3600
        if not granted:
            with pytest.raises(PolicyError, match="authorisation_refused"):
                world.search(justification=self.WHY)
            return
        world.search(justification=self.WHY)
        assert world.records[-1]["authorisation"]["ref"] == "W 1/26"
        assert world.records[-1]["authorisation"]["granted_at"] == "2026-11-27T12:00:00.000000+00:00"

    def test_an_authorisation_that_is_stated_starts_no_clock(self, world: World) -> None:
        world.search(justification=replace(self.WHY, authorisation="W 1/26", authority="Court"))
        assert world.policies.find_clock(COLLECTION, "AB-1") is None

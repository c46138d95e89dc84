"""Verification by persons over HTTP: who may decide what, what they see, and what becomes of the picture."""

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI
from starlette.testclient import TestClient

from pipeline.api.backend import Backend
from pipeline.cli.verifications_there import VerificationsThere
from pipeline.client import Pictor
from pipeline.errors import ConflictError, TransientError
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.service.access import Permission, local_caller
from pipeline.service.kept_probes import FOLDER, KeptProbes
from pipeline.service.keys import KeyRequest, create_key
from pipeline.service.verifications import decide_match
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    CollectionPolicy,
    KeyRole,
    MatchDecision,
    MatchState,
    Purpose,
    image_id_of,
)
from tests.accountable import NO_LOG, policy_version
from tests.unit.api_client import ORIGIN, backend_of, client_with_keys
from tests.unit.client_doors import InThisProcess
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, SPEC, distinct_png, plan_one_batch

SEARCH = f"/v1/collections/{COLLECTION}/search"
WHY = {"purpose": "theft", "case": "AB-1"}
QUEUE = "/v1/verifications"
PICTURE = distinct_png(1)
Answer = dict[str, Any]


class World:
    """A service with keys, over a collection of two pictures whose matches two persons verify."""

    def __init__(self, backend: Backend, client: TestClient, log: MemoryAuditLog, store: MemoryStore) -> None:
        self.backend, self.client, self.log, self.store = backend, client, log, store
        self.ann = self.key("ann", KeyRole.SEARCHER, KeyRole.VERIFIER)
        self.bob, self.cat, self.dan = (self.key(name, KeyRole.VERIFIER) for name in ("bob", "cat", "dan"))

    def key(self, name: str, *roles: KeyRole, **more: Any) -> dict[str, str]:
        made = create_key(
            KeyRequest(name=name, roles=roles, **more), self.backend.keys, NO_LOG, local_caller()
        )
        return {"authorization": f"Bearer {made.text}"}

    def search(self, query: Mapping[str, object], **more: Any) -> str:
        """Its receipt."""
        answer = self.client.post(
            SEARCH, json={"query": query, "k": 1, "justification": WHY} | more, headers=self.ann
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["answers"][0]["receipt"])

    def search_picture(self, picture: bytes = PICTURE, k: int = 1) -> str:
        stated = {f"x-pictor-{name}": value for name, value in WHY.items()}
        answer = self.client.post(
            f"{SEARCH}/image", params={"k": k}, content=picture, headers=self.ann | stated
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["answers"][0]["receipt"])

    def decide(self, match_id: str, who: dict[str, str], decision: str, reason: str = "as I see it") -> Any:
        said = {"decision": decision, "reason": reason}
        return self.client.post(f"{QUEUE}/{match_id}/decision", json=said, headers=who)

    def show(self, match_id: str, who: dict[str, str]) -> Answer:
        answer: Answer = self.client.get(f"{QUEUE}/{match_id}", headers=who).json()
        return answer

    def queued(self, who: dict[str, str], **params: Any) -> list[str]:
        answer = self.client.get(QUEUE, params=params, headers=who)
        assert answer.status_code == 200, answer.text
        return [match["id"] for match in answer.json()["verifications"]]

    def probe_status(self, match_id: str, who: dict[str, str]) -> int:
        return self.client.get(f"{QUEUE}/{match_id}/probe", headers=who).status_code

    def kept(self) -> list[str]:
        return [ref.key for ref in self.store.list_objects(BUCKET, f"uploads/{FOLDER}")]

    def records(self, kind: str) -> list[dict[str, Any]]:
        found = [json.loads(entry.record) for entry in self.log.entries() if entry.record]
        return [record for record in found if record["kind"] == kind]


@pytest.fixture
def world(deps: Deps, store: MemoryStore, tmp_path: Path) -> Iterator[World]:
    for number in (1, 2):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    log = MemoryAuditLog()
    backend = backend_of(deps, tmp_path, log=log)
    set_policy(backend, verifications=2)
    with client_with_keys(backend) as client:
        yield World(backend, client, log, store)


def set_policy(backend: Backend, *, verifications: int) -> None:
    policy = CollectionPolicy(
        purposes=(Purpose(code="theft", text="Theft"),), roles=("searcher",), verifications=verifications
    )
    former = backend.policies.in_force(COLLECTION)
    backend.policies.add(policy_version(COLLECTION, policy, replaces=former.version if former else 0))


def test_two_persons_confirm_blind_to_each_other_and_each_decision_is_an_entry(world: World) -> None:
    match = f"{world.search_picture()}-1"
    assert world.queued(world.bob) == world.queued(world.cat) == [match]
    shown = world.show(match, world.bob)
    assert (shown["state"], shown["closed"]) == ("to_verify", False)
    assert (shown["own"], shown["decisions"]) == (None, [])
    assert shown["image_id"] == image_id_of(BUCKET, "1.png")
    assert (shown["purpose"], shown["case"]) == ("theft", "AB-1")
    assert shown["probe_source"] == "upload"
    mine = world.decide(match, world.bob, "confirm", "the same scar").json()
    assert (mine["state"], mine["decisions"]) == ("in_verification", [])
    assert mine["own"]["reason"] == "the same scar"
    blind = world.client.get(f"{QUEUE}/{match}", headers=world.cat).text
    assert "bob" not in blind
    assert "scar" not in blind
    assert world.queued(world.bob) == []
    closed = world.decide(match, world.cat, "confirm", "the same ear").json()
    assert (closed["state"], closed["closed"]) == ("confirmed", True)
    assert [(made["person"], made["reason"]) for made in closed["decisions"]] == [
        ("bob", "the same scar"),
        ("cat", "the same ear"),
    ]
    first, second = world.records("verification")
    assert first["refers_to"] == second["refers_to"] == [match.removesuffix("-1")]
    assert [verifier["id"] for verifier in first["verifiers"]] == ["bob"]
    assert (first["outcome"], first["case_ref"], first["purpose_code"]) == ("confirm", "AB-1", "theft")
    assert [candidate["id"] for candidate in first["candidates"]] == [shown["image_id"]]
    assert [made["receipt"] for made in closed["decisions"]] == [first["record_id"], second["record_id"]]


def test_disagreement_goes_to_a_third_who_knows_that_alone(world: World) -> None:
    match = f"{world.search_picture()}-1"
    world.decide(match, world.bob, "confirm", "the same scar")
    assert world.decide(match, world.cat, "reject", "another ear").json()["state"] == "disputed"
    for who in (world.bob, world.cat, world.dan):
        assert world.show(match, who)["decisions"] == []
    assert world.queued(world.dan) == [match]
    assert world.decide(match, world.dan, "reject").json()["state"] == "rejected"
    assert len(world.show(match, world.bob)["decisions"]) == 3


def test_whoever_searched_never_verifies_it_and_is_told_why(world: World) -> None:
    match = f"{world.search_picture()}-1"
    assert world.queued(world.ann) == []
    refused = world.decide(match, world.ann, "confirm")
    assert (refused.status_code, refused.json()["code"]) == (403, "denied")
    assert "'ann' made this search; other persons verify" in refused.json()["detail"]
    portal = world.key("portal", KeyRole.VERIFIER, acts_for_others=True)
    for_ann = portal | {"x-pictor-on-behalf-of": "ANN"}
    assert world.decide(match, for_ann, "confirm").status_code == 403
    one, two = (portal | {"x-pictor-on-behalf-of": name} for name in ("Roe", "roe "))
    assert world.decide(match, one, "confirm").json()["state"] == "in_verification"
    assert world.decide(match, two, "reject").status_code == 409  # the same person
    assert len(world.records("verification")) == 1


def test_a_decision_is_made_once_and_the_same_again_is_the_same(world: World) -> None:
    match = f"{world.search_picture()}-1"
    for _ in range(2):
        assert world.decide(match, world.bob, "confirm").status_code == 200
    for decision, reason in (("reject", "as I see it"), ("confirm", "another reason")):
        other = world.decide(match, world.bob, decision, reason)
        assert (other.status_code, "has decided already" in other.json()["detail"]) == (409, True)
    world.decide(match, world.cat, "confirm")
    late = world.decide(match, world.dan, "confirm")
    assert (late.status_code, "is closed: it is confirmed" in late.json()["detail"]) == (409, True)
    assert world.decide(match, world.bob, "confirm").status_code == 200
    assert len(world.records("verification")) == 2


@pytest.mark.parametrize("role", [role for role in KeyRole if role is not KeyRole.VERIFIER])
def test_no_other_role_verifies(world: World, role: KeyRole) -> None:
    match, key = f"{world.search_picture()}-1", world.key("eve", role)
    assert world.decide(match, key, "confirm").status_code == 403
    assert world.probe_status(match, key) == 403
    assert world.client.get("/verify", headers=key).status_code == 403


@pytest.mark.parametrize("role", KeyRole)
def test_pages_link_to_what_the_key_may_open_alone(world: World, role: KeyRole) -> None:
    key = world.key("eve", role)
    page = world.client.get("/audit", headers=key).text  # or the page that says why not
    for path in ("/verify", "/audit"):
        assert (f'href="{path}"' in page) is (world.client.get(path, headers=key).status_code == 200), path


@pytest.mark.parametrize("said", [{"decision": "maybe", "reason": "r"}, {"decision": "confirm"}])
def test_a_decision_needs_a_known_word_and_a_reason(world: World, said: dict[str, str]) -> None:
    match = f"{world.search_picture()}-1"
    for body in (said, {"decision": "confirm", "reason": " "}, {"decision": "confirm", "reason": "a\nb"}):
        answer = world.client.post(f"{QUEUE}/{match}/decision", json=body, headers=world.bob)
        assert answer.status_code in (400, 422)
    for name in ("none", f"{'0' * 32}-1", f"{match}0", match.upper()):
        assert world.decide(name, world.bob, "confirm").status_code == 404
    assert world.records("verification") == []


def test_nothing_is_decided_that_cannot_be_recorded(world: World) -> None:
    match = f"{world.search_picture()}-1"
    world.log.fail_next(TransientError("away"))
    assert world.decide(match, world.bob, "confirm").json()["code"] == "audit_unavailable"
    assert (world.show(match, world.bob)["state"], world.kept() == []) == ("to_verify", False)


def test_one_person_who_decides_twice_at_once_has_one_entry(world: World) -> None:
    match, start = f"{world.search_picture()}-1", threading.Barrier(6)
    verifier = replace(local_caller(), permissions=frozenset({Permission.VERIFY}))
    decisions = [MatchDecision.CONFIRM, MatchDecision.REJECT]

    def decide(number: int) -> bool:
        start.wait()
        caller = replace(verifier, who=("bob", "cat", "dan")[number % 3])
        try:
            decide_match(match, decisions[number // 3], "at once", world.backend.verifying, caller)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        counted = sum(threads.map(decide, range(6)))
    found = world.backend.verifications.find(match.removesuffix("-1"), 1)
    assert found is not None
    assert len(found.decisions) == counted
    entries = [record["verifiers"][0]["id"] for record in world.records("verification")]
    assert sorted(entries) == sorted(set(entries))


def test_the_queue_has_pages_and_only_what_a_key_reaches(world: World) -> None:
    receipts = [world.search_picture(k=2) for _ in range(2)]
    ids = [f"{receipt}-{rank}" for receipt in receipts for rank in (1, 2)]
    assert world.queued(world.bob) == ids
    first = world.client.get(QUEUE, params={"max_results": 3}, headers=world.bob).json()
    assert [match["id"] for match in first["verifications"]] == ids[:3]
    following = {"max_results": 3, "next_token": first["next_token"]}
    second = world.client.get(QUEUE, params=following, headers=world.bob).json()
    assert ([match["id"] for match in second["verifications"]], second["next_token"]) == (ids[3:], None)
    assert world.queued(world.bob, collection=COLLECTION) == ids
    narrow = world.key("eve", KeyRole.VERIFIER, collections=["other*"])
    foreign = world.key("joe", KeyRole.VERIFIER, tenant="acme")
    for key in (narrow, foreign):
        assert world.queued(key) == []
        assert world.decide(ids[0], key, "confirm").status_code == 404
    assert world.queued(foreign, collection=COLLECTION) == []  # its own of that name


def test_whoever_searched_sees_how_far_its_matches_are(world: World) -> None:
    receipt = world.search_picture(k=2)
    world.decide(f"{receipt}-2", world.bob, "reject")
    auditor, eve = world.key("aud", KeyRole.AUDITOR), world.key("eve", KeyRole.SEARCHER)
    for key in (world.ann, world.bob, auditor):
        found = world.client.get(f"/v1/searches/{receipt}", headers=key).json()
        assert [match["state"] for match in found["matches"]] == ["to_verify", "in_verification"]
        assert "bob" not in json.dumps(found)
    assert world.client.get(f"/v1/searches/{receipt}", headers=eve).status_code == 403
    assert world.client.get("/v1/searches/none", headers=world.ann).status_code == 404


# What was searched with


def test_a_picture_is_kept_until_its_matches_are_closed_and_no_longer(world: World) -> None:
    receipt = world.search_picture(k=2)
    assert world.kept() == [f"uploads/{FOLDER}{receipt}"]
    picture = world.client.get(f"{QUEUE}/{receipt}-1/probe", headers=world.bob)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert picture.headers["cache-control"] == "no-store"
    for rank in (1, 2):
        assert world.kept()
        for who in (world.bob, world.cat):
            assert world.decide(f"{receipt}-{rank}", who, "reject").status_code == 200
    assert world.kept() == []
    assert world.probe_status(f"{receipt}-1", world.bob) == 404


def test_a_picture_that_is_not_the_one_of_the_record_is_not_shown(world: World) -> None:
    receipt = world.search_picture()
    world.store.put(BUCKET, f"uploads/{FOLDER}{receipt}", distinct_png(5))
    assert world.probe_status(f"{receipt}-1", world.bob) == 422


def test_no_picture_is_kept_that_nobody_verifies(world: World) -> None:
    nothing_alike = {"min_score": 1.0, "k": 1}
    world.client.post(
        f"{SEARCH}/image",
        params=nothing_alike,
        content=distinct_png(9),
        headers=world.ann | {"x-pictor-purpose": "theft"},
    )
    assert [record["outcome"] for record in world.records("search")] == ["nothing_found"]
    assert world.kept() == []


def test_no_picture_is_kept_where_the_policy_asks_nobody(world: World) -> None:
    set_policy(world.backend, verifications=0)
    world.search_picture()
    assert world.kept() == []
    assert world.queued(world.bob) == []


def test_a_stored_image_and_an_object_are_shown_from_where_they_are(world: World) -> None:
    stored = world.search({"id": image_id_of(BUCKET, "2.png")})
    named = world.search({"object": {"bucket": BUCKET, "key": "1.png"}})
    vector = world.search({"vector": [1.0] * SPEC.dim})
    assert world.kept() == []
    for receipt in (stored, named):
        assert world.probe_status(f"{receipt}-1", world.bob) == 200
    world.store.put(BUCKET, "1.png", distinct_png(7))
    assert world.probe_status(f"{named}-1", world.bob) == 422
    far = world.key("eve", KeyRole.VERIFIER, buckets=["elsewhere"])
    assert world.probe_status(f"{named}-1", far) == 403
    assert world.probe_status(f"{vector}-1", world.bob) == 404


def test_the_sweep_erases_what_is_left_and_what_is_too_old(world: World) -> None:
    open_now = world.search_picture()
    probes: KeptProbes = world.backend.verifying.probes
    probes.keep("f" * 32, PICTURE)  # of a search that was erased since
    book, now = world.backend.verifications, datetime.now(UTC)
    assert probes.sweep(book, opened_before=now - timedelta(days=1)) == 1
    assert world.kept() == [f"uploads/{FOLDER}{open_now}"]
    assert probes.sweep(book, opened_before=now + timedelta(days=1)) == 1
    assert world.kept() == []


# The page


def test_the_page_shows_both_pictures_and_takes_a_decision(world: World) -> None:
    receipt = world.search_picture(k=2)
    page = world.client.get("/verify", headers=world.bob)
    assert page.status_code == 200
    assert f"/v1/verifications/{receipt}-1/probe" in page.text
    assert f"/images/{image_id_of(BUCKET, '1.png')}/thumbnail" in page.text
    assert page.text.count("· candidate") == 2
    assert f'id="after" href="/verify?match={receipt}-2"' in page.text
    form = {"match": f"{receipt}-1", "decision": "confirm", "reason": "<b>the same</b>", "collection": ""}
    done = world.client.post("/verify", data=form, headers=world.bob, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, f"/verify?done={receipt}-1")
    following = world.client.get(done.headers["location"], headers=world.bob).text
    assert "Your decision is recorded." in following
    assert f'value="{receipt}-2"' in following
    again = world.client.get("/verify", params={"match": f"{receipt}-1"}, headers=world.bob).text
    assert "You have decided: the same." in again
    assert "&lt;b&gt;the same&lt;/b&gt;" in again
    assert "<b>the same" not in again


def test_the_page_keeps_what_was_written_when_it_is_refused(world: World) -> None:
    receipt = world.search_picture()
    form = {"match": f"{receipt}-1", "decision": "", "reason": "the same ear"}
    refused = world.client.post("/verify", data=form, headers=world.bob)
    assert refused.status_code == 400
    assert 'role="alert"' in refused.text
    assert 'value="the same ear"' in refused.text
    own = world.client.get("/verify", params={"match": f"{receipt}-1"}, headers=world.ann).text
    assert "You made this search" in own
    assert 'name="reason"' not in own


def test_the_page_says_when_there_is_nothing_to_do_and_when_something_is_gone(world: World) -> None:
    assert "nothing for you to verify" in world.client.get("/verify", headers=world.bob).text
    receipt = world.search_picture()
    world.backend.index.delete_images(world.backend.index.live(COLLECTION), [image_id_of(BUCKET, "1.png")])
    assert "not in the collection any more" in world.client.get("/verify", headers=world.bob).text
    for who in (world.bob, world.cat):
        world.decide(f"{receipt}-1", who, "cannot_tell", "no picture")
    assert world.show(f"{receipt}-1", world.dan)["state"] == MatchState.DISPUTED
    world.decide(f"{receipt}-1", world.dan, "cannot_tell", "no picture")
    closed = world.client.get("/verify", params={"match": f"{receipt}-1"}, headers=world.bob).text
    assert "What was decided" in closed


# Clients and the command through a service


def test_a_client_and_the_command_through_a_service_do_the_same(world: World) -> None:
    receipt = world.search_picture(k=2)
    key = world.bob["authorization"].removeprefix("Bearer ")
    with (
        start_blocking_portal() as portal,
        Pictor(ORIGIN, key=key, transport=InThisProcess(cast("FastAPI", world.client.app), portal)) as pictor,
    ):
        there = VerificationsThere(pictor, "")
        assert [match["id"] for match in there.list(COLLECTION, 1)] == [f"{receipt}-1"]
        assert [match.id for match in pictor.list_verifications(page_items=1)] == world.queued(world.bob)
        assert there.show(f"{receipt}-2")["state"] == "to_verify"
        made = there.decide(f"{receipt}-2", MatchDecision.REJECT, "another ear")
        assert (made["state"], made["closed"]) == ("in_verification", False)
        again = pictor.decide_verification(f"{receipt}-2", "reject", reason="another ear")
        assert again.own is not None
        assert (again.own["person"], again.decisions) == ("bob", [])
        assert pictor.probe_picture(f"{receipt}-1").startswith(b"\xff\xd8")
        states = [match.state for match in pictor.show_search(receipt).matches]
        assert states == ["to_verify", "in_verification"]
        with pytest.raises(ConflictError, match="has decided already"):
            pictor.decide_verification(f"{receipt}-2", "confirm", reason="r")

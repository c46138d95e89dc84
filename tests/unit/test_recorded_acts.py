"""Whoever changes something is recorded before it is changed, or it stays as it is.

The use cases that change something are found by the permission that they ask for. A new one fails here until
it is knocked at, or somebody says why it needs no entry.
"""

import ast
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.errors import AuditError, TransientError
from pipeline.ingest.run_batch import run_batch
from pipeline.location import Location
from pipeline.ports import Deps, KeyBook
from pipeline.service import audit, delete, drop_generation, images, keys, policies, submit, tags
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.act_records import IDS_OF_ENTRY, enter_deletion
from pipeline.service.keys import KeyRequest
from pipeline.service.submit import Submission
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_persons import MemoryPersonBook
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import WORKERS, CaseClock, CollectionPolicy, KeyRole, image_id_of
from tests.audit_records import search_by
from tests.conftest import REPOSITORY
from tests.unit.fakes import BUCKET, COLLECTION, HERE, LIMITS, SPEC, distinct_png, plan_one_batch

ANN = replace(local_caller(), who="ann (key)")
BOB = replace(local_caller(), who="bob (key)")
WANTED = Submission(
    location=Location(url=f"s3://{BUCKET}/", bucket=BUCKET, prefix=""), collection=COLLECTION, batch_items=4
)
OTHER = replace(SPEC, fingerprint="0e" * 32)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)

# Which use cases there are

CHANGING = ("WRITE", "OPERATE", "KEYS", "APPROVE")  # permissions
SERVICE = REPOSITORY / "pipeline" / "service"
NEED_NO_ENTRY: Mapping[str, str] = {
    "audit.erase_found": "calls erase_records",
    "audit_retention.erase_due": "calls erase_records",
    "audit_restart.enter_new_log": "makes the entry itself, see test_new_log.py",
    "create.create_collection": "it is empty, and about nobody",
    "drop_generation.find_droppable": "changes nothing",
    "estimate.estimate_job": "changes nothing",
    "index_image.find_picture": "changes nothing. The job that follows has its entry",
    "index_image.keep_picture": "the job that follows has its entry",
    "keys.find_key": "changes nothing",
    "keys.list_keys": "changes nothing",
    "move.cancel_job": "of a job that has its entry",
    "move.check_move": "changes nothing",
    "move.pause_job": "of a job that has its entry",
    "move.resume_job": "of a job that has its entry",
    "promote.promote_generation": "the record of each search names its generation",
    "prune.prune_jobs": "deletes what jobs noted of themselves, and no images",
    "retry.retry_failures": "of a job that has its entry",
    "persons.writable": "changes nothing",
    "verify.verify": "brings book and index in step, and changes no image",
}

# They need a model of faces, so test_rekognition.py and test_rekognition_users.py try them.
OF_FACES = frozenset(
    {
        "associations.associate_faces",
        "associations.dissociate_faces",
        "index_faces.index_faces",
        "index_faces.remove_faces",
        "persons.create_person",
        "persons.delete_person",
    }
)


def asks(function: ast.AST) -> bool:
    """Whether a function asks for one of the permissions to change something."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in CHANGING
        and isinstance(node.value, ast.Name)
        and node.value.id == "Permission"
        for node in ast.walk(function)
    )


@cache
def use_cases() -> frozenset[str]:
    """Public functions that ask for such a permission, and those that call them."""
    functions = {
        (path.stem, node.name): node
        for path in SERVICE.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    found = {place for place, function in functions.items() if asks(function)}
    while more := {place for place in functions.keys() - found if calls(functions[place], place[0], found)}:
        found |= more
    return frozenset(f"{module}.{name}" for module, name in found if not name.startswith("_"))


def calls(function: ast.AST, module: str, asking: set[tuple[str, str]]) -> bool:
    """Whether it names one of these functions, of its own module or a public one of another."""
    known = {name for where, name in asking if where == module or not name.startswith("_")}
    return any(isinstance(node, ast.Name) and node.id in known for node in ast.walk(function))


# What each does


@dataclass(frozen=True, kw_only=True)
class World:
    deps: Deps
    log: MemoryAuditLog
    answers_to: Accountability
    key_id: str
    no_keys: KeyBook  # of a deployment that has none yet
    persons: MemoryPersonBook

    def state(self) -> object:
        """All that an act could change."""
        ledger, index = self.deps.ledger, self.deps.index
        return (
            index.list_collections(),
            index.list_generations(COLLECTION),
            sorted(
                image.ref.image_id
                for info in index.list_collections()
                for image in index.list_images(info.ref)
            ),
            ledger.list_jobs(),
            book_of(self).list_keys(),
            self.no_keys.list_keys(),
            self.answers_to.policies.history(COLLECTION),
            self.answers_to.policies.find_clock(COLLECTION, "AB-1"),
            self.persons.tags(COLLECTION),
        )


@pytest.fixture
def world(
    deps: Deps, store: MemoryStore, ledger: SqlLedger, tmp_path: Path, empty_ledger_file: Path
) -> Iterator[World]:
    store.put(BUCKET, "0.png", distinct_png(0))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    deps.index.open_generation(COLLECTION, OTHER)
    log = MemoryAuditLog()
    unrecorded = Accountability(log=None, policies=ledger.policies, index=None)
    policies.set_policy(COLLECTION, CollectionPolicy(), unrecorded, ANN)
    policies.set_policy(COLLECTION, CollectionPolicy(roles=("searcher",)), unrecorded, ANN)
    made = keys.create_key(KeyRequest(name="k", roles=[KeyRole.SEARCHER]), ledger.keys, unrecorded, ANN)
    answers_to = Accountability(log=log, policies=ledger.policies, index=deps.index)
    empty = shutil.copy(empty_ledger_file, tmp_path / "empty.db")
    with open_ledger(f"sqlite:///{empty}") as other:
        persons = MemoryPersonBook()
        persons.set_tags(COLLECTION, {"team": "one"})
        yield World(
            deps=deps,
            log=log,
            answers_to=answers_to,
            key_id=made.key.key_id,
            no_keys=other.keys,
            persons=persons,
        )


def book_of(world: World) -> KeyBook:
    ledger = world.deps.ledger
    assert isinstance(ledger, SqlLedger)
    return ledger.keys


def erase_one(world: World) -> None:
    record = search_by("eve")
    world.log.append([record])
    audit.erase_records([record.record_id], world.log, BOB, reason="asked for")


Act = Callable[[World], object]
CASE = CaseClock(
    collection=COLLECTION, case="AB-1", started_at=NOW, granted=True, authorisation="W 1", authority="Court"
)
KEY = KeyRequest(name="new", roles=[KeyRole.WRITER])

ACTS: Mapping[str, tuple[str, Act]] = {
    "submit.submit_embedded": (
        "job",
        lambda w: submit.submit_embedded(WANTED, w.deps, w.answers_to, BOB, driver=HERE),
    ),
    "submit.submit_to_workers": (
        "job",
        lambda w: submit.submit_to_workers(WANTED, w.deps, w.answers_to, BOB, job_id="mine"),
    ),
    "submit.submit_heard": ("job", lambda w: submit.submit_heard(WANTED, w.deps, w.answers_to, BOB)),
    "delete.delete_objects": (
        "deletion",
        lambda w: delete.delete_objects(
            BUCKET,
            ["0.png"],
            collection=COLLECTION,
            index=w.deps.index,
            ledger=w.deps.ledger,
            answers_to=w.answers_to,
            caller=BOB,
            meant_at=datetime.now(UTC),
            driver=WORKERS,
        ),
    ),
    "images.remove_image": (
        "deletion",
        lambda w: images.remove_image(
            image_id_of(BUCKET, "0.png"),
            COLLECTION,
            w.deps.index,
            w.deps.ledger,
            w.answers_to,
            BOB,
            driver=WORKERS,
        ),
    ),
    "delete.drop_collection": (
        "deletion",
        lambda w: delete.drop_collection(
            COLLECTION, w.deps.index, w.deps.ledger.book, w.persons, w.answers_to, BOB
        ),
    ),
    "drop_generation.drop_generation": (
        "deletion",
        lambda w: drop_generation.drop_generation(
            COLLECTION, "0e", w.deps.index, w.deps.ledger.book, w.answers_to, BOB
        ),
    ),
    "keys.create_key": ("key_change", lambda w: keys.create_key(KEY, book_of(w), w.answers_to, BOB)),
    "keys.create_first_key": ("key_change", lambda w: keys.create_first_key(w.no_keys, w.answers_to, BOB)),
    "keys.revoke_key": ("key_change", lambda w: keys.revoke_key(w.key_id, book_of(w), w.answers_to, BOB)),
    "keys.rotate_key": ("key_change", lambda w: keys.rotate_key(w.key_id, book_of(w), w.answers_to, BOB)),
    "policies.set_policy": (
        "policy_change",
        lambda w: policies.set_policy(COLLECTION, CollectionPolicy(max_k=1), w.answers_to, BOB),
    ),
    "policies.decide_policy": (
        "policy_change",
        lambda w: policies.decide_policy(COLLECTION, 2, w.answers_to, BOB, agree=True),
    ),
    "policies.decide_case": ("authorisation", lambda w: policies.decide_case(CASE, w.answers_to, BOB)),
    "audit.erase_records": ("erasure", erase_one),
    "tags.set_tags": (
        "collection_change",
        lambda w: tags.set_tags(COLLECTION, {"team": "two"}, w.deps.index, w.persons, w.answers_to, BOB),
    ),
    "tags.remove_tags": (
        "collection_change",
        lambda w: tags.remove_tags(COLLECTION, ["team"], w.deps.index, w.persons, w.answers_to, BOB),
    ),
}


def test_every_use_case_that_changes_something_is_known_here() -> None:
    assert use_cases() == ACTS.keys() | NEED_NO_ENTRY.keys() | OF_FACES


@pytest.mark.parametrize("name", ACTS)
def test_an_act_has_an_entry_that_says_who_and_what(world: World, name: str) -> None:
    kind, act = ACTS[name]
    act(world)
    [entry] = [entry for entry in world.log.entries() if entry.record is not None]
    record = json.loads(entry.record or b"")
    assert (record["kind"], record["actor"]["id"]) == (kind, "bob (key)")
    if kind in ("job", "deletion", "policy_change", "authorisation", "collection_change"):
        assert record["reference_db"]["collection"] == COLLECTION


@pytest.mark.parametrize("name", [name for name in ACTS if name != "audit.erase_records"])
def test_what_cannot_be_recorded_is_not_done(world: World, name: str) -> None:
    before = world.state()
    world.log.fail_next(TransientError("away"))
    with pytest.raises(AuditError, match="could not be recorded"):
        ACTS[name][1](world)
    assert world.state() == before


def test_no_entry_holds_the_text_of_a_key(world: World) -> None:
    made = keys.create_key(KEY, book_of(world), world.answers_to, BOB)
    again = keys.rotate_key(made.key.key_id, book_of(world), world.answers_to, BOB)
    told = b"".join(entry.record or b"" for entry in world.log.entries()).decode()
    for key in (made, again):
        assert key.key.key_id in told
        assert key.text.rpartition(key.key.key_id)[2] not in told


def test_a_job_s_entry_names_the_job_and_its_source(world: World) -> None:
    job = submit.submit_to_workers(WANTED, world.deps, world.answers_to, BOB)
    [entry] = world.log.entries()
    details = json.loads(entry.record or b"")["details"]
    assert (details["job_id"], details["source"]) == (job.job_id, f"s3://{BUCKET}/")


def test_the_entries_of_tags_say_which(world: World) -> None:
    ACTS["tags.set_tags"][1](world)
    ACTS["tags.remove_tags"][1](world)
    told = [json.loads(entry.record or b"") for entry in world.log.entries()]
    assert [(record["outcome"], record["details"]) for record in told] == [
        ("tagged", {"tags": {"team": "two"}}),
        ("untagged", {"keys": ["team"]}),
    ]


def test_many_images_that_are_deleted_at_once_have_several_entries(world: World) -> None:
    ids = [f"{number:032x}" for number in range(IDS_OF_ENTRY + 1)]
    enter_deletion(ids, COLLECTION, world.answers_to, BOB)
    told = [json.loads(entry.record or b"")["details"]["image_ids"] for entry in world.log.entries()]
    assert [image_id for part in told for image_id in part] == ids
    assert [len(part) for part in told] == [IDS_OF_ENTRY, 1]

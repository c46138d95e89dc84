"""A batch that waited: it writes nothing over what is newer, brings nothing back, and its counts add up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.ingest.handle import Handled, handle_embed, handle_prepare
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.ingest.plan import PlanStep, plan_job, sum_findings
from pipeline.ingest.sync import prepare_book, remove_missing
from pipeline.ingest.verify import Difference, verify_collection
from pipeline.ports import Deps
from pipeline.service.access import local_caller
from pipeline.service.delete import delete_objects
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    WORKERS,
    CollectionRef,
    IndexRow,
    JobCounts,
    JobState,
    Verdict,
    VersionEntry,
    VersionState,
    image_id_of,
)
from tests.accountable import NO_LOG
from tests.index_rows import ids_in
from tests.unit.fakes import BUCKET, COLLECTION, LIMITS, TARGET, distinct_png, indexed_keys, request_of

STAGING = "staging"
GENERATION = TARGET.generation
TEXT = b"no picture, but a text of some length"


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(BUCKET, STAGING)
    store.put(BUCKET, "a.png", distinct_png(1))
    store.put(BUCKET, "b.png", distinct_png(2))
    return store


@pytest.fixture
def deps(deps: Deps) -> Deps:
    return replace(deps, staging_bucket=STAGING)


def plan(deps: Deps) -> bytes:
    """The one message of a job that lists the bucket as it is now, and compares it with the book."""
    return record(listed(deps), deps)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A plan that is made, and not written into the ledger yet."""

    job_id: str
    steps: Sequence[PlanStep]


def listed(deps: Deps) -> Listed:
    job = deps.ledger.create_job(replace(request_of(), max_delete_share=1.0), driver=WORKERS)
    return Listed(job_id=job.job_id, steps=list(plan_job(job, deps.store, deps.ledger.book)))


def record(plan: Listed, deps: Deps) -> bytes:
    job_id, steps = plan.job_id, plan.steps
    [batch] = [step.batch for step in steps if step.batch is not None]
    findings, cursor = sum_findings(steps), steps[-1].cursor
    assert deps.ledger.record_plan(job_id, [batch], cursor=cursor, ignored=0, findings=findings)
    deps.ledger.finish_planning(job_id, ignored=0)
    return batch.body


def record_missing(plan: Listed, deps: Deps) -> None:
    """A plan that has no batch."""
    findings = sum_findings(plan.steps)
    assert findings.missing
    assert deps.ledger.record_plan(
        plan.job_id, [], cursor=plan.steps[-1].cursor, ignored=0, findings=findings
    )
    deps.ledger.finish_planning(plan.job_id, ignored=0)


def stage(message: bytes, deps: Deps) -> bytes:
    """The message for the embed tier, whose pixels lie in the staging bucket from here on."""
    handled = handle_prepare(message, deps, LIMITS)
    assert handled.forward is not None
    return encode_batch(handled.forward)


def embed(message: bytes, deps: Deps) -> Handled:
    handled = handle_embed(message, deps, LIMITS)
    assert handled.verdict is Verdict.ACK, handled
    return handled


def deliver(message: bytes, deps: Deps, first: Callable[..., Handled]) -> None:
    """To a worker of either tier, and on to one with a model if the first one says so."""
    handled = first(message, deps, LIMITS)
    assert handled.verdict is Verdict.ACK, handled
    if handled.forward is not None:
        embed(encode_batch(handled.forward), deps)


def counts_of(message: bytes, deps: Deps) -> JobCounts:
    return deps.ledger.get_job(decode_batch(message).job_id).counts


def etags(deps: Deps) -> Mapping[str, str]:
    rows = deps.index.get_rows(TARGET, ids_in(deps.index, TARGET))
    return {row.ref.key: row.ref.etag for row in rows}


def present_etags(deps: Deps) -> Mapping[str, str]:
    return {ref.key: ref.etag for ref in deps.store.list_objects(BUCKET)}


def entries(deps: Deps) -> Sequence[VersionEntry]:
    return list(deps.ledger.book.list_versions(GENERATION, BUCKET))


def states(deps: Deps) -> Mapping[str, VersionState]:
    return {entry.ref.key: entry.state for entry in entries(deps)}


def delete(deps: Deps, *keys: str, meant_at: datetime | None = None) -> None:
    delete_objects(
        BUCKET,
        keys,
        collection=COLLECTION,
        index=deps.index,
        ledger=deps.ledger,
        answers_to=NO_LOG,
        caller=local_caller(),
        meant_at=meant_at or datetime.now(UTC),
        driver=WORKERS,
    )


@pytest.fixture(params=["inline", "staged"])
def begun(request: pytest.FixtureRequest, deps: Deps) -> bytes:
    """A batch of both objects that waits: whole on its queue, or with its pixels in a block."""
    message = plan(deps)
    return stage(message, deps) if request.param == "staged" else message


# Newer versions


def test_a_late_batch_does_not_write_over_a_newer_version(
    begun: bytes, deps: Deps, store: MemoryStore
) -> None:
    store.put(BUCKET, "a.png", distinct_png(3))
    embed(plan(deps), deps)
    assert etags(deps) == present_etags(deps)
    embed(begun, deps)
    assert etags(deps) == present_etags(deps)
    assert states(deps) == {"a.png": VersionState.INDEXED, "b.png": VersionState.INDEXED}


def test_what_a_late_batch_drops_counts_as_unchanged(begun: bytes, deps: Deps, store: MemoryStore) -> None:
    store.put(BUCKET, "a.png", distinct_png(3))
    store.delete(BUCKET, "b.png")
    embed(plan(deps), deps)
    embed(begun, deps)
    late = counts_of(begun, deps)
    assert (late.scanned, late.pending) == (2, 0)
    assert late.unchanged >= 1
    assert late.scanned == late.indexed + late.unchanged + late.failed


def test_a_late_batch_waits_for_nobody_when_the_newer_one_is_still_to_come(
    begun: bytes, deps: Deps, store: MemoryStore
) -> None:
    store.put(BUCKET, "a.png", distinct_png(3))
    newer = plan(deps)
    embed(begun, deps)
    assert etags(deps) == present_etags(deps), "it brings in what is there now"
    embed(newer, deps)
    assert etags(deps) == present_etags(deps)
    assert states(deps) == {"a.png": VersionState.INDEXED, "b.png": VersionState.INDEXED}


def test_the_same_version_in_two_plans_is_no_quarrel(begun: bytes, deps: Deps, store: MemoryStore) -> None:
    other = plan(deps)
    asked: list[str] = []

    class Asked(MemoryStore):
        def stat(self, bucket: str, key: str) -> Any:
            asked.append(key)
            return store.stat(bucket, key)

        def __getattribute__(self, name: str) -> Any:
            own = name in ("stat", "__class__")
            return object.__getattribute__(self, name) if own else getattr(store, name)

    for message in (begun, other):
        embed(message, replace(deps, store=Asked()))
    assert [key for key in asked if not key.endswith(".block")] == []
    assert counts_of(begun, deps).indexed == 2
    assert set(states(deps).values()) == {VersionState.INDEXED}


def test_a_batch_that_is_overtaken_between_its_look_and_its_write_mends_what_it_wrote(
    begun: bytes, deps: Deps, store: MemoryStore, index: MemoryIndex
) -> None:
    def overtake() -> None:
        store.put(BUCKET, "a.png", distinct_png(3))
        embed(plan(deps), deps)

    embed(begun, replace(deps, index=BeforeWriting(index, overtake)))
    assert etags(deps) == present_etags(deps)
    assert states(deps) == {"a.png": VersionState.INDEXED, "b.png": VersionState.INDEXED}


def test_a_batch_that_dies_after_it_wrote_late_is_mended_by_its_next_delivery(
    begun: bytes, deps: Deps, store: MemoryStore, index: MemoryIndex
) -> None:
    def overtake() -> None:
        store.put(BUCKET, "a.png", distinct_png(3))
        embed(plan(deps), deps)

    with pytest.raises(KeyboardInterrupt):
        embed(begun, replace(deps, index=BeforeWriting(index, overtake, dies=True)))
    assert etags(deps) != present_etags(deps)
    embed(begun, deps)
    assert etags(deps) == present_etags(deps)


@pytest.mark.parametrize("end", ["cancelled", "reported"])
def test_a_batch_that_is_closed_meanwhile_is_looked_at_all_the_same(
    begun: bytes, deps: Deps, store: MemoryStore, index: MemoryIndex, end: str
) -> None:
    def overtake() -> None:
        store.put(BUCKET, "a.png", distinct_png(3))
        embed(plan(deps), deps)

    with pytest.raises(KeyboardInterrupt):
        embed(begun, replace(deps, index=BeforeWriting(index, overtake, dies=True)))
    job_id = decode_batch(begun).job_id
    if end == "cancelled":
        deps.ledger.set_state(job_id, JobState.CANCELLED)
    embed(begun, deps)
    embed(begun, deps)
    assert etags(deps) == present_etags(deps)
    assert states(deps)["a.png"] is VersionState.INDEXED


def test_a_failure_with_an_old_version_takes_nothing_out(deps: Deps, store: MemoryStore) -> None:
    store.put(BUCKET, "a.png", TEXT)
    late = plan(deps)
    store.put(BUCKET, "a.png", distinct_png(3))
    embed(plan(deps), deps)
    embed(late, deps)
    assert etags(deps) == present_etags(deps)
    assert counts_of(late, deps).failed == 0


def test_an_object_that_another_job_has_brought_in_newer_is_no_failure(
    deps: Deps, store: MemoryStore
) -> None:
    late = plan(deps)
    store.put(BUCKET, "a.png", distinct_png(3))
    embed(plan(deps), deps)
    embed(late, deps)
    assert (counts_of(late, deps).failed, counts_of(late, deps).unchanged) == (0, 2)


@pytest.mark.parametrize("first", [handle_embed, handle_prepare])
def test_an_old_listing_that_is_recorded_late_says_nothing_old_of_what_is_there(
    first: Callable[..., Handled], deps: Deps, store: MemoryStore
) -> None:
    old = listed(deps)
    store.put(BUCKET, "a.png", distinct_png(3))
    store.put(BUCKET, "b.png", distinct_png(4))
    embed(plan(deps), deps)
    message = record(old, deps)
    deliver(message, deps, first)
    assert states(deps) == {"a.png": VersionState.INDEXED, "b.png": VersionState.INDEXED}
    assert {entry.ref.key: entry.ref.etag for entry in entries(deps)} == etags(deps) == present_etags(deps)
    assert (counts_of(message, deps).failed, counts_of(message, deps).pending) == (0, 0)


@pytest.mark.parametrize("first", [handle_embed, handle_prepare])
def test_an_old_listing_that_is_recorded_late_does_not_let_older_batches_bring_back_what_it_showed(
    begun: bytes, first: Callable[..., Handled], deps: Deps, store: MemoryStore
) -> None:
    old = listed(deps)
    store.delete(BUCKET, "a.png")
    delete(deps, "a.png")
    message = record(old, deps)
    embed(begun, deps)
    assert indexed_keys(deps) == ["b.png"]
    deliver(message, deps, first)
    assert indexed_keys(deps) == ["b.png"]


def test_a_listing_that_came_between_two_versions_leaves_the_batch_of_the_newer_one_in_charge(
    deps: Deps, store: MemoryStore
) -> None:
    embed(plan(deps), deps)
    store.delete(BUCKET, "a.png")
    between = listed(deps)
    store.put(BUCKET, "a.png", distinct_png(3))
    newer = plan(deps)
    record_missing(between, deps)
    embed(newer, deps)
    assert remove_missing(between.job_id, deps, lambda: True)
    assert states(deps)["a.png"] is VersionState.INDEXED
    assert etags(deps) == present_etags(deps)


def test_new_metadata_of_the_same_bytes_is_seen_after_an_object_was_claimed(
    deps: Deps, store: MemoryStore
) -> None:
    """A look at one object may not say when it was written, and the bytes alone tell no two writes apart."""
    old = listed(deps)
    store.put(BUCKET, "a.png", distinct_png(3))
    embed(plan(deps), deps)
    embed(record(old, deps), deps)
    store.put(BUCKET, "a.png", distinct_png(3), {"edition": "2"})
    embed(plan(deps), deps)
    [row] = deps.index.get_rows(TARGET, [image_id_of(BUCKET, "a.png")])
    assert row.metadata == {"edition": "2"}


def test_two_listings_at_once_that_say_the_same_embed_once(deps: Deps) -> None:
    other = listed(deps)
    embed(plan(deps), deps)
    message = record(other, deps)
    embed(message, deps)
    assert (counts_of(message, deps).indexed, counts_of(message, deps).unchanged) == (0, 2)


# What was taken out


def test_a_late_batch_does_not_bring_back_what_was_deleted_by_key(begun: bytes, deps: Deps) -> None:
    delete(deps, "a.png")
    embed(begun, deps)
    assert indexed_keys(deps) == ["b.png"]
    assert states(deps) == {"a.png": VersionState.REMOVED, "b.png": VersionState.INDEXED}
    assert counts_of(begun, deps) == JobCounts(
        scanned=2, indexed=1, unchanged=1, failed=0, pending=0, ignored=0
    )


def test_a_late_batch_does_not_bring_back_what_has_vanished_from_the_source(
    begun: bytes, deps: Deps, store: MemoryStore
) -> None:
    store.delete(BUCKET, "a.png")
    sync = deps.ledger.create_job(replace(request_of(), max_delete_share=1.0), driver=WORKERS)
    steps = list(plan_job(sync, deps.store, deps.ledger.book))
    deps.ledger.record_plan(
        sync.job_id, [], cursor="z", ignored=0, findings=replace(sum_findings(steps), planned=())
    )
    deps.ledger.finish_planning(sync.job_id, ignored=0)
    assert remove_missing(sync.job_id, deps, lambda: True)
    embed(begun, deps)
    assert indexed_keys(deps) == ["b.png"]


def test_a_job_that_finds_the_index_empty_within_a_removal_forgets_no_removal(
    begun: bytes, deps: Deps, index: MemoryIndex
) -> None:
    """Else a late batch would be nobody's, and so the newest."""
    delete(deps, "b.png")
    embed(begun, deps)
    assert indexed_keys(deps) == ["a.png"]
    index.delete_images(TARGET, [image_id_of(BUCKET, "a.png")])  # its entry is to go next
    assert prepare_book(deps.ledger.create_job(request_of(), driver=WORKERS), deps, lambda: True)
    assert states(deps) == {"a.png": VersionState.PLANNED, "b.png": VersionState.REMOVED}


def test_a_deletion_between_look_and_write_of_a_batch_holds(
    begun: bytes, deps: Deps, index: MemoryIndex
) -> None:
    embed(begun, replace(deps, index=BeforeWriting(index, lambda: delete(deps, "a.png"))))
    assert indexed_keys(deps) == ["b.png"]
    assert states(deps)["a.png"] is VersionState.REMOVED


def test_a_deletion_that_is_replayed_leaves_what_came_later(deps: Deps, store: MemoryStore) -> None:
    embed(plan(deps), deps)
    meant_at = datetime.now(UTC)
    delete(deps, "a.png", meant_at=meant_at)
    assert indexed_keys(deps) == ["b.png"]
    store.put(BUCKET, "a.png", distinct_png(3))
    embed(plan(deps), deps)
    for _ in range(2):
        delete(deps, "a.png", "b.png", meant_at=meant_at)
        assert etags(deps) == {"a.png": present_etags(deps)["a.png"]}
    assert deps.ledger.list_jobs(limit=1)[0].request.location == f"s3://{BUCKET}/", "nothing was to be mended"


def test_a_deletion_that_takes_a_newer_row_along_has_it_planned_again(
    deps: Deps, store: MemoryStore, index: MemoryIndex
) -> None:
    embed(plan(deps), deps)

    def bring_in_anew() -> None:
        store.put(BUCKET, "a.png", distinct_png(3))
        embed(plan(deps), deps)

    delete(replace(deps, index=BeforeDeleting(index, bring_in_anew)), "a.png")
    assert indexed_keys(deps) == ["b.png"], "the row is gone"
    job = deps.ledger.list_jobs(limit=1)[0]
    assert (job.job_id.startswith("again-"), job.state, job.planned) == (True, JobState.RUNNING, True)
    [again] = deps.ledger.pending(job.job_id)
    embed(again.body, deps)
    assert etags(deps) == present_etags(deps)
    assert deps.ledger.get_job(job.job_id).state is JobState.COMPLETED


def test_verify_knows_what_was_taken_out(deps: Deps, index: MemoryIndex) -> None:
    first = plan(deps)
    embed(first, deps)
    rows = index.get_rows(TARGET, ids_in(index, TARGET))
    delete(deps, "a.png")
    info = index.get_collection(COLLECTION)
    assert info is not None

    def differences(*, repair: bool) -> Mapping[Difference, int]:
        result = verify_collection(info, index, deps.ledger.book, repair=repair, first=3)
        return {kind: count for kind, count in result.counts.items() if count}

    assert differences(repair=False) == {}
    index.replace_images(
        TARGET, {row.ref.image_id: [row] for row in rows}
    )  # somebody brings it back behind everybody's back
    assert differences(repair=True) == {Difference.OUTDATED_ROWS: 1}
    assert (indexed_keys(deps), differences(repair=False)) == (["b.png"], {})


def test_a_late_batch_stays_late_when_a_lost_row_is_repaired(
    begun: bytes, deps: Deps, store: MemoryStore, index: MemoryIndex
) -> None:
    store.put(BUCKET, "a.png", distinct_png(3))
    embed(plan(deps), deps)
    index.delete_images(TARGET, [image_id_of(BUCKET, "a.png")])
    info = index.get_collection(COLLECTION)
    assert info is not None
    found = verify_collection(info, index, deps.ledger.book, repair=True, first=3)
    assert found.counts[Difference.NOT_IN_INDEX] == 1
    embed(begun, deps)
    assert etags(deps) == present_etags(deps)


class BeforeWriting(MemoryIndex):
    """Something happens between the last look and the write: an index that lets it."""

    def __init__(self, inner: MemoryIndex, happens: Callable[[], None], *, dies: bool = False) -> None:
        super().__init__()
        self._inner, self._happens, self._dies = inner, [happens], dies

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        for happens in self._happens[:]:
            self._happens.clear()
            happens()
        self._inner.replace_images(ref, images)
        if self._dies:
            raise KeyboardInterrupt

    def __getattribute__(self, name: str) -> Any:
        own = name in ("replace_images", "__class__", "_inner", "_happens", "_dies")
        return object.__getattribute__(self, name) if own else getattr(self._inner, name)


class BeforeDeleting(BeforeWriting):
    def delete_images(self, ref: CollectionRef, ids: Sequence[str]) -> None:
        for happens in self._happens[:]:
            self._happens.clear()
            happens()
        self._inner.delete_images(ref, ids)

    def __getattribute__(self, name: str) -> Any:
        return (
            object.__getattribute__(self, name) if name == "delete_images" else super().__getattribute__(name)
        )

"""The staged way: one worker prepares a batch, another embeds it, a bucket lies in between."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import ConfigError, CredentialsError, ImageError, TransientError
from pipeline.ingest.block import unpack_block
from pipeline.ingest.handle import Handled, handle_embed, handle_prepare
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.ports import Deps, ImageLimits
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import BatchReport, EmbedBatch, JobState, ObjectRef, Reason, Verdict
from tests.unit.fakes import (
    BLUE,
    BUCKET,
    COLLECTION,
    CONCURRENCY,
    GREEN,
    LIMITS,
    RED,
    SPEC,
    FakeEmbedder,
    failed_reasons,
    indexed_keys,
    jpeg,
    plan_one_batch,
)

STAGING = "staging"
TEXT = b"no picture, but a text of some length"


class Unreadable(MemoryStore):
    """Its staging bucket answers every question with one reason."""

    reason: Reason | None = None

    def stat(self, bucket: str, key: str) -> ObjectRef:
        if bucket == STAGING and self.reason is not None:
            raise ImageError(self.reason, "as the test wants it")
        return super().stat(bucket, key)


@pytest.fixture
def store() -> Unreadable:
    store = Unreadable(BUCKET, STAGING)
    store.put(BUCKET, "a.jpg", jpeg(RED))
    store.put(BUCKET, "b.jpg", jpeg(GREEN))
    store.put(BUCKET, "c.jpg", TEXT)
    return store


@pytest.fixture
def deps(store: Unreadable, index: MemoryIndex, embedder: FakeEmbedder, ledger: SqlLedger) -> Deps:
    return Deps(
        store=store,
        index=index,
        embedder=embedder,
        ledger=ledger,
        staging_bucket=STAGING,
        concurrency=CONCURRENCY,
    )


def prepare(batch: EmbedBatch, deps: Deps) -> bytes:
    handled = handle_prepare(encode_batch(batch), deps, LIMITS)
    assert handled.verdict is Verdict.ACK
    assert handled.forward is not None
    return encode_batch(handled.forward)


def blocks(deps: Deps) -> list[str]:
    return [ref.key for ref in deps.store.list_objects(STAGING)]


def state(deps: Deps, batch: EmbedBatch) -> tuple[JobState, int, int, int]:
    job = deps.ledger.get_job(batch.job_id)
    return job.state, job.counts.indexed, job.counts.failed, job.counts.pending


def test_a_prepared_batch_becomes_a_block_and_a_message_that_names_it(deps: Deps) -> None:
    batch = plan_one_batch(deps)
    forward = decode_batch(prepare(batch, deps))
    assert forward == replace(batch, staged=True)
    assert blocks(deps) == [f"{batch.job_id}/00000000.block"]
    assert state(deps, batch) == (JobState.RUNNING, 0, 0, 3)


def test_a_staged_batch_is_indexed_without_its_objects_and_its_block_is_deleted(
    deps: Deps, store: Unreadable
) -> None:
    batch = plan_one_batch(deps)
    forward = prepare(batch, deps)
    for key in ("a.jpg", "b.jpg", "c.jpg"):
        store.delete(BUCKET, key)
    assert handle_embed(forward, deps, LIMITS) == Handled(verdict=Verdict.ACK)
    assert indexed_keys(deps) == ["a.jpg", "b.jpg"]
    assert failed_reasons(deps, batch.job_id) == {"c.jpg": Reason.NOT_AN_IMAGE}
    assert state(deps, batch) == (JobState.COMPLETED, 2, 1, 0)
    assert blocks(deps) == []


def test_content_that_is_indexed_under_another_key_needs_no_pixels_and_counts_as_indexed(
    deps: Deps, store: Unreadable
) -> None:
    first = plan_one_batch(deps)
    handle_embed(prepare(first, deps), deps, LIMITS)
    store.put(BUCKET, "copy.jpg", jpeg(RED))
    store.put(BUCKET, "new.jpg", jpeg(BLUE))
    batch = plan_one_batch(deps, "copy.jpg", "new.jpg")
    forward = prepare(batch, deps)
    ref = store.stat(STAGING, blocks(deps)[0])
    block = unpack_block(batch, store.get(ref, max_bytes=10**6).body)
    assert ([outcome.ref.key for outcome in block.outcomes], block.reused) == (["new.jpg"], 1)
    handle_embed(forward, deps, LIMITS)
    assert state(deps, batch) == (JobState.COMPLETED, 2, 0, 0)
    assert indexed_keys(deps) == ["a.jpg", "b.jpg", "copy.jpg", "new.jpg"]
    alone = plan_one_batch(deps, "copy.jpg")
    store.delete(BUCKET, "copy.jpg")
    assert handle_prepare(encode_batch(alone), deps, LIMITS).forward is None


def test_a_block_that_is_gone_is_made_up_for_by_pulling_the_objects(deps: Deps, store: Unreadable) -> None:
    batch = plan_one_batch(deps)
    forward = prepare(batch, deps)
    store.delete(STAGING, blocks(deps)[0])
    assert handle_embed(forward, deps, LIMITS).verdict is Verdict.ACK
    assert state(deps, batch) == (JobState.COMPLETED, 2, 1, 0)


def test_a_damaged_block_is_made_up_for_by_pulling_the_objects(deps: Deps, store: Unreadable) -> None:
    batch = plan_one_batch(deps)
    forward = prepare(batch, deps)
    store.put(STAGING, blocks(deps)[0], b"PICTORB1 and nothing good after that")
    assert handle_embed(forward, deps, LIMITS).verdict is Verdict.ACK
    assert state(deps, batch) == (JobState.COMPLETED, 2, 1, 0)
    assert blocks(deps) == []


@pytest.mark.parametrize(
    ("reason", "verdict", "error"),
    [
        (Reason.TIMEOUT, Verdict.RETRY, TransientError),
        (Reason.CHANGED, Verdict.RETRY, TransientError),
        (Reason.ACCESS_DENIED, Verdict.REQUEUE_AND_STOP, CredentialsError),
    ],
)
def test_a_block_that_cannot_be_read_now_is_no_images_fault(
    deps: Deps, store: Unreadable, reason: Reason, verdict: Verdict, error: type[Exception]
) -> None:
    batch = plan_one_batch(deps)
    forward = prepare(batch, deps)
    store.reason = reason
    handled = handle_embed(forward, deps, LIMITS)
    assert handled.verdict is verdict
    assert isinstance(handled.error, error)
    assert state(deps, batch) == (JobState.RUNNING, 0, 0, 3)


def test_a_batch_without_a_good_image_needs_no_block_and_no_model(deps: Deps, store: Unreadable) -> None:
    store.put(BUCKET, "a.jpg", TEXT)
    store.put(BUCKET, "b.jpg", TEXT)
    batch = plan_one_batch(deps)
    assert handle_prepare(encode_batch(batch), deps, LIMITS) == Handled(verdict=Verdict.ACK)
    assert blocks(deps) == []
    assert state(deps, batch) == (JobState.COMPLETED, 0, 3, 0)


def test_unchanged_objects_are_neither_staged_nor_embedded_again(
    deps: Deps, store: Unreadable, embedder: FakeEmbedder
) -> None:
    handle_embed(prepare(plan_one_batch(deps), deps), deps, LIMITS)
    store.put(BUCKET, "b.jpg", jpeg(BLUE))
    embedder.calls.clear()
    batch = plan_one_batch(deps)
    handle_embed(prepare(batch, deps), deps, LIMITS)
    counts = deps.ledger.get_job(batch.job_id).counts
    assert (counts.indexed, counts.unchanged, counts.failed) == (1, 1, 1)
    assert sum(embedder.calls) == 1


def test_an_object_that_became_bad_leaves_the_index_through_a_block_too(
    deps: Deps, store: Unreadable
) -> None:
    handle_embed(prepare(plan_one_batch(deps), deps), deps, LIMITS)
    store.put(BUCKET, "a.jpg", TEXT)
    store.put(BUCKET, "b.jpg", jpeg(BLUE))
    handle_embed(prepare(plan_one_batch(deps), deps), deps, LIMITS)
    assert indexed_keys(deps) == ["b.jpg"]


def test_a_second_preparation_overwrites_the_block_and_the_second_message_cleans_up(deps: Deps) -> None:
    batch = plan_one_batch(deps)
    first, second = prepare(batch, deps), prepare(batch, deps)
    assert first == second
    assert len(blocks(deps)) == 1
    handle_embed(first, deps, LIMITS)
    assert handle_embed(second, deps, LIMITS) == Handled(verdict=Verdict.ACK)
    assert state(deps, batch) == (JobState.COMPLETED, 2, 1, 0)
    assert blocks(deps) == []


def test_the_block_of_a_cancelled_job_is_deleted_unread(
    deps: Deps, store: Unreadable, embedder: FakeEmbedder
) -> None:
    batch = plan_one_batch(deps)
    forward = prepare(batch, deps)
    deps.ledger.set_state(batch.job_id, JobState.CANCELLED)
    assert handle_embed(forward, deps, LIMITS) == Handled(verdict=Verdict.ACK)
    assert (blocks(deps), embedder.calls) == ([], [])


def test_a_block_is_kept_while_its_report_cannot_be_written(deps: Deps, index: MemoryIndex) -> None:
    class NoReports(SqlLedger):
        def report(self, report: BatchReport) -> bool:
            raise TransientError("the database is away")

    batch = plan_one_batch(deps)
    forward = prepare(batch, deps)
    ledger = deps.ledger
    assert isinstance(ledger, SqlLedger)
    broken = replace(deps, ledger=NoReports(ledger._engine))
    assert handle_embed(forward, broken, LIMITS).verdict is Verdict.RETRY
    assert len(blocks(deps)) == 1


def test_a_missing_staging_bucket_is_the_deployments_fault_and_not_the_jobs(
    index: MemoryIndex, embedder: FakeEmbedder, ledger: SqlLedger
) -> None:
    store = MemoryStore(BUCKET)
    store.put(BUCKET, "a.jpg", jpeg())
    index.create_collection(COLLECTION, SPEC)
    deps = Deps(
        store=store,
        index=index,
        embedder=embedder,
        ledger=ledger,
        staging_bucket=STAGING,
        concurrency=CONCURRENCY,
    )
    handled = handle_prepare(encode_batch(plan_one_batch(deps)), deps, LIMITS)
    assert handled.verdict is Verdict.REQUEUE_AND_STOP
    assert isinstance(handled.error, ConfigError)
    assert "pictor init" in str(handled.error)


@pytest.mark.parametrize("handle", [handle_embed, handle_prepare])
def test_a_staging_bucket_that_is_gone_is_no_fault_of_the_job(
    deps: Deps, handle: Callable[[bytes, Deps, ImageLimits], Handled]
) -> None:
    """Its batches go back to the queue, and the worker stops and says what is missing."""
    staged = decode_batch(prepare(plan_one_batch(deps), deps))
    for _ in range(2):  # while the batch is open, and when it is delivered again
        handled = handle(encode_batch(staged), replace(deps, staging_bucket="gone"), LIMITS)
        assert handled.verdict is Verdict.REQUEUE_AND_STOP
        assert "staging: bucket 'gone' does not exist" in str(handled.error)
        handle_embed(encode_batch(staged), deps, LIMITS)

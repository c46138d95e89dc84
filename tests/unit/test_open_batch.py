"""The ledger says what a batch is. A message only names one, and whatever else it says is checked."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import MessageError, ModelMismatchError
from pipeline.ingest.block import block_key
from pipeline.ingest.handle import Handled, handle_embed, handle_prepare
from pipeline.ingest.message import MAX_NAME_CHARS, encode_batch
from pipeline.ports import Deps, ImageLimits
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import WORKERS, BatchRecord, EmbedBatch, JobState, PlannedBatch, Verdict
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    GREEN,
    HERE,
    LIMITS,
    OTHER_SPEC,
    RED,
    FakeEmbedder,
    indexed_keys,
    jpeg,
    plan_one_batch,
    request_of,
)

STAGING, OTHER = "staging", "other-bucket"
Handle = Callable[[bytes, Deps, ImageLimits], Handled]


class WatchedStore(MemoryStore):
    """Notes whatever is asked of it."""

    def __init__(self, *buckets: str) -> None:
        super().__init__(*buckets)
        self.asked: list[tuple[str, str, str]] = []

    def delete(self, bucket: str, key: str) -> None:
        self.asked.append(("delete", bucket, key))
        super().delete(bucket, key)

    def put(self, bucket: str, key: str, body: bytes, *args: object, **options: object) -> None:
        self.asked.append(("put", bucket, key))
        super().put(bucket, key, body, *args, **options)  # type: ignore[arg-type]


@pytest.fixture
def store() -> WatchedStore:
    store = WatchedStore(BUCKET, STAGING, OTHER)
    store.put(BUCKET, "a.jpg", jpeg(RED))
    store.put(BUCKET, "b.jpg", jpeg(GREEN))
    store.put(OTHER, "secret.jpg", jpeg(GREEN))
    store.asked.clear()
    return store


@pytest.fixture
def deps(store: WatchedStore, index: MemoryIndex, embedder: FakeEmbedder, ledger: SqlLedger) -> Deps:
    return Deps(
        store=store, index=index, embedder=embedder, ledger=ledger, staging_bucket=STAGING, driver=WORKERS
    )


def forged(batch: EmbedBatch, **fields: object) -> bytes:
    return json.dumps({**json.loads(encode_batch(batch)), **fields}, ensure_ascii=False).encode()


FORGERIES: dict[str, dict[str, object]] = {
    "bucket": {"bucket": OTHER},
    "objects": {"objects": [["secret.jpg", "e1", 10], ["b.jpg", "e1", 10]]},
    "collection": {"collection": "another"},
    "fingerprint": {"fingerprint": OTHER_SPEC.fingerprint},
    "modified": {"modified": [77, 78]},
    "rewritten": {"rewritten": [0]},
}


@pytest.mark.parametrize("handle", [handle_embed, handle_prepare])
@pytest.mark.parametrize("field", FORGERIES)
def test_a_message_that_says_otherwise_than_the_ledger_is_refused_and_touches_nothing(
    deps: Deps, store: WatchedStore, field: str, handle: Handle
) -> None:
    batch = plan_one_batch(deps)
    before = deps.ledger.get_job(batch.job_id)
    handled = handle(forged(batch, **FORGERIES[field]), deps, LIMITS)
    assert handled.verdict is Verdict.DEAD_LETTER
    words = f"batch 00000000 of job {batch.job_id}: message and ledger differ in {field}; nothing was done"
    assert str(handled.error) == words
    assert deps.ledger.get_job(batch.job_id) == before
    assert (store.asked, indexed_keys(deps)) == ([], [])


def test_all_that_differs_is_named(deps: Deps) -> None:
    batch = plan_one_batch(deps)
    handled = handle_embed(forged(batch, bucket=OTHER, collection="another"), deps, LIMITS)
    assert "differ in collection, bucket; nothing" in str(handled.error)


@pytest.mark.parametrize("handle", [handle_embed, handle_prepare])
def test_the_same_message_in_other_bytes_is_the_same_message(deps: Deps, handle: Handle) -> None:
    """A foreign tool may have read it and sent it again; a newer build of this version may add a field."""
    batch = plan_one_batch(deps)
    again = json.dumps({"of_a_newer_build": 1, **json.loads(encode_batch(batch))}, indent=1).encode()
    assert handle(again, deps, LIMITS).verdict is Verdict.ACK


def test_what_is_done_is_what_the_ledger_has(deps: Deps) -> None:
    """Also where the message is right in every field: its bytes are compared, not trusted."""
    batch = plan_one_batch(deps)
    handled = handle_embed(forged(batch), deps, LIMITS)
    assert (handled.verdict, handled.batch) == (Verdict.ACK, batch)
    assert indexed_keys(deps) == ["a.jpg", "b.jpg"]


# Blocks


FOREIGN_BLOCKS = ["x", "../x", "other-job/00000000.block", "", None, 5, ["x"]]


@pytest.mark.parametrize("handle", [handle_embed, handle_prepare])
@pytest.mark.parametrize("block", FOREIGN_BLOCKS, ids=repr)
@pytest.mark.parametrize("state", ["open", "reported", "cancelled", "unknown"])
def test_a_block_that_is_not_the_batchs_own_is_neither_read_nor_deleted(
    deps: Deps, store: WatchedStore, handle: Handle, block: object, state: str
) -> None:
    batch = in_state(plan_one_batch(deps), state, deps)
    store.put(STAGING, "x", b"of somebody else")
    store.asked.clear()
    handled = handle(forged(batch, block=block), deps, LIMITS)
    assert handled.verdict is Verdict.DEAD_LETTER
    assert "message field 'block' is" in str(handled.error)
    assert store.asked == []


@pytest.mark.parametrize("handle", [handle_embed, handle_prepare])
@pytest.mark.parametrize("state", ["reported", "cancelled"])
def test_naming_a_closed_batch_deletes_its_own_block_and_nothing_else(
    deps: Deps, store: WatchedStore, handle: Handle, state: str
) -> None:
    batch = in_state(plan_one_batch(deps), state, deps)
    own, others = block_key(batch.job_id, batch.path), [block_key(batch.job_id, "00000001"), "x"]
    for key in (own, *others):
        store.put(STAGING, key, b"pixels")
    store.asked.clear()
    assert handle(forged(batch, bucket=OTHER, collection="another"), deps, LIMITS).verdict is Verdict.ACK
    assert store.asked == [("delete", STAGING, own)]


def test_where_nothing_is_staged_no_message_makes_a_worker_ask_for_a_block(
    deps: Deps, store: WatchedStore
) -> None:
    """Else one message could stop all workers, where the staging bucket is not there or not theirs."""
    inline = replace(deps, staging_bucket="")
    batch = plan_one_batch(deps, "a.jpg")
    staged = encode_batch(replace(batch, staged=True))
    assert handle_embed(staged, inline, LIMITS).verdict is Verdict.ACK
    assert handle_embed(staged, inline, LIMITS).verdict is Verdict.ACK  # closed by now
    assert (store.asked, indexed_keys(deps)) == ([], ["a.jpg"])
    other = plan_one_batch(deps, "b.jpg")
    handled = handle_prepare(encode_batch(other), inline, LIMITS)
    assert (handled.verdict, handled.forward) == (Verdict.ACK, other)


# Who it is for


def test_a_batch_of_an_embedded_job_is_not_for_the_workers(deps: Deps) -> None:
    batch = plan_one_batch(deps)
    job = deps.ledger.create_job(request_of(), driver=HERE)
    own = replace(batch, job_id=job.job_id)
    planned = PlannedBatch(path=own.path, items=2, body=encode_batch(own))
    deps.ledger.record_plan(job.job_id, [planned], cursor="z", ignored=0)
    handled = handle_embed(planned.body, deps, LIMITS)
    assert handled.verdict is Verdict.DEAD_LETTER
    assert str(handled.error) == f"batch 00000000 of job {job.job_id} belongs to {HERE} and not to workers"
    assert indexed_keys(deps) == []
    assert handle_embed(planned.body, replace(deps, driver=""), LIMITS).verdict is Verdict.ACK


@pytest.mark.parametrize("handle", [handle_embed, handle_prepare])
@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("open", Verdict.REROUTE),
        ("reported", Verdict.ACK),
        ("cancelled", Verdict.ACK),
        ("unknown", Verdict.DEAD_LETTER),
    ],
)
def test_the_ledger_is_asked_before_the_model_is_looked_at(
    deps: Deps, handle: Handle, state: str, verdict: Verdict
) -> None:
    """Leftovers after a change of models would stop worker after worker."""
    batch = in_state(plan_one_batch(deps, spec=OTHER_SPEC), state, deps)
    handled = handle(encode_batch(batch), deps, LIMITS)
    assert handled.verdict is verdict
    assert indexed_keys(deps) == []
    if verdict is Verdict.REROUTE:
        assert isinstance(handled.error, ModelMismatchError)
        assert handled.batch == batch


def in_state(batch: EmbedBatch, state: str, deps: Deps) -> EmbedBatch:
    match state:
        case "reported":
            deps.ledger.split_batch(batch.job_id, batch.path, list(halves_of(batch)))
        case "cancelled":
            deps.ledger.set_state(batch.job_id, JobState.CANCELLED)
        case "unknown":
            return replace(batch, path="99999999")
    return batch


def halves_of(batch: EmbedBatch) -> Iterator[PlannedBatch]:
    for number, ref in enumerate(batch.refs):
        half = replace(batch, path=f"{batch.path}.{number}", refs=(ref,))
        yield PlannedBatch(path=half.path, items=1, body=encode_batch(half))


# Names that no database takes


@pytest.mark.parametrize("field", ["job_id", "path"])
@pytest.mark.parametrize("name", ["\0", "a\nb", "\x7f", "x" * (MAX_NAME_CHARS + 1)], ids=ascii)
def test_a_name_that_cannot_be_one_is_refused_before_the_ledger_is_asked(
    deps: Deps, field: str, name: str
) -> None:
    class Untouched(SqlLedger):
        def find_batch(self, job_id: str, path: str) -> BatchRecord:
            raise AssertionError((job_id, path))

    assert isinstance(deps.ledger, SqlLedger)
    batch = plan_one_batch(deps)
    watched = replace(deps, ledger=Untouched(deps.ledger._engine))
    handled = handle_embed(forged(batch, **{field: name}), watched, LIMITS)
    assert handled.verdict is Verdict.DEAD_LETTER
    assert isinstance(handled.error, MessageError)
    assert COLLECTION not in str(handled.error)

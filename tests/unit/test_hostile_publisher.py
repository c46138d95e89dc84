"""Two thousand messages of somebody who may publish: no worker stops, and only honest jobs are done."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.ingest.block import batch_of_block
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    WORKERS,
    BatchStatus,
    EmbedBatch,
    FetchedObject,
    IndexRow,
    Job,
    JobState,
    ObjectRef,
    PlannedBatch,
)
from tests.hostile_messages import Hostile, Known, hostile_messages
from tests.index_rows import ids_in
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    HERE,
    LIMITS,
    OTHER_SPEC,
    SPEC,
    TARGET,
    Signals,
    distinct_png,
    request_of,
)
from tests.unit.memory_broker import MemoryBroker, Message, Settled, message_of
from tests.unit.process_scripts import Interpreter
from workers.broker.celery_config import ROUTES
from workers.broker.publish import Publisher
from workers.broker.queue_names import EMBED, PREPARE, ROLES, model_queue
from workers.delivery import CRASHES_HEADER
from workers.process.context import Context, make_current

MESSAGES = 2000
STAGING, FORBIDDEN, OWN = "staging", "forbidden", "their-own"
HONEST = ("honest-0", "honest-1", "honest-2")
OTHERS = ("embedded", "cancelled", "other-model")
TOUCHED = frozenset({BUCKET, STAGING, OWN})
NO_ANSWER = """echo '{"begun": "yes"}'\necho '{"verdict": "retry", "error": "busy"}'"""


class WatchedStore(MemoryStore):
    """Notes the bucket and key of whatever is asked of it."""

    def __init__(self, *buckets: str) -> None:
        super().__init__(*buckets)
        self.read: set[tuple[str, str]] = set()
        self.written: set[tuple[str, str]] = set()

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        self.read.add((bucket, prefix))
        return super().list_objects(bucket, prefix, start_after)

    def stat(self, bucket: str, key: str) -> ObjectRef:
        self.read.add((bucket, key))
        return super().stat(bucket, key)

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        self.read.add((ref.bucket, ref.key))
        return super().get(ref, max_bytes=max_bytes)

    def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
        self.read.add((ref.bucket, ref.key))
        return super().get_metadata(ref)

    def put(self, bucket: str, key: str, body: bytes, metadata: Mapping[str, str] | None = None) -> None:
        self.written.add((bucket, key))
        super().put(bucket, key, body, metadata or {})

    def delete(self, bucket: str, key: str) -> None:
        self.written.add((bucket, key))
        super().delete(bucket, key)


@pytest.fixture
def store() -> WatchedStore:
    store = WatchedStore(BUCKET, STAGING, FORBIDDEN, OWN)
    for number in range(18):
        store.put(BUCKET, f"{number % 3}/{number:02d}.png", distinct_png(number))
    store.put(FORBIDDEN, "secret.jpg", distinct_png(90))
    store.put(OWN, "a.jpg", distinct_png(91))
    store.put(STAGING, "somebody/elses.txt", b"of another program")
    return store


@pytest.fixture(params=["inline", "staged"])
def world(
    request: pytest.FixtureRequest,
    context: Context,
    broker: MemoryBroker,
    store: WatchedStore,
    index: MemoryIndex,
) -> Context:
    """Three honest jobs that have begun, and others that nobody may touch."""
    preparation = request.param
    deps = replace(context.deps, staging_bucket=STAGING if preparation == "staged" else "", driver=WORKERS)
    world = replace(
        context,
        settings=context.settings.model_copy(
            update={
                "preparation": preparation,
                "staging_bucket": STAGING,
                "outstanding_batches": 1,  # so that a plan has several steps
                "allowed_buckets": f"{BUCKET},{OWN}",
            }
        ),
        deps=deps,
        publisher=Publisher(broker.app, preparation=preparation),
    )
    make_current(world)
    submit_honest_jobs(broker)
    folder = request_of(bucket="/pictures")  # to the workers it is no bucket
    embedded = deps.ledger.create_job(folder, driver=HERE, job_id="embedded")
    cancelled = deps.ledger.create_job(request_of(), driver=WORKERS, job_id="cancelled")
    other = deps.ledger.create_job(request_of(spec=OTHER_SPEC), driver=WORKERS, job_id="other-model")
    for job in (embedded, cancelled, other):
        plan_copy_of_an_honest_batch(job, deps)
    deps.ledger.set_state(cancelled.job_id, JobState.CANCELLED)
    store.read.clear()
    store.written.clear()
    return world


def submit_honest_jobs(broker: MemoryBroker) -> None:
    for number, job_id in enumerate(HONEST):
        source = f"s3://{BUCKET}/{number}/"
        broker.deliver(message_of("pictor.ingest", v=1, source=source, job_id=job_id, batch_items=2))
    for _ in range(2):  # the first step fills the book
        for step in broker.messages("plan"):
            broker.deliver(step)


def plan_copy_of_an_honest_batch(job: Job, deps: Deps) -> None:
    batch = decode_batch(next(deps.ledger.pending(HONEST[0])).body)
    body = encode_batch(replace(batch, job_id=job.job_id, fingerprint=job.request.fingerprint))
    planned = PlannedBatch(path=batch.path, items=len(batch.refs), body=body)
    deps.ledger.record_plan(job.job_id, [planned], cursor="z", ignored=0)
    deps.ledger.finish_planning(job.job_id, ignored=0)


def known_to_a_publisher(deps: Deps) -> Known:
    jobs = (*HONEST, *OTHERS)
    return Known(
        batches=[batch.body for job_id in jobs for batch in deps.ledger.pending(job_id)],
        jobs=jobs,
        forbidden_bucket=FORBIDDEN,
        own_bucket=OWN,
        own_collection="theirs",
        crashes_header=CRASHES_HEADER,
    )


def message_like(hostile: Hostile) -> Message:
    return Message(
        queue=queue_of_task(hostile.task),
        headers={"lang": "py", **hostile.headers, "task": hostile.task},
        args=hostile.args,
        kwargs=hostile.kwargs,
    )


def queue_of_task(task: str) -> str:
    """A worker takes from no other queue; what comes by another is refused before it is a task."""
    role = ROUTES.get(task, "plan")
    return model_queue(role, SPEC.fingerprint) if role in (PREPARE, EMBED) else role


def waiting(broker: MemoryBroker) -> list[Message]:
    """Without the steps of a plan that waits for workers of another model."""
    messages = [message for role in ROLES for message in broker.messages(role)]
    return [message for message in messages if message.kwargs.get("job_id") != "other-model"]


def deliver_until_none_is_left(broker: MemoryBroker, messages: list[Message]) -> list[Settled]:
    settled = []
    for _ in range(100):
        settled += [broker.deliver(message)[0] for message in messages]
        messages = waiting(broker)
        if not messages:
            return settled
    raise AssertionError(f"these go round and round: {messages[:3]}")


def unstaged(message: str) -> bytes:
    return encode_batch(replace(decode_batch(message.encode()), staged=False))


def rows_of(index: MemoryIndex) -> dict[str, IndexRow]:
    return {row.ref.key: row for row in index.get_rows(TARGET, ids_in(index, TARGET))}


def undisturbed_rows(deps: Deps) -> dict[str, IndexRow]:
    """What the index holds where nobody disturbs."""
    index = MemoryIndex()
    index.create_collection(COLLECTION, SPEC)
    batch = EmbedBatch(
        job_id="j",
        path="p",
        collection=COLLECTION,
        fingerprint=SPEC.fingerprint,
        refs=tuple(deps.store.list_objects(BUCKET)),
    )
    run_batch(batch, replace(deps, index=index), LIMITS)
    return rows_of(index)


def is_block_of_a_batch(key: str, ledger: SqlLedger) -> bool:
    named = batch_of_block(key)
    return named is not None and ledger.find_batch(*named).status is not BatchStatus.UNKNOWN


def test_no_worker_stops_and_only_the_honest_jobs_are_done(
    world: Context,
    broker: MemoryBroker,
    store: WatchedStore,
    index: MemoryIndex,
    ledger: SqlLedger,
    signals: Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "trials").mkdir()
    Interpreter(tmp_path / "trials", monkeypatch).will(NO_ANSWER)
    before = {job_id: ledger.get_job(job_id) for job_id in OTHERS}
    honest = waiting(broker)
    hostile = [message_like(made) for made in hostile_messages(7, MESSAGES, known_to_a_publisher(world.deps))]
    mixed = [*hostile, *honest]
    random.Random(8).shuffle(mixed)

    settled = deliver_until_none_is_left(broker, mixed)

    assert signals == []
    assert not (tmp_path / "stopped").exists()
    assert set(settled) <= {Settled.ACKNOWLEDGED, Settled.REJECTED}
    assert all(letter.reason for letter in broker.dead())
    # Honest jobs end right.
    for job_id in HONEST:
        job = ledger.get_job(job_id)
        counts = job.counts
        assert (job.state, job.error) == (JobState.COMPLETED, "")
        assert (counts.scanned, counts.indexed + counts.unchanged, counts.failed) == (6, 6, 0)
    rows, expected = rows_of(index), undisturbed_rows(world.deps)
    assert {key: row.ref for key, row in rows.items()} == {key: row.ref for key, row in expected.items()}
    assert all(row.vector == pytest.approx(expected[key].vector) for key, row in rows.items())
    # What is another model's is with its workers, as it was planned.
    [of_other] = ledger.pending("other-model")
    rerouted = broker.messages_on(model_queue(EMBED, OTHER_SPEC.fingerprint))
    rerouted += broker.messages_on(model_queue(PREPARE, OTHER_SPEC.fingerprint))
    assert rerouted
    assert {unstaged(message.kwargs["message"]) for message in rerouted} == {of_other.body}
    # Nothing else was touched.
    assert {job_id: ledger.get_job(job_id) for job_id in before} == before
    others = [job for job in ledger.list_jobs(limit=10**6) if job.job_id not in {*HONEST, *before}]
    assert {job.request.bucket for job in others} <= {OWN, ""}  # theirs, and refusals
    assert {bucket for bucket, _ in store.read | store.written} <= TOUCHED
    assert {bucket for bucket, _ in store.written} <= {STAGING}
    assert [key for _, key in store.written if not is_block_of_a_batch(key, ledger)] == []
    assert [ref.key for ref in store.list_objects(STAGING)] == ["somebody/elses.txt"]

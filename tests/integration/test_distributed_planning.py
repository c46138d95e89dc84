"""A listing of 200,000 keys, planned into a real ledger and real queues, with a worker that only reports."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from celery import Celery
from kombu import Message

from pipeline import wiring
from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.adapters.models.builtin_spec import builtin_spec
from pipeline.ingest.message import decode_batch
from pipeline.ports import Deps
from pipeline.settings import Settings
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import WORKERS, BatchReport, JobRequest, JobState, ObjectRef
from tests.accountable import accountability
from tests.fleet import own_place, settings_of, wait_until
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server
from tests.unit.fakes import LIMITS, FakeEmbedder
from workers.broker.celery_app import make_app
from workers.broker.connection import broker_connection
from workers.broker.publish import Publisher
from workers.broker.queue_names import EMBED, model_queue
from workers.broker.queues import declare_queues, work_queue
from workers.client import close_app
from workers.planning.planner import run_plan_step
from workers.process.context import Context

KEYS = 200_000
BATCH_ITEMS = 256
BATCHES = -(-KEYS // BATCH_ITEMS)


class Listing(MemoryStore):
    """A bucket of so many keys, made while it is listed. `on_key` is called at every ten thousandth."""

    def __init__(self, on_key: Callable[[], None]) -> None:
        super().__init__()
        self._on_key = on_key

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        first = int(re.sub(r"\D", "", start_after)) + 1 if start_after else 0
        for number in range(first, KEYS):
            if number % 10_000 == 0:
                self._on_key()
            yield ObjectRef(
                bucket=bucket,
                key=f"{prefix}images/{number:09}.jpg",
                etag="d41d8cd98f00b204",
                size_bytes=123_456,
            )


class ChainPublisher(Publisher):
    """Publishes batches for real, and keeps the next step for the test to run."""

    steps: list[tuple[str, int, str]]

    def publish_plan_step(self, job_id: str, step: int, nonce: str, *, delay_s: int = 0) -> None:
        self.steps.append((job_id, step, nonce))


class Reporter(threading.Thread):
    """Takes batches from the queue and reports each at once. Watches how many are outstanding."""

    def __init__(self, settings: Settings, ledger: SqlLedger) -> None:
        super().__init__(name="reporter")
        self._settings, self._ledger = settings, ledger
        self.done = threading.Event()
        self.paths: list[str] = []
        self.most_outstanding = 0

    def run(self) -> None:
        with broker_connection(self._settings) as connection:
            consumer = connection.Consumer(
                work_queue(model_queue(EMBED, builtin_spec().fingerprint))(connection.default_channel),
                on_message=self._report,
            )
            consumer.qos(prefetch_count=8)
            with consumer:
                while not self.done.is_set():
                    try:
                        connection.drain_events(timeout=0.2)
                    except TimeoutError:
                        continue

    def _report(self, message: Message) -> None:
        [_, arguments, _] = message.decode()
        batch = decode_batch(arguments["message"].encode())
        self.most_outstanding = max(self.most_outstanding, self._ledger.outstanding(batch.job_id))
        self._ledger.report(
            BatchReport(
                job_id=batch.job_id, path=batch.path, indexed=len(batch.refs), unchanged=0, rejected=()
            )
        )
        self.paths.append(batch.path)
        message.ack()


@pytest.fixture
def settings(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path: Path,
) -> Iterator[Settings]:
    with own_place(rabbitmq, s3_server, milvus_server, postgres, tmp_path) as env:
        settings = settings_of(env)
        wiring.migrate_ledger(settings)
        with broker_connection(settings) as connection:
            declare_queues(connection, builtin_spec().fingerprint)
        yield settings


@pytest.fixture
def ledger(settings: Settings) -> Iterator[SqlLedger]:
    with wiring.open_ledger(settings) as ledger:
        yield ledger


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    app = make_app(settings)
    yield app
    close_app(app)


@pytest.fixture
def context(settings: Settings, ledger: SqlLedger, app: Celery) -> Context:
    index = MemoryIndex()
    index.create_collection(settings.collection, builtin_spec())
    publisher = ChainPublisher(app, preparation="inline")
    publisher.steps = []
    deps = Deps(
        store=Listing(lambda: None), index=index, embedder=FakeEmbedder(builtin_spec()), ledger=ledger
    )
    return Context(
        settings=settings,
        deps=deps,
        answers_to=accountability(deps.index),
        limits=LIMITS,
        publisher=publisher,
    )


def make_job(context: Context) -> str:
    request = JobRequest(
        location="s3://shop/",
        bucket="shop",
        prefix="products/",
        collection=context.settings.collection,
        model_name="builtin",
        fingerprint=builtin_spec().fingerprint,
        batch_items=BATCH_ITEMS,
    )
    return context.deps.ledger.create_job(request, driver=WORKERS).job_id


def with_credits(context: Context, batches: int) -> Context:
    return replace(context, settings=context.settings.model_copy(update={"outstanding_batches": batches}))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_large_listing_is_planned_fast_and_in_constant_memory(context: Context, ledger: SqlLedger) -> None:
    seen: list[int] = []
    watched = replace(context.deps, store=Listing(lambda: seen.append(resident_bytes())))
    context = with_credits(replace(context, deps=watched), 10 * BATCHES)
    job_id = make_job(context)
    started = time.monotonic()
    step, nonce = 0, "first"
    while not ledger.get_job(job_id).planned:
        run_plan_step(job_id, step, nonce, context.deps, context)
        assert isinstance(context.publisher, ChainPublisher)
        [(_, step, nonce)] = context.publisher.steps
        context.publisher.steps = []
    seconds = time.monotonic() - started
    print(f"planned {KEYS} keys in {seconds:.1f} s, {KEYS / seconds:.0f} keys/s, in {step} steps")
    job = ledger.get_job(job_id)
    assert (job.counts.pending, job.planned_batches, ledger.outstanding(job_id)) == (KEYS, BATCHES, BATCHES)
    assert ledger.unpublished(job_id, 1) == []
    warm, rest = seen[1], seen[2:]  # the first ten thousand keys pay for connections and caches
    assert len(rest) >= 18
    assert max(rest) - warm < 24 * 2**20
    # A guard against waiting for each key, not a benchmark: two cores plan 30,000 to 70,000 keys/s.
    assert KEYS / seconds > 2_000


def test_never_more_batches_are_outstanding_than_may_be_and_each_is_done_once(
    context: Context, settings: Settings, ledger: SqlLedger
) -> None:
    context = with_credits(context, 20)
    job_id = make_job(context)
    reporter = Reporter(settings, ledger)
    reporter.start()
    try:
        assert isinstance(context.publisher, ChainPublisher)
        context.publisher.steps = [(job_id, 0, "first")]
        deadline = time.monotonic() + 120
        while context.publisher.steps:
            assert time.monotonic() < deadline
            [(_, step, nonce)] = context.publisher.steps
            context.publisher.steps = []
            run_plan_step(job_id, step, nonce, context.deps, context)
        wait_until(lambda: ledger.get_job(job_id).state is not JobState.RUNNING, "all is reported", 60)
    finally:
        reporter.done.set()
        reporter.join(10)
    job = ledger.get_job(job_id)
    assert (job.state, job.counts.indexed, job.counts.pending) == (JobState.COMPLETED, KEYS, 0)
    assert sorted(reporter.paths) == [f"{number:08d}" for number in range(BATCHES)]
    assert 10 < reporter.most_outstanding <= 20

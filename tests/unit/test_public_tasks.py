"""The public tasks and the planner's: what is done, what is refused, and that each comes to an end."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from typing_extensions import override

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import (
    ConfigError,
    CredentialsError,
    FatalError,
    MessageError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.ingest.handle import handle_embed
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.ports import MAX_METADATA_BYTES, VectorIndex
from pipeline.testing.memory_index import MemoryIndex, _Generation
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    WORKERS,
    CollectionInfo,
    CollectionRef,
    Job,
    JobState,
    ModelSpec,
    ObjectRef,
    SearchHit,
    image_id_of,
)
from tests.unit.fakes import (
    BUCKET,
    HERE,
    OTHER_SPEC,
    FakeEmbedder,
    Signals,
    distinct_png,
    indexed_keys,
    plan_one_batch,
    request_of,
)
from tests.unit.memory_broker import MemoryBroker, Message, Settled, message_of
from workers.broker.celery_config import ROUTES
from workers.broker.queue_names import EMBED, SEARCH, model_queue
from workers.broker.queue_wait import DUE_HEADER, PATIENCE_HEADER
from workers.broker.queues import declare_queues
from workers.delivery import CRASHES_HEADER
from workers.isolation.halve import SPLIT_AT_CRASH
from workers.process.context import Context, current, make_current

SOURCE = f"s3://{BUCKET}/"
PUBLIC = [task for task in ROUTES if task.partition(".")[2] in ("ingest", "delete", "search", "job")]
ANSWERED = {"pictor.search", "pictor.job"}
GOOD: dict[str, dict[str, object]] = {
    "pictor.ingest": {"v": 1, "source": SOURCE, "job_id": "mine"},
    "pictor.delete": {"v": 1, "bucket": BUCKET, "keys": ["0.png"]},
    "pictor.search": {"v": 1, "query": f"s3://{BUCKET}/0.png"},
    "pictor.job": {"v": 1, "job_id": "mine"},
}


OTHER_SEARCH = model_queue(SEARCH, OTHER_SPEC.fingerprint)
STEP: dict[str, object] = {"job_id": "mine", "step": 0, "nonce": "x"}


class FailingIndex(MemoryIndex):
    """Raises `error` wherever it is asked, once it is set, but tells that the `served` are there."""

    def __init__(self, like: MemoryIndex) -> None:
        super().__init__()
        self.served: set[str] = set()
        self._generations, self._live = like._generations, like._live
        self.error: Exception | None = None

    @override  # all other methods come by here
    def _get(self, ref: CollectionRef) -> _Generation:
        self._fail()
        return super()._get(ref)

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        self._fail()
        return super().create_collection(name, model)

    def live(self, name: str, *, latest: bool = False) -> CollectionRef:
        self._fail()
        return super().live(name, latest=latest)

    def list_generations(self, name: str) -> list[CollectionInfo]:
        self._fail()
        return super().list_generations(name)

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error

    def get_collection(self, name: str) -> CollectionInfo | None:
        if self.error is not None and name not in self.served:
            raise self.error
        return super().get_collection(name)


class TalkativeIndex(MemoryIndex):
    """Each hit has as much metadata as a row may have, and a thousand are found."""

    def __init__(self, like: VectorIndex) -> None:
        assert isinstance(like, MemoryIndex)
        super().__init__()
        self._generations, self._live = like._generations, like._live

    def search(self, *args: Any, **options: Any) -> list[list[SearchHit]]:
        [[hit, *_]] = super().search(*args, **options)
        return [[replace(hit, metadata={"words": "x" * MAX_METADATA_BYTES})] * 1000]


@pytest.fixture
def failing(context: Context, index: MemoryIndex) -> FailingIndex:
    """The index of this process."""
    failing = FailingIndex(index)
    make_current(replace(context, deps=replace(context.deps, index=failing)))
    return failing


@pytest.fixture
def indexed(context: Context, store: MemoryStore) -> list[str]:
    """Keys of four images that are indexed."""
    for number in range(4):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    batch = plan_one_batch(context.deps)
    handle_embed(encode_batch(batch), context.deps, context.limits)
    return indexed_keys(context.deps)


def jobs_of(context: Context) -> dict[str, Job]:
    return {job.job_id: job for job in context.deps.ledger.list_jobs()}


def deliver_to_the_end(broker: MemoryBroker, message: Message, most: int = 20) -> list[Settled]:
    """Deliver a message and each copy that it leaves on its queue, until it leaves none."""
    settled: list[Settled] = []
    messages: Sequence[Message] = [message]
    while messages:
        [message] = messages
        settled.append(broker.deliver(message)[0])
        messages = [copy for copy in broker.messages(message.queue) if copy.task == message.task]
        assert len(settled) < most, f"{message.task} goes round and round"
    return settled


# Ingest


def test_a_submission_makes_a_job_and_begins_its_plan(
    broker: MemoryBroker, context: Context, indexed: list[str]
) -> None:
    broker.deliver(message_of("pictor.ingest", **GOOD["pictor.ingest"], include=["*.png"], batch_items=7))
    job = jobs_of(context)["mine"]
    assert job.state is JobState.RUNNING
    assert (job.request.include, job.request.batch_items, job.request.collection) == (("*.png",), 7, "images")
    [step] = broker.messages("plan")
    assert (step.task, step.kwargs["job_id"], step.kwargs["step"]) == ("pictor.plan_job", "mine", 0)


def test_a_submission_that_comes_twice_is_one_job_with_one_planner(
    broker: MemoryBroker, context: Context, store: MemoryStore, indexed: list[str]
) -> None:
    for number in range(4):  # all of them change: what is unchanged makes no batch
        store.put(BUCKET, f"{number}.png", distinct_png(number + 50))
    for _ in range(2):
        broker.deliver(message_of("pictor.ingest", **GOOD["pictor.ingest"]))
    steps = broker.messages("plan")
    for step in steps:
        broker.deliver(step)
    assert len([batch for batch in broker.messages("embed") if "mine" in batch.kwargs["message"]]) == 1
    assert jobs_of(context)["mine"].counts.scanned == 4


def test_a_finished_job_that_is_submitted_again_stays_as_it_is(
    broker: MemoryBroker, context: Context
) -> None:
    context.deps.ledger.create_job(request_of(), driver=WORKERS, job_id="mine")
    context.deps.ledger.set_state("mine", JobState.CANCELLED)
    broker.deliver(message_of("pictor.ingest", **GOOD["pictor.ingest"]))
    assert jobs_of(context)["mine"].state is JobState.CANCELLED
    assert broker.messages("plan") == []


def test_a_job_in_a_collection_of_another_model_goes_to_the_workers_of_that_model(
    broker: MemoryBroker, context: Context, indexed: list[str], signals: Signals
) -> None:
    """None of which may have run yet: its batch waits for them."""
    context.deps.index.create_collection("of_another", OTHER_SPEC)
    broker.deliver(message_of("pictor.ingest", **GOOD["pictor.ingest"], collection="of_another"))
    [step] = broker.messages("plan")
    broker.deliver(step)
    [batch] = broker.messages_on(model_queue(EMBED, OTHER_SPEC.fingerprint))
    assert decode_batch(batch.kwargs["message"].encode()).fingerprint == OTHER_SPEC.fingerprint
    assert jobs_of(context)["mine"].state is JobState.RUNNING
    assert (broker.messages("embed"), signals) == ([], [])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"source": "s3://nowhere/"}, "bucket 'nowhere' does not exist"),
        ({"collection": "no-name"}, "collection name 'no-name'"),
    ],
)
def test_a_job_that_can_never_work_fails_at_once_and_stops_no_worker(
    broker: MemoryBroker, context: Context, signals: Signals, changes: dict[str, object], error: str
) -> None:
    context.deps.index.create_collection("of_another", OTHER_SPEC)
    assert deliver_to_the_end(broker, message_of("pictor.ingest", **GOOD["pictor.ingest"] | changes)) == [
        Settled.ACKNOWLEDGED
    ]
    job = jobs_of(context)["mine"]
    assert job.state is JobState.FAILED
    assert error in job.error
    assert (broker.messages("plan"), broker.dead(), signals) == ([], [], [])


def test_a_submission_that_cannot_be_read_is_a_failed_job_and_a_dead_letter(
    broker: MemoryBroker, context: Context
) -> None:
    wrong = message_of("pictor.ingest", v=1, source="s3://shop/\n" + "x" * 300, job_id="mine", surprise=1)
    broker.deliver(wrong)
    [letter] = broker.dead()
    [job] = jobs_of(context).values()
    assert job.job_id == "refused-of-a-test"  # the id that was asked for stays free
    assert job.state is JobState.FAILED
    assert job.error == letter.reason == "pictor.ingest: surprise: Extra inputs are not permitted"
    assert (len(job.request.location), job.request.location.isprintable()) == (200, True)


# Delete


def test_deleted_objects_are_not_found(broker: MemoryBroker, context: Context, indexed: list[str]) -> None:
    for _ in range(2):  # safe to run twice
        broker.deliver(message_of("pictor.delete", v=1, bucket=BUCKET, keys=["0.png", "gone.png"]))
    assert indexed_keys(context.deps) == indexed[1:]
    assert broker.dead() == []


def test_a_deletion_that_is_replayed_from_the_dead_letters_leaves_what_was_planned_later(
    broker: MemoryBroker, context: Context, indexed: list[str]
) -> None:
    message = message_of("pictor.delete", v=1, bucket=BUCKET, keys=["0.png"], meant_at=time.time() - 3600)
    for _ in range(2):
        assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    assert indexed_keys(context.deps) == sorted(indexed), "all of it was planned within the hour"


def test_a_delete_in_an_unknown_collection_is_set_aside(
    broker: MemoryBroker, context: Context, signals: Signals
) -> None:
    message = message_of("pictor.delete", **GOOD["pictor.delete"], collection="unknown")
    assert deliver_to_the_end(broker, message) == [Settled.ACKNOWLEDGED]
    [letter] = broker.dead()
    assert "'unknown'" in letter.reason
    assert signals == []


@pytest.mark.parametrize("name", ["no-name", "a__b", "7"])
def test_a_name_that_no_collection_can_have_never_reaches_the_index(
    broker: MemoryBroker, failing: FailingIndex, signals: Signals, name: str
) -> None:
    """What a server says of such names is its own affair."""
    failing.error = PictorError("refused a request (code 1100)")
    message = message_of("pictor.delete", **GOOD["pictor.delete"], collection=name)
    assert deliver_to_the_end(broker, message) == [Settled.ACKNOWLEDGED]
    [letter] = broker.dead()
    assert letter.reason.startswith(f"collection name {name!r}: ")
    assert signals == []


# Search and job


def test_a_search_answers_with_hits(broker: MemoryBroker, context: Context, indexed: list[str]) -> None:
    for query in (f"s3://{BUCKET}/2.png", image_id_of(BUCKET, "2.png")):
        _, answer = broker.deliver(message_of("pictor.search", v=1, query=query, k=2))
        assert answer["hits"][0]["key"] == "2.png"
        assert (answer["query"], len(answer["hits"]), "error" in answer) == (query, 2, False)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"v": 2}, "version 2"),
        ({"v": 1, "query": "s3://photos/0.png", "k": 0}, "k: "),
        ({"v": 1, "query": "a.png"}, "s3://bucket/key or a stored image id is expected"),
        ({"v": 1, "query": "s3:///0.png"}, "no bucket"),
        ({"v": 1, "query": "s3://nowhere/0.png"}, "bucket 'nowhere' does not exist"),
        ({"v": 1, "query": "s3://photos/0.png", "collection": "no-name"}, "collection name 'no-name'"),
        ({"v": 1, "query": "0" * 32, "collection": "unknown"}, "'unknown'"),
        (
            {"v": 1, "query": "s3://photos/0.png", "collection": "of_another"},
            "this collection is of model 0e0e0e0e, and no search worker of that model runs",
        ),
    ],
)
def test_a_search_that_cannot_be_answered_says_why(
    broker: MemoryBroker,
    context: Context,
    indexed: list[str],
    signals: Signals,
    arguments: dict[str, object],
    error: str,
) -> None:
    context.deps.index.create_collection("of_another", OTHER_SPEC)
    settled, answer = broker.deliver(replace(message_of("pictor.search"), kwargs=arguments))
    assert settled is Settled.ACKNOWLEDGED
    assert error in answer["error"]
    assert (answer["query"], answer["hits"]) == (arguments.get("query"), [])
    assert (broker.messages("search"), broker.dead(), signals) == ([], [], [])


@pytest.mark.parametrize("task", sorted(ANSWERED))
def test_what_nobody_waits_for_any_more_is_not_begun(
    broker: MemoryBroker, failing: FailingIndex, task: str
) -> None:
    failing.error = AssertionError("begun")
    stale = {DUE_HEADER: time.time() - 95, PATIENCE_HEADER: 30}
    settled, answer = broker.deliver(message_of(task, **GOOD[task]).with_headers(stale))
    assert (settled, answer["code"]) == (Settled.ACKNOWLEDGED, "unavailable")
    assert "its sender waits 30 s" in answer["error"]


def test_an_answer_that_no_message_can_hold_is_refused_with_both_sizes(
    broker: MemoryBroker, context: Context, indexed: list[str]
) -> None:
    make_current(replace(context, deps=replace(context.deps, index=TalkativeIndex(context.deps.index))))
    _, answer = broker.deliver(message_of("pictor.search", **GOOD["pictor.search"], k=1000))
    assert (answer["code"], answer["hits"]) == ("invalid_argument", [])
    assert "MiB as JSON, and one message holds at most 15 MiB; ask for fewer hits (k)" in answer["error"]


FOREIGN = {"v": 1, "query": "s3://photos/0.png", "collection": "of_another"}


@pytest.fixture
def asked(broker: MemoryBroker, context: Context, indexed: list[str]) -> Message:
    """A search in a collection of another model, of which one worker runs."""
    context.deps.index.create_collection("of_another", OTHER_SPEC)
    with broker.app.connection_for_write() as connection:
        declare_queues(connection, OTHER_SPEC.fingerprint)
    broker.consumers[OTHER_SEARCH] = 1
    message = replace(message_of("pictor.search"), kwargs=FOREIGN)
    properties = {"reply_to": "the-caller", "correlation_id": "of-a-test"}
    return replace(message.with_headers({"expires": "2126-01-01T00:00:00+00:00"}), properties=properties)


def test_a_search_is_passed_on_to_the_workers_of_the_collections_model(
    broker: MemoryBroker, asked: Message
) -> None:
    assert broker.deliver(asked) == (Settled.ACKNOWLEDGED, None)
    [passed] = broker.messages_on(OTHER_SEARCH)
    assert (passed.task, passed.headers["id"], passed.kwargs) == ("pictor.search", "of-a-test", FOREIGN)
    assert (passed.properties["reply_to"], passed.properties["correlation_id"]) == ("the-caller", "of-a-test")
    assert passed.headers["expires"] == asked.headers["expires"]
    assert not passed.headers["ignore_result"]
    assert broker.messages("search") == []


def test_a_search_is_passed_on_once_and_then_answered(broker: MemoryBroker, asked: Message) -> None:
    broker.deliver(asked)
    [passed] = broker.messages_on(OTHER_SEARCH)
    settled, answer = broker.deliver(passed)  # to a worker that disagrees
    assert (settled, answer["hits"]) == (Settled.ACKNOWLEDGED, [])
    assert "holds vectors of model 'other'" in answer["error"]
    assert broker.messages_on(OTHER_SEARCH) == []


@pytest.mark.parametrize("consumers", [0, 1])
def test_who_waits_is_told_at_once_when_nobody_can_answer(
    broker: MemoryBroker, asked: Message, consumers: int
) -> None:
    broker.consumers[OTHER_SEARCH] = consumers
    broker.refused.add(OTHER_SEARCH)
    _, answer = broker.deliver(asked)
    expected = "did not take pictor.search" if consumers else "no search worker of that model runs"
    assert expected in answer["error"]
    assert broker.messages_on(OTHER_SEARCH) == []


def test_a_job_is_answered_with_its_counts_and_an_unknown_one_with_an_error(
    broker: MemoryBroker, context: Context
) -> None:
    context.deps.ledger.create_job(request_of(), driver=WORKERS, job_id="mine")
    _, answer = broker.deliver(message_of("pictor.job", **GOOD["pictor.job"]))
    assert (answer["job_id"], answer["state"]) == ("mine", "running")
    _, answer = broker.deliver(message_of("pictor.job", v=1, job_id="unknown"))
    assert answer["job_id"] == "unknown"
    assert "unknown" in answer["error"]


@pytest.mark.parametrize("error", [FatalError("the device is lost"), CredentialsError("refused")])
def test_a_worker_that_cannot_search_any_more_answers_and_stops(
    broker: MemoryBroker, failing: FailingIndex, signals: Signals, error: FatalError
) -> None:
    """It would answer every search with this error, and sooner than its healthy neighbours."""
    failing.error = error
    settled, answer = broker.deliver(message_of("pictor.search", **GOOD["pictor.search"]))
    assert (settled, answer["error"]) == (Settled.ACKNOWLEDGED, str(error))
    assert signals == [(os.getppid(), signal.SIGTERM)]


def test_a_lost_device_stops_a_search_worker(
    broker: MemoryBroker, context: Context, indexed: list[str], embedder: FakeEmbedder, signals: Signals
) -> None:
    embedder.fail_next(FatalError("the device is lost"), times=2)
    _, answer = broker.deliver(message_of("pictor.search", **GOOD["pictor.search"]))
    assert answer["error"] == "the device is lost"
    assert len(signals) == 1


# Whatever goes wrong


@pytest.mark.parametrize(
    ("error", "stops", "crashes", "is_dead"),
    [
        (TransientError("the index is away"), False, 0, False),
        (FatalError("lost"), True, 0, False),
        (CredentialsError("refused"), True, 0, False),
        (ConfigError("a setting"), True, 0, False),
        (TargetError("collection 'images' does not exist"), False, 0, True),
        (MessageError("no delete"), False, 0, True),
        (PictorError("odd"), False, 1, False),
        (KeyError("odd"), False, 1, False),
        (MemoryError(), False, 1, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_the_class_of_an_error_decides_what_becomes_of_a_task(
    broker: MemoryBroker,
    failing: FailingIndex,
    signals: Signals,
    error: Exception,
    stops: bool,
    crashes: int,
    is_dead: bool,
) -> None:
    failing.error = error
    assert broker.deliver(message_of("pictor.delete", **GOOD["pictor.delete"]))[0] is Settled.ACKNOWLEDGED
    copies = broker.messages("plan")
    assert [copy.headers.get(CRASHES_HEADER, 0) for copy in copies] == ([] if is_dead else [crashes])
    assert [letter.reason for letter in broker.dead()] == ([str(error)] if is_dead else [])
    assert bool(signals) == stops


@pytest.mark.parametrize("task", ["pictor.ingest", "pictor.delete"])
def test_a_task_that_ends_in_an_internal_error_every_time_is_set_aside(
    broker: MemoryBroker, context: Context, failing: FailingIndex, task: str
) -> None:
    failing.error = KeyError("a fault of ours")
    settled = deliver_to_the_end(broker, message_of(task, **GOOD[task]))
    assert settled == [Settled.ACKNOWLEDGED] * SPLIT_AT_CRASH
    [letter] = broker.dead()
    assert letter.reason == f"{task}: every try ended with an internal error; the worker's log has it"


def test_a_job_whose_plan_ends_in_an_internal_error_every_time_fails_and_says_so(
    broker: MemoryBroker, context: Context
) -> None:
    class Broken(MemoryStore):
        def list_objects(self, *args: object, **options: object) -> Iterator[ObjectRef]:
            raise KeyError("a fault of ours")

    context.deps.ledger.create_job(request_of(), driver=WORKERS, job_id="mine")
    make_current(replace(context, deps=replace(context.deps, store=Broken(BUCKET))))
    step = message_of("pictor.plan_job", job_id="mine", step=0, nonce="x")
    assert len(deliver_to_the_end(broker, step)) == SPLIT_AT_CRASH
    [letter] = broker.dead()
    job = jobs_of(context)["mine"]
    assert (job.state, job.error) == (JobState.FAILED, letter.reason)
    assert "every try ended with an internal error" in job.error


@pytest.mark.parametrize(
    ("step", "nonce"),
    [
        ("first", "x"),
        (True, "x"),
        (0.0, "x"),
        (-1, "x"),
        (2**31, "x"),
        (2**63, "x"),
        (10**30, "x"),
        (0, ""),
        (0, "\0"),
        (0, "\ud800"),
        (0, "x" * 101),
        (0, 5),
    ],
    ids=ascii,
)
def test_arguments_that_no_planner_sends_fail_no_job(
    broker: MemoryBroker, context: Context, step: object, nonce: object
) -> None:
    context.deps.ledger.create_job(request_of(), driver=WORKERS, job_id="mine")
    broker.deliver(message_of("pictor.plan_job", job_id="mine", step=step, nonce=nonce))
    assert jobs_of(context)["mine"].state is JobState.RUNNING
    assert [letter.reason for letter in broker.dead()] == [
        "pictor.plan_job: job_id, step and nonce are expected, and a step from 0 to 2147483647"
    ]


@pytest.mark.parametrize("task", ["pictor.ingest", "pictor.delete", "pictor.plan_job"])
def test_a_count_of_crashes_that_anybody_can_write_ends_nothing(
    broker: MemoryBroker, context: Context, indexed: list[str], task: str
) -> None:
    """What counts is that a try has ended badly just now: else a header would fail another's job."""
    context.deps.ledger.create_job(request_of(), driver=WORKERS, job_id="mine")
    message = message_of(task, **GOOD.get(task, STEP)).with_headers({CRASHES_HEADER: 10**6})
    broker.deliver(message)
    assert jobs_of(context)["mine"].state is not JobState.FAILED
    assert broker.dead() == []


class BrokenOnce(MemoryStore):
    """A listing ends with an error that nobody foresaw, as often as it is said."""

    def __init__(self, times: int) -> None:
        super().__init__(BUCKET)
        self.times_left = times

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        if self.times_left:
            self.times_left -= 1
            raise KeyError("a fault of ours")
        return super().list_objects(bucket, prefix, start_after)


@pytest.mark.parametrize("forged", [{CRASHES_HEADER: 10**6}, {"retries": 10**6}, {"x-delivery-count": 10**6}])
def test_a_step_with_forged_counts_fails_no_job_when_a_try_ends_badly(
    broker: MemoryBroker, context: Context, forged: dict[str, int]
) -> None:
    """How often a step was tried is in the ledger, whatever its message says."""
    store = BrokenOnce(1)
    store.put(BUCKET, "a.png", distinct_png(1))
    context.deps.ledger.create_job(request_of(), driver=WORKERS, job_id="mine")
    make_current(replace(context, deps=replace(context.deps, store=store)))
    broker.deliver(message_of("pictor.plan_job", **STEP).with_headers(forged))
    assert (jobs_of(context)["mine"].state, broker.dead()) == (JobState.RUNNING, [])
    [again] = broker.messages("plan")
    broker.deliver(again)
    [batch] = broker.messages("embed")
    broker.deliver(batch)
    assert jobs_of(context)["mine"].state is JobState.COMPLETED


def test_a_forged_step_counts_no_tries_against_the_one_that_is_due(
    broker: MemoryBroker, context: Context
) -> None:
    store = BrokenOnce(2)
    context.deps.ledger.create_job(request_of(), driver=WORKERS, job_id="mine")
    make_current(replace(context, deps=replace(context.deps, store=store)))
    for number in range(2 * SPLIT_AT_CRASH):
        forged = message_of("pictor.plan_job", **STEP | {"nonce": f"forged-{number}"})
        broker.deliver(forged.with_headers({CRASHES_HEADER: 10**6}))
    assert (jobs_of(context)["mine"].state, broker.dead()) == (JobState.RUNNING, [])


@pytest.mark.parametrize("step", [2, 7, 2**31 - 1])
def test_a_step_far_ahead_leaves_the_planner_at_work(
    broker: MemoryBroker, context: Context, step: int
) -> None:
    """It would be the last: no later step has a number."""
    context.deps.store.put(BUCKET, "a.png", distinct_png(1))
    context.deps.ledger.create_job(request_of(), driver=WORKERS, job_id="mine")
    broker.deliver(message_of("pictor.plan_job", **STEP | {"nonce": "first"}))
    [due], [batch] = broker.messages("plan"), broker.messages("embed")
    broker.deliver(message_of("pictor.plan_job", job_id="mine", step=step, nonce="x"))
    assert (broker.messages("plan"), broker.dead()) == ([], [])
    broker.deliver(due)
    assert len(broker.messages("plan")) == 1
    broker.deliver(batch)
    assert jobs_of(context)["mine"].state is JobState.COMPLETED


def test_a_submission_under_the_id_of_an_embedded_job_leaves_that_job_alone(
    broker: MemoryBroker, context: Context
) -> None:
    """Its folder is on another machine: to these workers it is a bucket that cannot be one."""
    request = request_of(bucket="/pictures")
    before = context.deps.ledger.create_job(request, driver=HERE, job_id="mine")
    broker.deliver(message_of("pictor.ingest", **GOOD["pictor.ingest"]))
    assert context.deps.ledger.get_job("mine") == before
    [letter] = broker.dead()
    assert letter.reason == f"job mine is run by {HERE}; choose another id"


def test_a_refusal_fails_no_job_that_has_its_name(broker: MemoryBroker, context: Context) -> None:
    """The id of a message is its sender's, too."""
    before = context.deps.ledger.create_job(request_of(), driver=WORKERS, job_id="refused-of-a-test")
    broker.deliver(message_of("pictor.ingest", v=1, source="no location"))
    assert context.deps.ledger.get_job("refused-of-a-test") == before


# What a message names is to blame, and not this process


REFUSED_HERE = [FatalError("odd"), CredentialsError("refused"), ConfigError("not as an S3 service does")]


@pytest.mark.parametrize(
    ("task", "error"),
    [
        *(("pictor.delete", error) for error in REFUSED_HERE),
        *(("pictor.ingest", error) for error in REFUSED_HERE[:2]),  # the third is told by the job at once
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_message_that_names_what_no_service_answers_stops_no_worker(
    broker: MemoryBroker,
    context: Context,
    failing: FailingIndex,
    signals: Signals,
    task: str,
    error: PictorError,
) -> None:
    failing.error, failing.served = error, {context.settings.collection}
    settled = deliver_to_the_end(broker, message_of(task, **GOOD[task] | {"collection": "odd"}))
    assert (settled, signals) == ([Settled.ACKNOWLEDGED] * SPLIT_AT_CRASH, [])
    [letter] = broker.dead()
    assert letter.reason == f"{error}; other requests of this worker are answered"


@pytest.mark.parametrize("error", REFUSED_HERE, ids=lambda error: type(error).__name__)
def test_a_search_that_names_what_no_service_answers_stops_no_worker(
    broker: MemoryBroker, context: Context, failing: FailingIndex, signals: Signals, error: PictorError
) -> None:
    failing.error, failing.served = error, {context.settings.collection}
    _, answer = broker.deliver(message_of("pictor.search", **GOOD["pictor.search"] | {"collection": "odd"}))
    assert (answer["error"], signals) == (str(error), [])


@pytest.mark.parametrize("error", REFUSED_HERE, ids=lambda error: type(error).__name__)
def test_a_job_whose_listing_no_service_answers_fails_and_stops_no_worker(
    broker: MemoryBroker, context: Context, signals: Signals, error: PictorError
) -> None:
    class Odd(MemoryStore):
        def list_objects(self, *args: object, **options: object) -> Iterator[ObjectRef]:
            raise error

    context.deps.ledger.create_job(request_of(), driver=WORKERS, job_id="mine")
    make_current(replace(context, deps=replace(context.deps, store=Odd(BUCKET))))
    deliver_to_the_end(broker, message_of("pictor.plan_job", **STEP))
    job = jobs_of(context)["mine"]
    assert (job.state, signals) == (JobState.FAILED, [])
    assert job.error == f"{error}; other requests of this worker are answered"


def test_while_a_service_is_away_nobody_can_tell_who_is_to_blame(
    broker: MemoryBroker, failing: FailingIndex, signals: Signals
) -> None:
    class Away(FailingIndex):
        def get_collection(self, name: str) -> CollectionInfo | None:
            raise TransientError("the index is away")

    away = Away(failing)
    away.error = CredentialsError("refused")
    make_current(replace(current(), deps=replace(current().deps, index=away)))
    broker.deliver(message_of("pictor.delete", **GOOD["pictor.delete"]))
    [copy] = broker.messages("plan")
    assert (copy.headers.get(CRASHES_HEADER, 0), signals, broker.dead()) == (0, [], [])


@pytest.mark.parametrize("task", sorted(ANSWERED))
def test_an_internal_error_is_answered_by_its_kind_alone(
    broker: MemoryBroker, context: Context, failing: FailingIndex, ledger: SqlLedger, task: str
) -> None:
    class Broken(SqlLedger):
        def get_job(self, job_id: str) -> Job:
            raise KeyError("what a library says")

    failing.error = KeyError("what a library says")
    broken = Broken(ledger._engine)
    make_current(replace(context, deps=replace(context.deps, index=failing, ledger=broken)))
    settled, answer = broker.deliver(message_of(task, **GOOD[task]))
    assert (settled, answer["error"]) == (Settled.ACKNOWLEDGED, f"{task}: internal error of kind KeyError")


@pytest.mark.parametrize("task", [*PUBLIC, "pictor.plan_job"])
def test_a_process_that_was_not_warmed_up_takes_no_work(
    broker: MemoryBroker, context: Context, signals: Signals, task: str
) -> None:
    make_current(None)
    settled, answer = broker.deliver(message_of(task, **GOOD.get(task, STEP)))
    assert (settled, len(signals)) == (Settled.ACKNOWLEDGED, 1)
    if task in ANSWERED:
        assert answer["error"] == "this process was not warmed up"
    else:
        assert len(broker.messages("plan")) == 1


@pytest.mark.parametrize("task", ["pictor.ingest", "pictor.delete"])
def test_a_refusal_that_no_broker_took_is_made_again(
    broker: MemoryBroker, context: Context, task: str
) -> None:
    broker.refuse("dead")
    broker.deliver(message_of(task, v=2))
    [copy] = broker.messages("plan")
    broker.take_all_again()
    broker.deliver(copy)
    assert len(broker.dead()) == 1
    assert len(jobs_of(context)) == (task == "pictor.ingest")


@pytest.mark.parametrize("task", PUBLIC)
def test_positional_arguments_are_refused(broker: MemoryBroker, context: Context, task: str) -> None:
    _, answer = broker.deliver(message_of(task, SOURCE, **GOOD[task]))
    reason = f"{task}: 1 positional arguments; only keyword arguments are read"
    if task in ANSWERED:
        assert answer["error"] == reason
    else:
        assert [letter.reason for letter in broker.dead()] == [reason]


GARBAGE: list[dict[str, object]] = [
    {},
    {"v": "1"},
    {"v": [1]},
    {"v": 1, "job_id": 5, "step": 0, "nonce": "x"},
    {"v": 1, "job_id": "\ud800", "source": "\ud800", "query": "\ud800", "bucket": "\0", "keys": ["\0"]},
    {"v": 1, "job_id": ["x"], "source": {"a": 1}, "query": [], "bucket": None, "keys": {}},
    {"job_id": "x" * 5000, "step": "none", "nonce": None},
    {"job_id": {"a": 1}, "step": 10**30, "nonce": "x"},
    {"job_id": "mine", "step": 0},
    {"job_id": "mine", "step": 0, "nonce": "x"},
    {"message": 5},
    {"message": "{}", "more": 1},
    {"task": "x", "self": 5, "args": [], "kwargs": {}},
]


@pytest.mark.parametrize("headers", [{}, {CRASHES_HEADER: SPLIT_AT_CRASH}], ids=["first", "last"])
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: ascii(value)[:60])
@pytest.mark.parametrize(
    "task", [*PUBLIC, "pictor.plan_job", "pictor.embed_batch", "pictor.prepare_batch", "pictor.ingest_batch"]
)
def test_whatever_was_sent_comes_to_an_end_and_stops_no_worker(
    broker: MemoryBroker,
    context: Context,
    signals: Signals,
    task: str,
    garbage: dict[str, object],
    headers: dict[str, object],
) -> None:
    settled = deliver_to_the_end(broker, replace(message_of(task).with_headers(headers), kwargs=garbage))
    assert settled[-1] is Settled.ACKNOWLEDGED
    assert signals == []
    assert all(letter.reason.startswith("pictor.") for letter in broker.dead())
    is_step_of_no_job = task == "pictor.plan_job" and garbage == STEP
    assert len(broker.dead()) == (0 if task in ANSWERED or is_step_of_no_job else 1)

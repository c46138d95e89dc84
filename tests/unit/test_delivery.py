"""From a verdict to what becomes of a message: acknowledged, tried later, set aside, given back."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import (
    ConfigError,
    CredentialsError,
    FatalError,
    ImageError,
    MessageError,
    ModelError,
    ModelMismatchError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.ingest.handle import Handled, judge
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.ports import Deps, ImageLimits
from pipeline.types import EmbedBatch, JobState, Reason, Verdict
from tests.unit.fakes import (
    OTHER_SPEC,
    SPEC,
    FakeEmbedder,
    Signals,
    indexed_keys,
    jpeg,
    plan_one_batch,
    ref_of,
)
from tests.unit.memory_broker import MODEL_QUEUES, MemoryBroker, Message, Settled, message_of
from workers.broker.queue_names import model_queue
from workers.broker.queue_wait import DUE_HEADER
from workers.delivery import CRASHES_HEADER, RETRY_DELAYS_S, run_message
from workers.isolation.halve import SPLIT_AT_CRASH
from workers.process.context import Context, make_current

EMBED = "pictor.embed_batch"


@pytest.fixture
def batch(context: Context) -> EmbedBatch:
    """One image, planned."""
    context.deps.store.put("photos", "a.jpg", jpeg())
    return plan_one_batch(context.deps)


@pytest.fixture
def message(batch: EmbedBatch) -> Message:
    return message_of(EMBED, message=encode_batch(batch).decode())


class Answering:
    """Handles whatever comes with one verdict, or one error, and counts."""

    def __init__(self, answer: Handled | Exception) -> None:
        self.answer = answer
        self.calls = 0

    def __call__(self, body: bytes, deps: Deps, limits: ImageLimits) -> Handled:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def handle(broker: MemoryBroker) -> Callable[[Handled | Exception], Answering]:
    """Replaces what the task `pictor.embed_batch` does with a batch, in this test's application alone."""

    def replace_task(answer: Handled | Exception) -> Answering:
        answering = Answering(answer)
        task = broker.app.tasks[EMBED]
        task.run = lambda *_, **__: run_message(task, answering)
        return answering

    return replace_task


def verdict(
    kind: Verdict,
    error: PictorError | None = None,
    forward: EmbedBatch | None = None,
    batch: EmbedBatch | None = None,
) -> Handled:
    return Handled(verdict=kind, error=error, forward=forward, batch=batch)


# Each verdict


def test_work_that_is_done_is_acknowledged_and_nothing_is_sent(
    broker: MemoryBroker, context: Context, message: Message
) -> None:
    assert broker.deliver(message) == (Settled.ACKNOWLEDGED, None)
    assert indexed_keys(context.deps) == ["a.jpg"]
    assert (broker.messages("embed"), broker.dead()) == ([], [])


def test_a_staged_batch_is_on_the_next_queue_before_its_message_is_acknowledged(
    broker: MemoryBroker, message: Message, batch: EmbedBatch, handle: Callable[[Handled], Answering]
) -> None:
    staged = replace(batch, staged=True)
    handle(verdict(Verdict.ACK, forward=staged))
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    [forwarded] = broker.messages("embed")
    assert (forwarded.task, forwarded.kwargs) == (EMBED, {"message": encode_batch(staged).decode()})


def test_what_may_work_later_is_tried_again_after_a_pause(
    broker: MemoryBroker, message: Message, handle: Callable[[Handled], Answering]
) -> None:
    handle(verdict(Verdict.RETRY, TransientError("the store is away")))
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    [copy] = broker.messages("embed")
    assert (copy.task, copy.args, copy.kwargs) == (message.task, message.args, message.kwargs)
    assert (copy.headers["id"], copy.headers["retries"]) == (message.headers["id"], 1)
    assert CRASHES_HEADER not in copy.headers


def test_pauses_grow_and_stay_at_the_longest(
    broker: MemoryBroker, message: Message, handle: Callable[[Handled], Answering]
) -> None:
    handle(verdict(Verdict.RETRY, TransientError("the store is away")))
    pauses = []
    for _ in range(len(RETRY_DELAYS_S) + 2):
        sent_at = time.time()
        broker.deliver(message)
        [message] = broker.messages("embed")
        pauses.append(round(message.headers[DUE_HEADER] - sent_at))
    assert pauses == [*RETRY_DELAYS_S, RETRY_DELAYS_S[-1], RETRY_DELAYS_S[-1]]


def test_what_nobody_can_do_is_set_aside_with_its_reason(
    broker: MemoryBroker, message: Message, handle: Callable[[Handled], Answering]
) -> None:
    handle(verdict(Verdict.DEAD_LETTER, MessageError("message is not JSON")))
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    [letter] = broker.dead()
    assert (letter.task, letter.task_id, letter.queue) == (EMBED, "of-a-test", MODEL_QUEUES["embed"])
    assert letter.reason == "message is not JSON"


@pytest.mark.parametrize("by_position", [False, True])
def test_a_dead_letter_can_be_sent_again_as_it_came(
    broker: MemoryBroker, message: Message, by_position: bool, handle: Callable[[Handled], Answering]
) -> None:
    """A foreign sender may give the message by its position, as Celery lets it."""
    if by_position:
        message = replace(message, args=[message.kwargs["message"]], kwargs={})
    handle(verdict(Verdict.DEAD_LETTER, MessageError("not for this build")))
    broker.deliver(message)
    assert broker.replay() == 1
    [again] = broker.messages("embed")
    assert (again.args, again.kwargs) == (message.args, message.kwargs)


def test_a_job_that_cannot_work_fails_and_says_why(
    broker: MemoryBroker,
    context: Context,
    message: Message,
    batch: EmbedBatch,
    handle: Callable[[Handled], Answering],
) -> None:
    handle(verdict(Verdict.FAIL_JOB, TargetError("bucket 'photos' does not exist"), batch=batch))
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    job = context.deps.ledger.get_job(batch.job_id)
    assert (job.state, job.error) == (JobState.FAILED, "bucket 'photos' does not exist")
    assert (broker.messages("embed"), broker.dead()) == ([], [])


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.FAILED])
def test_a_late_error_changes_nothing_of_a_job_that_was_stopped(
    broker: MemoryBroker,
    context: Context,
    message: Message,
    batch: EmbedBatch,
    handle: Callable[[Handled], Answering],
    state: JobState,
) -> None:
    """As a failed one, a cancelled job would have its other batches done after all."""
    context.deps.ledger.set_state(batch.job_id, state, error="as it was")
    before = context.deps.ledger.get_job(batch.job_id)
    handle(verdict(Verdict.FAIL_JOB, TargetError("bucket 'photos' does not exist"), batch=batch))
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    assert context.deps.ledger.get_job(batch.job_id) == before
    assert (broker.messages("embed"), broker.dead()) == ([], [])


@pytest.fixture
def unfit(embedder: FakeEmbedder) -> None:
    """The device of this process is lost."""
    embedder.fail_next(FatalError("the device is lost"), times=100)


@pytest.mark.usefixtures("unfit")
def test_what_another_process_can_do_is_given_back_and_this_worker_stops(
    broker: MemoryBroker,
    message: Message,
    handle: Callable[[Handled], Answering],
    signals: Signals,
    tmp_path: Path,
) -> None:
    handle(verdict(Verdict.REQUEUE_AND_STOP, FatalError("the device is lost")))
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    [copy] = broker.messages("embed")
    assert copy.kwargs == message.kwargs
    assert signals == [(os.getppid(), signal.SIGTERM)]
    assert (tmp_path / "stopped").read_text() == "the device is lost\n"


@pytest.mark.usefixtures("unfit")
def test_a_worker_stops_without_a_reason_too(
    broker: MemoryBroker, message: Message, handle: Callable[[Handled], Answering], signals: Signals
) -> None:
    handle(verdict(Verdict.REQUEUE_AND_STOP))
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    assert len(broker.messages("embed")) == len(signals) == 1


def test_a_process_that_is_fit_does_not_stop_over_a_message(
    broker: MemoryBroker,
    context: Context,
    message: Message,
    batch: EmbedBatch,
    handle: Callable[[Handled], Answering],
    signals: Signals,
) -> None:
    """The message would stop all workers, one by one. It is tried as often as one that crashes."""
    refused = CredentialsError("refused the credentials")
    tries = handle(verdict(Verdict.REQUEUE_AND_STOP, refused, batch=batch))
    for crashes in range(1, SPLIT_AT_CRASH):
        assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
        [message] = broker.messages("embed")
        assert message.headers[CRASHES_HEADER] == crashes
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    job = context.deps.ledger.get_job(batch.job_id)
    assert (job.state, job.error) == (
        JobState.FAILED,
        "refused the credentials; other requests of this worker are answered",
    )
    assert (tries.calls, signals) == (SPLIT_AT_CRASH, [])
    assert (broker.messages("embed"), broker.dead()) == ([], [])


def test_what_is_no_batch_of_a_job_fails_none_and_is_set_aside(
    broker: MemoryBroker, message: Message, handle: Callable[[Handled], Answering], signals: Signals
) -> None:
    handle(verdict(Verdict.REQUEUE_AND_STOP, ConfigError("odd")))
    broker.deliver(message.with_headers({CRASHES_HEADER: SPLIT_AT_CRASH - 1}))
    [letter] = broker.dead()
    assert (letter.reason, signals) == ("odd; other requests of this worker are answered", [])


@pytest.mark.parametrize("queue", [MODEL_QUEUES["embed"], "embed"])  # "embed": of the version before
def test_a_batch_of_another_model_goes_to_the_workers_of_that_model_and_stops_none(
    broker: MemoryBroker, context: Context, signals: Signals, queue: str
) -> None:
    context.deps.store.put("photos", "a.jpg", jpeg())
    batch = plan_one_batch(context.deps, spec=OTHER_SPEC)
    message = message_of(EMBED, message=encode_batch(batch).decode())
    assert broker.deliver(replace(message, queue=queue))[0] is Settled.ACKNOWLEDGED
    [sent] = broker.messages_on(model_queue("embed", OTHER_SPEC.fingerprint))
    assert (sent.task, sent.kwargs) == (EMBED, message.kwargs)
    assert context.deps.ledger.get_job(batch.job_id).state is JobState.RUNNING
    assert (broker.messages_on(queue), broker.dead(), signals) == ([], [], [])


def test_a_batch_of_a_model_with_the_same_first_digits_does_not_go_round(
    broker: MemoryBroker, context: Context, signals: Signals
) -> None:
    context.deps.store.put("photos", "a.jpg", jpeg())
    twin = replace(OTHER_SPEC, fingerprint=SPEC.fingerprint[:8] + OTHER_SPEC.fingerprint[8:])
    batch = plan_one_batch(context.deps, spec=twin)
    broker.deliver(message_of(EMBED, message=encode_batch(batch).decode()))
    job = context.deps.ledger.get_job(batch.job_id)
    assert (job.state, signals) == (JobState.FAILED, [])
    assert "this worker runs fake (f0f0f0f0)" in job.error
    assert (broker.messages("embed"), broker.dead()) == ([], [])


# Each class of error that is raised and not returned


@pytest.mark.parametrize(
    ("error", "stops", "crashes"),
    [
        (TransientError("the broker went away"), False, 0),
        (FatalError("lost"), True, 0),
        (CredentialsError("refused"), True, 0),
        (ConfigError("a setting"), True, 0),
        (ModelError("a model"), True, 0),
        (ImageError(Reason.TRUNCATED, "half of it"), False, 1),
        (PictorError("odd"), False, 1),
        (KeyError("pixels"), False, 1),
        (MemoryError(), False, 1),
        (RecursionError(), False, 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_that_is_raised_leaves_a_copy_and_may_stop_the_worker(
    broker: MemoryBroker,
    message: Message,
    handle: Callable[[Exception], Answering],
    signals: Signals,
    error: Exception,
    stops: bool,
    crashes: int,
) -> None:
    handle(error)
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    [copy] = broker.messages("embed")
    assert copy.headers.get(CRASHES_HEADER, 0) == crashes
    assert bool(signals) == stops
    assert broker.dead() == []


@pytest.mark.parametrize("error", [TargetError("gone"), ModelMismatchError("of another model")])
def test_an_error_of_the_job_stops_no_worker(
    broker: MemoryBroker,
    context: Context,
    message: Message,
    batch: EmbedBatch,
    handle: Callable[[Handled], Answering],
    signals: Signals,
    error: PictorError,
) -> None:
    """Given back, it would stop all workers, one by one."""
    handle(judge(error, batch))
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    assert signals == []
    job = context.deps.ledger.get_job(batch.job_id)
    assert (job.state, job.error) == (JobState.FAILED, str(error))


def test_a_process_that_was_not_warmed_up_takes_no_work(
    broker: MemoryBroker, message: Message, signals: Signals
) -> None:
    make_current(None)
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    assert (len(broker.messages("embed")), len(signals)) == (1, 1)


# What is published before acknowledging is not taken


@pytest.mark.usefixtures("unfit")
@pytest.mark.parametrize("kind", [Verdict.RETRY, Verdict.DEAD_LETTER, Verdict.REQUEUE_AND_STOP])
def test_a_message_whose_successor_no_broker_took_is_given_back(
    broker: MemoryBroker,
    message: Message,
    handle: Callable[[Handled], Answering],
    signals: Signals,
    kind: Verdict,
) -> None:
    handle(verdict(kind, PictorError("why")))
    broker.refuse()
    assert broker.deliver(message)[0] is Settled.GIVEN_BACK
    assert bool(signals) == (kind is Verdict.REQUEUE_AND_STOP)


def test_a_staged_batch_that_no_broker_took_is_tried_again_as_a_whole(
    broker: MemoryBroker, context: Context, batch: EmbedBatch, handle: Callable[[Handled], Answering]
) -> None:
    handle(verdict(Verdict.ACK, forward=replace(batch, staged=True)))
    message = message_of(EMBED, message=encode_batch(batch).decode())
    broker.refuse("embed")
    assert broker.deliver(replace(message, queue=MODEL_QUEUES["prepare"]))[0] is Settled.ACKNOWLEDGED
    [copy] = broker.messages("prepare")
    assert CRASHES_HEADER not in copy.headers


def test_a_dead_letter_that_no_broker_took_is_tried_again(
    broker: MemoryBroker, message: Message, handle: Callable[[Handled], Answering]
) -> None:
    handle(verdict(Verdict.DEAD_LETTER, MessageError("why")))
    broker.refuse("dead")
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    [copy] = broker.messages("embed")
    broker.take_all_again()
    broker.deliver(copy)
    assert [letter.reason for letter in broker.dead()] == ["why"]


def test_a_job_that_cannot_be_failed_now_is_failed_later(
    broker: MemoryBroker,
    context: Context,
    message: Message,
    batch: EmbedBatch,
    handle: Callable[[Handled], Answering],
) -> None:
    class Away(type(context.deps.ledger)):  # type: ignore[misc]  # a class that is known at run time
        def set_state(self, *args: object, **options: object) -> None:
            raise TransientError("the ledger is away")

    handle(verdict(Verdict.FAIL_JOB, TargetError("gone"), batch=batch))
    away = Away(context.deps.ledger._engine)  # type: ignore[attr-defined]  # the tests' is a SqlLedger
    make_current(replace(context, deps=replace(context.deps, ledger=away)))
    assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
    assert len(broker.messages("embed")) == 1


# Headers


def test_a_copy_keeps_its_senders_headers_and_not_the_brokers(
    broker: MemoryBroker, message: Message, handle: Callable[[Handled], Answering]
) -> None:
    handle(verdict(Verdict.RETRY, TransientError("away")))
    given = {"tenant": "shop", "x-delivery-count": 1, "x-death": [], CRASHES_HEADER: 3, DUE_HEADER: 5.0}
    broker.deliver(message.with_headers(given))
    [copy] = broker.messages("embed")
    assert (copy.headers["tenant"], copy.headers[CRASHES_HEADER]) == ("shop", 3)
    assert [name for name in copy.headers if name.startswith("x-")] == []
    assert copy.headers[DUE_HEADER] > 5.0


def test_crashes_are_counted_from_copy_to_copy(
    broker: MemoryBroker, message: Message, handle: Callable[[Exception], Answering]
) -> None:
    handle(KeyError("pixels"))
    for crashes in (1, 2, 3):
        broker.deliver(message)
        [message] = broker.messages("embed")
        assert message.headers[CRASHES_HEADER] == crashes


@pytest.mark.parametrize(
    "wrong",
    [
        {CRASHES_HEADER: "many"},
        {CRASHES_HEADER: []},
        {CRASHES_HEADER: -3},
        {CRASHES_HEADER: True},
        {"x-delivery-count": "often"},
        {"x-delivery-count": None},
        {"headers": "none"},
        {"retries": None},
        {"is_eager": True},
        {"called_directly": True},
        {"stamps": 5, "stamped_headers": 5},
        {"timelimit": 5},
        {"as_execution_options": "shadows a method"},
    ],
    ids=str,
)
def test_headers_that_make_no_sense_hurt_nobody(
    broker: MemoryBroker, message: Message, handle: Callable[[Exception], Answering], wrong: dict[str, object]
) -> None:
    """Anybody who may publish could send them. What they leave behind can be delivered like any other."""
    handle(KeyError("pixels"))
    message = message.with_headers(wrong)
    for crashes in (1, 2):
        assert broker.deliver(message)[0] is Settled.ACKNOWLEDGED
        [message] = broker.messages("embed")
        assert message.headers[CRASHES_HEADER] == crashes


# When a batch is looked at alone


@pytest.mark.parametrize(
    ("headers", "is_suspect"),
    [
        ({}, False),
        ({"x-delivery-count": 1}, False),
        ({"x-delivery-count": 2}, True),
        ({"x-delivery-count": 5}, True),
        ({CRASHES_HEADER: 4}, False),
        ({CRASHES_HEADER: 5}, True),
        ({"x-delivery-count": 1, CRASHES_HEADER: 4}, False),
    ],
    ids=str,
)
def test_a_suspect_batch_is_split_before_it_is_touched(
    broker: MemoryBroker,
    context: Context,
    embedder: FakeEmbedder,
    headers: dict[str, object],
    is_suspect: bool,
) -> None:
    for key in ("a.jpg", "b.jpg"):
        context.deps.store.put("photos", key, jpeg())
    batch = plan_one_batch(context.deps)
    broker.deliver(message_of(EMBED, message=encode_batch(batch).decode()).with_headers(headers))
    halves = [decode_batch(half.kwargs["message"].encode()).path for half in broker.messages("embed")]
    assert halves == (["00000000.0", "00000000.1"] if is_suspect else [])
    assert bool(embedder.calls) != is_suspect


@pytest.mark.parametrize("headers", [{}, {"x-delivery-count": 2}, {CRASHES_HEADER: 5}], ids=str)
@pytest.mark.parametrize(
    "garbage", ["", "no batch", "{}", '"\ud800"', "[" * 100_000, 5, None, ["x"], {"v": 1}], ids=ascii
)
def test_what_is_no_batch_is_set_aside_at_once(
    broker: MemoryBroker, context: Context, garbage: object, headers: dict[str, object]
) -> None:
    assert broker.deliver(message_of(EMBED, message=garbage).with_headers(headers))[0] is Settled.ACKNOWLEDGED
    assert len(broker.dead()) == 1
    assert broker.messages("embed") == []


@pytest.mark.parametrize("headers", [{}, {"x-delivery-count": 2}], ids=str)
def test_a_batch_that_this_ledger_does_not_know_is_set_aside(
    broker: MemoryBroker, context: Context, batch: EmbedBatch, headers: dict[str, object]
) -> None:
    foreign = encode_batch(replace(batch, job_id="of-another-ledger", refs=(ref_of("a.jpg"), ref_of("b"))))
    broker.deliver(message_of(EMBED, message=foreign.decode()).with_headers(headers))
    [letter] = broker.dead()
    assert letter.reason == "batch 00000000 of job of-another-ledger is not in this ledger"

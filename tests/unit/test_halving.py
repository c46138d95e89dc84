"""A suspect batch is halved until one object is left, and that object is tried alone."""

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import PictorError, TargetError, TransientError
from pipeline.ingest.block import block_key
from pipeline.ingest.handle import Handled, handle_embed
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.types import BatchRecord, BatchStatus, EmbedBatch, JobState, PlannedBatch, Reason, Verdict
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    Signals,
    distinct_png,
    failed_reasons,
    indexed_keys,
    plan_one_batch,
)
from tests.unit.memory_broker import MemoryBroker
from tests.unit.process_scripts import Interpreter
from workers.isolation.halve import (
    SPLIT_AT_CRASH,
    TRIALS,
    _split_and_die,
    halves_of,
    isolate,
    split,
    split_when_slow,
)
from workers.process.context import Context

BEGUN = """echo '{"begun": "yes"}'\n"""
CRASH, HANG = f"{BEGUN}kill -KILL $$", f"{BEGUN}kill -ALRM $$"
FAULT = f"""{BEGUN}echo '{{"fate": "internal_error"}}'"""
STAGING = "staging"


def answering(verdict: Verdict, error: str = "") -> str:
    return f"{BEGUN}echo '{json.dumps({'verdict': verdict.value, 'error': error})}'"


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    folder = tmp_path / "interpreter"
    folder.mkdir()
    return Interpreter(folder, monkeypatch)


def planned(context: Context, count: int) -> EmbedBatch:
    for number in range(count):
        context.deps.store.put(BUCKET, f"{number}.png", distinct_png(number))
    return plan_one_batch(context.deps)


def isolated(batch: EmbedBatch, context: Context, crashes: int = 0) -> Handled:
    return isolate(encode_batch(batch), context, crashes=crashes)


def published(broker: MemoryBroker, queue: str = "embed") -> list[EmbedBatch]:
    return [decode_batch(message.kwargs["message"].encode()) for message in broker.messages(queue)]


def keys_of(batch: EmbedBatch) -> list[str]:
    return [ref.key for ref in batch.refs]


# Halves


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_halves_hold_every_object_once_in_order_and_neither_is_empty(context: Context, count: int) -> None:
    batch = replace(planned(context, count), staged=True)
    first, second = (decode_batch(half.body) for half in halves_of(batch))
    assert first.refs + second.refs == batch.refs
    assert 0 <= len(second.refs) - len(first.refs) <= 1
    assert (first.path, second.path) == ("00000000.0", "00000000.1")
    assert (first.staged, second.staged) == (False, False)
    assert replace(first, refs=batch.refs, path=batch.path, staged=True) == batch


def test_a_suspect_batch_makes_way_for_its_halves(broker: MemoryBroker, context: Context) -> None:
    batch = planned(context, 3)
    assert isolated(batch, context) == Handled(verdict=Verdict.ACK)
    assert context.deps.ledger.find_batch(batch.job_id, batch.path).status is BatchStatus.CLOSED
    assert [keys_of(half) for half in published(broker)] == [["0.png"], ["1.png", "2.png"]]
    assert context.deps.ledger.get_job(batch.job_id).counts.pending == 3


def test_halving_goes_on_until_every_object_is_alone_and_the_job_ends(
    broker: MemoryBroker, context: Context
) -> None:
    batch = planned(context, 5)
    isolated(batch, context)
    alone = []
    while halves := published(broker):
        for half in halves:
            if len(half.refs) > 1:
                isolated(half, context)
            else:
                alone.append(half)
    assert sorted(key for half in alone for key in keys_of(half)) == [f"{n}.png" for n in range(5)]
    for half in alone:
        assert handle_embed(encode_batch(half), context.deps, context.limits).verdict is Verdict.ACK
    job = context.deps.ledger.get_job(batch.job_id)
    assert (job.state, job.counts.indexed) == (JobState.COMPLETED, 5)


def test_a_batch_is_split_once_however_often_it_is_delivered(broker: MemoryBroker, context: Context) -> None:
    batch = planned(context, 2)
    for _ in range(3):
        assert isolated(batch, context) == Handled(verdict=Verdict.ACK)
    assert [half.path for half in published(broker)] == ["00000000.0", "00000000.1"]


def test_halves_that_no_broker_took_are_published_by_the_next_delivery(
    broker: MemoryBroker, context: Context
) -> None:
    batch = planned(context, 2)
    broker.refuse("embed")
    with pytest.raises(TransientError):
        isolated(batch, context)
    assert context.deps.ledger.find_batch(batch.job_id, batch.path).status is BatchStatus.CLOSED
    broker.take_all_again()
    isolated(batch, context)
    assert [keys_of(half) for half in published(broker)] == [["0.png"], ["1.png"]]


def test_a_batch_of_a_cancelled_job_is_acknowledged_unsplit(broker: MemoryBroker, context: Context) -> None:
    batch = planned(context, 2)
    context.deps.ledger.set_state(batch.job_id, JobState.CANCELLED)
    assert isolated(batch, context) == Handled(verdict=Verdict.ACK)
    assert [half.path for half in published(broker) if "." in half.path] == []


def test_a_batch_of_another_ledger_is_told_from_one_that_was_split(context: Context) -> None:
    batch = replace(planned(context, 2), job_id="of-another-ledger")
    handled = isolated(batch, context)
    assert handled.verdict is Verdict.DEAD_LETTER
    assert str(handled.error) == "batch 00000000 of job of-another-ledger is not in this ledger"


# One object, tried alone: script of each trial, crashes before, what is recorded, trials

TABLE = [
    ([CRASH], 0, Reason.WORKER_CRASH, "2 processes in a row died", TRIALS),
    ([HANG], 0, Reason.TIMEOUT, "did not come to an end", 1),
    ([CRASH, HANG], 0, Reason.TIMEOUT, "did not come to an end", 2),
    ([FAULT], SPLIT_AT_CRASH, Reason.WORKER_CRASH, "every try ended with an internal error", TRIALS),
    ([CRASH, FAULT], SPLIT_AT_CRASH, Reason.WORKER_CRASH, "every try ended with an internal error", 2),
    ([FAULT, CRASH], SPLIT_AT_CRASH, Reason.WORKER_CRASH, "2 processes in a row died", 2),
]


@pytest.mark.parametrize(("scripts", "crashes", "reason", "detail", "trials"), TABLE)
def test_an_object_that_fails_alone_is_recorded_and_its_job_ends(
    context: Context,
    trial: Interpreter,
    scripts: Sequence[str],
    crashes: int,
    reason: Reason,
    detail: str,
    trials: int,
) -> None:
    batch = planned(context, 1)
    trial.will(*scripts)
    handled = isolated(batch, context, crashes)
    assert handled.verdict is Verdict.ACK
    assert handled.report is not None
    assert [rejected.reason for rejected in handled.report.rejected] == [reason]
    assert failed_reasons(context.deps, batch.job_id) == {"0.png": reason}
    [failure] = context.deps.ledger.failures(batch.job_id)
    assert detail in failure.detail
    assert context.deps.ledger.get_job(batch.job_id).state is JobState.COMPLETED
    assert trial.started == trials


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("first", [(), (CRASH,)], ids=["at once", "after a crash"])
def test_a_trial_that_comes_to_a_verdict_settles_the_message(
    context: Context, trial: Interpreter, verdict: Verdict, first: tuple[str, ...]
) -> None:
    batch = planned(context, 1)
    trial.will(*first, answering(verdict, "" if verdict is Verdict.ACK else "why"))
    handled = isolated(batch, context)
    assert handled.verdict is verdict
    assert str(handled.error or "") == ("" if verdict is Verdict.ACK else "why")
    assert failed_reasons(context.deps, batch.job_id) == {}


@pytest.mark.parametrize("scripts", [[FAULT], [CRASH, FAULT]])
def test_an_internal_error_blames_no_object_before_it_was_met_often(
    context: Context, trial: Interpreter, scripts: Sequence[str]
) -> None:
    batch = planned(context, 1)
    trial.will(*scripts)
    with pytest.raises(PictorError, match="internal error in a trial"):
        isolated(batch, context, SPLIT_AT_CRASH - 1)
    assert failed_reasons(context.deps, batch.job_id) == {}


@pytest.mark.parametrize("scripts", [["exit 1"], [CRASH, "exit 1"]])
def test_a_trial_that_cannot_begin_blames_nobody(
    context: Context, trial: Interpreter, scripts: Sequence[str]
) -> None:
    batch = planned(context, 1)
    trial.will(*scripts)
    with pytest.raises(TransientError, match="did not begin"):
        isolated(batch, context)
    assert failed_reasons(context.deps, batch.job_id) == {}


def test_a_trial_pulls_the_object_anew(context: Context, trial: Interpreter, tmp_path: Path) -> None:
    batch = replace(planned(context, 1), staged=True)
    trial.will('read -r line; echo "$line" > body\n' + answering(Verdict.ACK))
    isolated(batch, context)
    assert decode_batch((tmp_path / "interpreter" / "body").read_bytes()) == replace(batch, staged=False)


@pytest.mark.parametrize("script", [CRASH, HANG, FAULT])
def test_the_row_of_an_earlier_version_goes_with_an_object_that_fails_alone(
    context: Context, trial: Interpreter, script: str
) -> None:
    first = planned(context, 1)
    handle_embed(encode_batch(first), context.deps, context.limits)
    assert indexed_keys(context.deps) == ["0.png"]
    context.deps.store.put(BUCKET, "0.png", distinct_png(7))
    trial.will(script)
    isolated(plan_one_batch(context.deps), context, SPLIT_AT_CRASH)
    assert indexed_keys(context.deps) == []


def test_a_failure_that_was_recorded_before_is_not_counted_again(
    context: Context, trial: Interpreter, ledger: SqlLedger
) -> None:
    """Another delivery reports while this one tries the object."""

    class Overtaken(SqlLedger):
        def find_batch(self, job_id: str, path: str) -> BatchRecord:
            record = super().find_batch(job_id, path)
            if record.status is BatchStatus.OPEN:
                isolated(batch, context)
            return record

    batch = planned(context, 1)
    trial.will(CRASH)
    late = replace(context, deps=replace(context.deps, ledger=Overtaken(ledger._engine)))
    handled = isolated(batch, late)
    assert (handled.verdict, handled.report) == (Verdict.ACK, None)
    assert context.deps.ledger.get_job(batch.job_id).counts.failed == 1


def test_a_collection_that_is_dropped_meanwhile_is_the_jobs_matter(
    context: Context, trial: Interpreter
) -> None:
    batch = planned(context, 1)
    trial.will(CRASH)
    context.deps.index.drop_collection(COLLECTION)
    handled = isolated(batch, context)
    assert (handled.verdict, handled.batch) == (Verdict.FAIL_JOB, batch)
    assert isinstance(handled.error, TargetError)


# Staged pixels


@pytest.fixture
def staged(context: Context) -> Context:
    """The same process where pixels are staged, with a bucket for them."""
    return replace(
        context,
        settings=context.settings.model_copy(update={"preparation": "staged"}),
        deps=replace(context.deps, staging_bucket=BUCKET),
    )


@pytest.mark.parametrize("script", [CRASH, answering(Verdict.ACK)])
@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_leaves_no_pixels_behind(
    staged: Context, trial: Interpreter, count: int, script: str
) -> None:
    batch = planned(staged, count)
    block = block_key(batch.job_id, batch.path)
    staged.deps.store.put(BUCKET, block, b"pixels that were named in no message")
    trial.will(script)
    isolated(batch, staged)
    assert [ref.key for ref in staged.deps.store.list_objects(BUCKET) if ref.key == block] == []


@pytest.mark.parametrize("verdict", [Verdict.RETRY, Verdict.REQUEUE_AND_STOP, Verdict.DEAD_LETTER])
def test_pixels_stay_while_their_batch_is_open(staged: Context, trial: Interpreter, verdict: Verdict) -> None:
    batch = planned(staged, 1)
    block = block_key(batch.job_id, batch.path)
    staged.deps.store.put(BUCKET, block, b"pixels")
    trial.will(answering(verdict, "why"))
    isolated(batch, staged)
    assert staged.deps.store.stat(BUCKET, block).key == block


# Too slow


def test_a_batch_that_is_done_in_time_is_left_alone(
    context: Context, broker: MemoryBroker, signals: Signals
) -> None:
    batch = planned(context, 2)
    with split_when_slow(encode_batch(batch), context):
        pass
    assert (published(broker), signals) == ([], [])


@pytest.mark.parametrize(("count", "halves"), [(1, 0), (2, 2), (3, 2)])
def test_a_slow_batch_is_split_and_its_process_ends(
    context: Context, broker: MemoryBroker, signals: Signals, count: int, halves: int
) -> None:
    batch = planned(context, count)
    _split_and_die(encode_batch(batch), context)
    assert len(published(broker)) == halves
    assert signals == [(os.getpid(), signal.SIGKILL)]


def test_a_slow_process_ends_even_where_its_batch_cannot_be_split(
    context: Context, broker: MemoryBroker, signals: Signals
) -> None:
    broker.refuse()
    _split_and_die(encode_batch(planned(context, 2)), context)
    _split_and_die(b"no batch", context)
    assert signals == [(os.getpid(), signal.SIGKILL)] * 2


def test_splitting_twice_at_once_makes_two_halves(context: Context, broker: MemoryBroker) -> None:
    """The timer's thread and the redelivery of the same message."""
    batch = planned(context, 4)
    split(batch, context)
    split(batch, context)
    assert [half.path for half in published(broker)] == ["00000000.0", "00000000.1"]
    planned_batches: list[PlannedBatch] = list(context.deps.ledger.pending(batch.job_id))
    assert [half.items for half in planned_batches] == [2, 2]

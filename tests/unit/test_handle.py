"""One message in, one verdict out, and the order of effects in between."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import (
    ConfigError,
    CredentialsError,
    FatalError,
    MessageError,
    ModelError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.ingest.handle import Handled, handle_embed
from pipeline.ingest.message import encode_batch
from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import BatchReport, CollectionRef, IndexRow, JobState, Verdict
from tests.index_rows import ids_in
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    CONCURRENCY,
    GREEN,
    LIMITS,
    OTHER_SPEC,
    RED,
    SPEC,
    FakeEmbedder,
    failed_reasons,
    indexed_keys,
    jpeg,
    plan_one_batch,
)

TEXT = b"no picture, but a text of some length"


class RecordingIndex(MemoryIndex):
    def __init__(self, effects: list[str]) -> None:
        super().__init__()
        self._effects = effects
        self.fail: PictorError | None = None
        self.create_collection(COLLECTION, SPEC)

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        if self.fail:
            raise self.fail
        super().replace_images(ref, images)
        self._effects.append("vectors")

    def delete_images(self, ref: CollectionRef, ids: Sequence[str]) -> None:
        super().delete_images(ref, ids)
        self._effects.append("stale vectors")


class RecordingLedger(SqlLedger):
    """The same ledger, watched. `fail_after` loses the answer of a report that was written."""

    def __init__(self, ledger: SqlLedger, effects: list[str]) -> None:
        super().__init__(ledger._engine)
        self._effects = effects
        self.fail: PictorError | None = None
        self.fail_after: PictorError | None = None

    def report(self, report: BatchReport) -> bool:
        if self.fail:
            raise self.fail
        written = super().report(report)
        self._effects.append("report")
        if self.fail_after:
            raise self.fail_after
        return written

    def finish_if_done(self, job_id: str) -> bool:
        done = super().finish_if_done(job_id)
        self._effects.append("job")
        return done


@pytest.fixture
def effects() -> list[str]:
    return []


@pytest.fixture
def recording_index(effects: list[str]) -> RecordingIndex:
    return RecordingIndex(effects)


@pytest.fixture
def recording_ledger(ledger: SqlLedger, effects: list[str]) -> RecordingLedger:
    return RecordingLedger(ledger, effects)


@pytest.fixture
def deps(
    store: MemoryStore,
    embedder: FakeEmbedder,
    recording_index: RecordingIndex,
    recording_ledger: RecordingLedger,
) -> Deps:
    store.put(BUCKET, "a.jpg", jpeg(RED))
    store.put(BUCKET, "b.jpg", jpeg(GREEN))
    return Deps(
        store=store,
        index=recording_index,
        embedder=embedder,
        ledger=recording_ledger,
        concurrency=CONCURRENCY,
    )


def drive(body: bytes, deps: Deps, effects: list[str]) -> Handled:
    """What a driver does: handle, then acknowledge."""
    handled = handle_embed(body, deps, LIMITS)
    effects.append(handled.verdict.value)
    return handled


def test_vectors_come_first_then_the_report_and_then_the_acknowledgement(
    deps: Deps, effects: list[str]
) -> None:
    batch = plan_one_batch(deps)
    assert drive(encode_batch(batch), deps, effects) == Handled(verdict=Verdict.ACK)
    assert effects == ["vectors", "report", "job", "ack"]
    job = deps.ledger.get_job(batch.job_id)
    assert job.state is JobState.COMPLETED
    assert (job.counts.scanned, job.counts.indexed, job.counts.pending) == (2, 2, 0)


def test_stale_vectors_are_removed_before_the_report_too(
    deps: Deps, store: MemoryStore, effects: list[str]
) -> None:
    drive(encode_batch(plan_one_batch(deps)), deps, effects)
    effects.clear()
    store.put(BUCKET, "a.jpg", TEXT)
    store.put(BUCKET, "b.jpg", jpeg(RED))
    drive(encode_batch(plan_one_batch(deps)), deps, effects)
    assert effects == ["vectors", "stale vectors", "report", "job", "ack"]


def test_without_vectors_there_is_no_report(
    deps: Deps, recording_index: RecordingIndex, effects: list[str]
) -> None:
    recording_index.fail = TransientError("the index is away")
    batch = plan_one_batch(deps)
    handled = drive(encode_batch(batch), deps, effects)
    assert handled == Handled(verdict=Verdict.RETRY, error=recording_index.fail)
    assert effects == ["retry"]
    assert deps.ledger.get_job(batch.job_id).counts.pending == 2


def test_without_a_report_there_is_no_acknowledgement_and_the_repetition_finds_the_vectors(
    deps: Deps, recording_ledger: RecordingLedger, effects: list[str]
) -> None:
    recording_ledger.fail = TransientError("the ledger is away")
    batch = plan_one_batch(deps)
    drive(encode_batch(batch), deps, effects)
    assert effects == ["vectors", "retry"]
    recording_ledger.fail = None
    drive(encode_batch(batch), deps, effects)
    assert effects == ["vectors", "retry", "report", "job", "ack"]
    counts = deps.ledger.get_job(batch.job_id).counts
    assert (counts.scanned, counts.indexed, counts.unchanged) == (2, 0, 2)


def test_a_report_whose_answer_was_lost_is_not_counted_twice(
    deps: Deps, recording_ledger: RecordingLedger, effects: list[str]
) -> None:
    recording_ledger.fail_after = TransientError("the connection broke")
    batch = plan_one_batch(deps)
    assert drive(encode_batch(batch), deps, effects).verdict is Verdict.RETRY
    recording_ledger.fail_after = None
    assert drive(encode_batch(batch), deps, effects).verdict is Verdict.ACK
    counts = deps.ledger.get_job(batch.job_id).counts
    assert (counts.scanned, counts.indexed, counts.unchanged, counts.pending) == (2, 2, 0, 0)


def test_a_message_that_comes_twice_is_done_once(
    deps: Deps, embedder: FakeEmbedder, effects: list[str]
) -> None:
    body = encode_batch(plan_one_batch(deps))
    drive(body, deps, effects)
    effects.clear()
    assert drive(body, deps, effects) == Handled(verdict=Verdict.ACK)
    assert effects == ["ack"]
    assert embedder.calls == [2]


def test_a_message_of_a_cancelled_job_is_acknowledged_and_nothing_is_done(
    deps: Deps, effects: list[str]
) -> None:
    batch = plan_one_batch(deps)
    deps.ledger.set_state(batch.job_id, JobState.CANCELLED)
    assert drive(encode_batch(batch), deps, effects) == Handled(verdict=Verdict.ACK)
    assert effects == ["ack"]


def test_bad_images_are_reported_and_do_not_hold_the_message(
    deps: Deps, store: MemoryStore, effects: list[str]
) -> None:
    store.put(BUCKET, "b.jpg", TEXT)
    batch = plan_one_batch(deps)
    assert drive(encode_batch(batch), deps, effects).verdict is Verdict.ACK
    assert failed_reasons(deps, batch.job_id) == {"b.jpg": "not_an_image"}
    assert indexed_keys(deps) == ["a.jpg"]


VERDICTS = [
    (TransientError("away"), Verdict.RETRY),
    (FatalError("the device is gone"), Verdict.REQUEUE_AND_STOP),
    (CredentialsError("refused"), Verdict.REQUEUE_AND_STOP),
    (ConfigError("no such table"), Verdict.REQUEUE_AND_STOP),
    (TargetError("no such bucket"), Verdict.FAIL_JOB),
    (ModelError("no such weights"), Verdict.REQUEUE_AND_STOP),
    (MessageError("no such batch"), Verdict.DEAD_LETTER),
]
PLACES: dict[str, Callable[[Deps, PictorError], None]] = {
    "store": lambda deps, error: deps.store.fail_next(error),  # type: ignore[attr-defined]
    "model": lambda deps, error: deps.embedder.fail_next(error),  # type: ignore[attr-defined]
    "index": lambda deps, error: setattr(deps.index, "fail", error),
    "ledger": lambda deps, error: setattr(deps.ledger, "fail", error),
}


@pytest.mark.parametrize(("error", "verdict"), VERDICTS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("place", PLACES)
def test_the_class_of_the_error_decides_wherever_it_comes_from(
    deps: Deps, error: PictorError, verdict: Verdict, place: str
) -> None:
    batch = plan_one_batch(deps)
    PLACES[place](deps, error)
    assert handle_embed(encode_batch(batch), deps, LIMITS) == Handled(verdict=verdict, error=error)
    assert deps.ledger.get_job(batch.job_id).counts.pending == 2


def test_a_batch_of_another_model_goes_to_that_models_workers_and_stops_none(
    deps: Deps, effects: list[str]
) -> None:
    batch = plan_one_batch(deps, spec=OTHER_SPEC)
    handled = drive(encode_batch(batch), deps, effects)
    assert effects == ["reroute"]
    assert handled.batch == batch
    assert OTHER_SPEC.fingerprint[:8] in str(handled.error)
    assert SPEC.fingerprint[:8] in str(handled.error)
    assert indexed_keys(deps) == []
    assert deps.ledger.get_job(batch.job_id).counts.pending == 2


def test_a_collection_that_was_dropped_fails_the_job_and_not_the_worker(
    deps: Deps, effects: list[str]
) -> None:
    batch = plan_one_batch(deps)
    deps.index.drop_collection(COLLECTION)
    handled = drive(encode_batch(batch), deps, effects)
    assert effects == ["fail_job"]
    assert f"collection '{COLLECTION}' does not exist" in str(handled.error)


def test_a_collection_that_became_another_models_gets_no_vector_of_this_one(
    deps: Deps, effects: list[str]
) -> None:
    batch = plan_one_batch(deps)
    deps.index.drop_collection(COLLECTION)
    deps.index.create_collection(COLLECTION, OTHER_SPEC)
    handled = drive(encode_batch(batch), deps, effects)
    assert effects == ["fail_job"]
    assert f"holds vectors of model 'other' ({OTHER_SPEC.fingerprint[:8]})" in str(handled.error)
    assert ids_in(deps.index, deps.index.live(COLLECTION)) == []


@pytest.mark.parametrize("body", [b"", b"\x80\x04pickle", b"{}", b'{"v":2,"type":"embed_batch"}'])
def test_what_cannot_be_understood_goes_to_the_dead_letters(
    deps: Deps, effects: list[str], body: bytes
) -> None:
    handled = drive(body, deps, effects)
    assert effects == ["dead_letter"]
    assert isinstance(handled.error, MessageError)


def test_a_batch_that_the_ledger_does_not_know_goes_to_the_dead_letters_before_anything_is_written(
    deps: Deps, effects: list[str]
) -> None:
    stranger = replace(plan_one_batch(deps), path="99999999")
    assert drive(encode_batch(stranger), deps, effects).verdict is Verdict.DEAD_LETTER
    stranger = replace(stranger, job_id="of another ledger")
    assert drive(encode_batch(stranger), deps, effects).verdict is Verdict.DEAD_LETTER
    assert effects == ["dead_letter", "dead_letter"]

"""The planner's chain of steps, against a real ledger, without a broker."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import TargetError, TransientError
from pipeline.ingest.message import decode_batch
from pipeline.ports import NO_FINDINGS, Deps, Ledger
from pipeline.settings import Settings
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    WORKERS,
    BatchReport,
    Findings,
    IndexRow,
    Job,
    JobState,
    ObjectRef,
    PlannedBatch,
    generation_of,
    indexed_version,
)
from tests.accountable import accountability
from tests.index_rows import ids_in, put
from tests.unit.fakes import BUCKET, COLLECTION, HERE, LIMITS, SPEC, TARGET, ref_of, request_of
from workers.broker.publish import Publisher
from workers.planning.planner import run_plan_step, wake_planner
from workers.process.context import Context

LIMIT = 5  # batches of a job that may be outstanding


class FakePublisher(Publisher):
    """Keeps what was published. `fail_at` makes one publish of a batch fail."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.steps: list[tuple[str, int, str]] = []
        self.fail_at: int | None = None

    def publish_batch(self, job_id: str, batch: PlannedBatch) -> None:
        if self.fail_at is not None and len(self.batches) == self.fail_at:
            self.fail_at = None
            raise TransientError("the broker went away")
        self.batches.append(batch.body)

    def publish_plan_step(
        self,
        job_id: str,
        step: int,
        nonce: str,
        *,
        delay_s: int = 0,
    ) -> None:
        self.steps.append((job_id, step, nonce))

    def paths(self) -> list[str]:
        return [decode_batch(body).path for body in self.batches]

    def keys(self) -> list[str]:
        return [ref.key for body in self.batches for ref in decode_batch(body).refs]


class Listing(MemoryStore):
    """A bucket of so many keys. Before key `number` is listed, `meanwhile[number]` is called."""

    def __init__(self, keys: int) -> None:
        super().__init__(BUCKET)
        self.keys = keys
        self.meanwhile: dict[int, Callable[[], object]] = {}

    def list_objects(
        self,
        bucket: str,
        prefix: str = "",
        start_after: str | None = None,
    ) -> Iterator[ObjectRef]:
        for number in range(self.keys):
            key = f"{number:06d}.jpg"
            if key <= (start_after or ""):
                continue
            if number in self.meanwhile:
                self.meanwhile.pop(number)()
            yield ref_of(key)


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def listing() -> Listing:
    return Listing(40)  # ten batches of four


@pytest.fixture
def context(deps: Deps, listing: Listing, publisher: FakePublisher) -> Context:
    return Context(
        settings=Settings(outstanding_batches=LIMIT),
        deps=replace(deps, store=listing),
        answers_to=accountability(deps.index),
        limits=LIMITS,
        publisher=publisher,
    )


@pytest.fixture
def job(ledger: SqlLedger) -> Job:
    return ledger.create_job(request_of(batch_items=4), driver=WORKERS)


def step(context: Context, job: Job, number: int, nonce: str = "") -> None:
    run_plan_step(job.job_id, number, nonce or f"nonce-{number}", context.deps, context)


def finish_batches(context: Context, job: Job, most: int = 1000) -> int:
    """What workers do: report pending batches, first first. Returns how many there were."""
    some = list(context.deps.ledger.pending(job.job_id))[:most]
    for batch in some:
        context.deps.ledger.report(
            BatchReport(job_id=job.job_id, path=batch.path, indexed=batch.items, unchanged=0, rejected=())
        )
    return len(some)


def run_to_end(context: Context, job: Job, publisher: FakePublisher, first: int = 0) -> None:
    """Deliver each next step, with workers keeping up, until none comes."""
    publisher.steps = [(job.job_id, first, "first")]
    while publisher.steps:
        [(job_id, number, nonce)] = publisher.steps
        publisher.steps = []
        run_plan_step(job_id, number, nonce, context.deps, context)
        finish_batches(context, job)
        assert number < 100


def state_of(ledger: Ledger, job: Job) -> JobState:
    return ledger.get_job(job.job_id).state


def test_a_job_is_planned_in_steps_and_every_key_once(
    context: Context, job: Job, publisher: FakePublisher, ledger: SqlLedger
) -> None:
    run_to_end(context, job, publisher)
    assert publisher.keys() == [f"{number:06d}.jpg" for number in range(40)]
    assert publisher.paths() == [f"{number:08d}" for number in range(10)]
    assert state_of(ledger, job) is JobState.COMPLETED
    assert ledger.get_job(job.job_id).counts.indexed == 40


def test_an_empty_bucket_is_a_completed_job(
    context: Context, job: Job, publisher: FakePublisher, ledger: SqlLedger, listing: Listing
) -> None:
    listing.keys = 0
    run_to_end(context, job, publisher)
    assert publisher.batches == []
    assert state_of(ledger, job) is JobState.COMPLETED


def test_no_more_batches_are_outstanding_than_may_be(
    context: Context, job: Job, publisher: FakePublisher, ledger: SqlLedger
) -> None:
    step(context, job, 0)
    assert ledger.outstanding(job.job_id) == LIMIT
    step(context, job, 1)
    assert ledger.outstanding(job.job_id) == len(publisher.batches) == LIMIT
    finish_batches(context, job, most=2)
    step(context, job, 2)
    assert ledger.outstanding(job.job_id) == LIMIT
    assert publisher.paths() == [f"{number:08d}" for number in range(LIMIT + 2)]


def test_reports_that_come_in_while_a_step_plans_let_it_go_on(
    context: Context, job: Job, publisher: FakePublisher, listing: Listing, ledger: SqlLedger
) -> None:
    most: list[int] = []

    class Watched(FakePublisher):
        def publish_batch(self, job_id: str, batch: PlannedBatch) -> None:
            super().publish_batch(job_id, batch)
            most.append(ledger.outstanding(job.job_id))
            if len(self.batches) % LIMIT == 0:
                finish_batches(context, job)

    watched = replace(context, publisher=Watched())
    run_plan_step(job.job_id, 0, "a", watched.deps, watched)
    assert len(most) == 10
    assert max(most) == LIMIT


def test_a_step_that_is_delivered_twice_plans_once(
    context: Context, job: Job, publisher: FakePublisher, ledger: SqlLedger
) -> None:
    step(context, job, 0)
    finish_batches(context, job)
    step(context, job, 1)
    before = (list(publisher.batches), list(publisher.steps), ledger.get_job(job.job_id))
    step(context, job, 0)
    step(context, job, 1, nonce="another message of this step")
    assert (publisher.batches, publisher.steps, ledger.get_job(job.job_id)) == before


def test_a_step_given_up_for_lost_makes_way_for_its_successor(
    context: Context, job: Job, publisher: FakePublisher, listing: Listing, ledger: SqlLedger
) -> None:
    def successor_starts() -> None:
        step(context, job, 1)

    listing.meanwhile[2] = successor_starts
    step(context, job, 0)
    # The successor has planned from the beginning; the first found that out before it wrote anything.
    assert publisher.paths() == [f"{number:08d}" for number in range(LIMIT)]
    assert [number for _, number, _ in publisher.steps] == [2]
    assert ledger.get_job(job.job_id).counts.scanned == 4 * LIMIT


def test_what_was_committed_and_not_published_is_published_by_the_next_delivery(
    context: Context, job: Job, publisher: FakePublisher, ledger: SqlLedger
) -> None:
    publisher.fail_at = 3
    with pytest.raises(TransientError):
        step(context, job, 0)
    assert ledger.outstanding(job.job_id) == LIMIT
    step(context, job, 0)
    # Published twice: the three that were not marked. Never: none.
    assert sorted(set(publisher.paths())) == [f"{number:08d}" for number in range(LIMIT)]
    run_to_end(context, job, publisher, first=1)
    assert ledger.get_job(job.job_id).counts.indexed == 40


def test_a_listing_that_breaks_off_is_taken_up_at_the_cursor(
    context: Context, job: Job, publisher: FakePublisher, listing: Listing, ledger: SqlLedger
) -> None:
    def away() -> None:
        raise TransientError("the store is away")

    wide = replace(context, settings=Settings(outstanding_batches=1000))
    listing.keys, listing.meanwhile = 300, {290: away}
    with pytest.raises(TransientError):
        step(wide, job, 0)
    # Two groups of 32 batches of 4 were committed; the third, in hand, was not.
    assert ledger.get_job(job.job_id).cursor == "000255.jpg"
    step(wide, job, 0)  # delivered again
    finish_batches(wide, job)
    run_to_end(wide, job, publisher, first=1)
    assert ledger.get_job(job.job_id).counts.indexed == 300


@pytest.mark.parametrize("state", [JobState.PAUSED, JobState.CANCELLED])
def test_a_job_that_is_stopped_while_it_is_planned_gets_no_further_batch(
    context: Context, job: Job, publisher: FakePublisher, listing: Listing, ledger: SqlLedger, state: JobState
) -> None:
    listing.meanwhile[2] = lambda: ledger.set_state(job.job_id, state)
    step(context, job, 0)
    assert publisher.batches == []
    [(_, number, nonce)] = publisher.steps
    publisher.steps = []
    step(context, job, number, nonce)
    assert (publisher.batches, publisher.steps) == ([], [])
    assert state_of(ledger, job) is state


def test_a_paused_job_goes_on_where_it_was_once_its_planner_is_woken(
    context: Context, job: Job, publisher: FakePublisher, ledger: SqlLedger
) -> None:
    step(context, job, 0)
    ledger.set_state(job.job_id, JobState.PAUSED)
    publisher.steps = []
    wake_planner(job.job_id, ledger, publisher)
    assert publisher.steps == []
    ledger.set_state(job.job_id, JobState.RUNNING)
    wake_planner(job.job_id, ledger, publisher)
    [(_, number, _)] = publisher.steps
    finish_batches(context, job)
    run_to_end(context, job, publisher, first=number)
    assert publisher.keys() == [f"{number:06d}.jpg" for number in range(40)]


def test_a_bucket_that_goes_away_fails_its_job_and_says_why(
    context: Context, job: Job, publisher: FakePublisher, listing: Listing, ledger: SqlLedger
) -> None:
    def gone() -> None:
        raise TargetError("bucket 'photos' does not exist")

    listing.meanwhile[2] = gone
    step(context, job, 0)
    assert (state_of(ledger, job), ledger.get_job(job.job_id).error) == (
        JobState.FAILED,
        "bucket 'photos' does not exist",
    )
    assert publisher.steps == []


def test_a_bucket_that_goes_away_leaves_a_job_cancelled_that_was_cancelled_before(
    context: Context, job: Job, publisher: FakePublisher, listing: Listing, ledger: SqlLedger
) -> None:
    def cancelled_and_gone() -> None:
        assert ledger.set_state(job.job_id, JobState.CANCELLED)
        raise TargetError("bucket 'photos' does not exist")

    listing.meanwhile[2] = cancelled_and_gone
    step(context, job, 0)
    assert (state_of(ledger, job), ledger.get_job(job.job_id).error) == (JobState.CANCELLED, "")
    assert publisher.steps == []


def test_a_job_whose_collection_is_dropped_after_the_last_batch_is_done_all_the_same(
    context: Context, job: Job, publisher: FakePublisher, ledger: SqlLedger, index: MemoryIndex
) -> None:
    index.drop_collection(COLLECTION)
    run_to_end(context, job, publisher)
    assert state_of(ledger, job) is JobState.COMPLETED


def test_a_step_of_an_unknown_job_does_nothing(context: Context, publisher: FakePublisher) -> None:
    run_plan_step("no-such-job", 0, "nonce", context.deps, context)
    assert (publisher.batches, publisher.steps) == ([], [])


def test_a_step_of_an_embedded_job_does_nothing(
    context: Context, publisher: FakePublisher, ledger: SqlLedger, listing: Listing
) -> None:
    """A bucket, which workers can read: they would do it twice. A folder they would fail."""
    embedded = ledger.create_job(request_of(), driver=HERE)
    step(context, embedded, 0)
    wake_planner(embedded.job_id, ledger, publisher)
    assert (publisher.batches, publisher.steps) == ([], [])
    assert ledger.get_job(embedded.job_id) == embedded


def test_two_planners_at_once_leave_every_key_in_one_batch(
    context: Context, job: Job, publisher: FakePublisher, listing: Listing, ledger: SqlLedger
) -> None:
    """The worst moment: the first has made its last check, the second claims and plans, the first writes."""

    class Overtaken(SqlLedger):
        overtake = True

        def record_plan(
            self,
            job_id: str,
            batches: Sequence[PlannedBatch],
            *,
            after: str | None = None,
            cursor: str,
            ignored: int,
            findings: Findings = NO_FINDINGS,
        ) -> bool:
            if self.overtake:
                self.overtake = False
                step(context, job, 1)
            return super().record_plan(
                job_id, batches, after=after, cursor=cursor, ignored=ignored, findings=findings
            )

    first = replace(context, deps=replace(context.deps, ledger=Overtaken(ledger._engine)))
    run_plan_step(job.job_id, 0, "first", first.deps, first)
    finish_batches(context, job)
    run_to_end(context, job, publisher, first=2)
    assert sorted(set(publisher.keys())) == [f"{number:06d}.jpg" for number in range(40)]
    assert ledger.get_job(job.job_id).counts.indexed == 40


# Removal


def book_of(ledger: SqlLedger, index: MemoryIndex, *keys: str) -> None:
    """Objects that an earlier job has indexed."""
    refs = [ref_of(key) for key in keys]
    vector = np.full(SPEC.dim, SPEC.dim**-0.5, dtype=np.float32)
    rows = [
        IndexRow(id=ref.image_id, ref=ref, vector=vector, width=1, height=1, indexed_at=datetime.now(UTC))
        for ref in refs
    ]
    put(index, TARGET, rows)
    ledger.book.write(generation_of(COLLECTION, SPEC.fingerprint), [indexed_version(ref) for ref in refs])


def rows_left(index: MemoryIndex) -> int:
    return len(ids_in(index, TARGET))


def test_unchanged_objects_are_counted_by_the_planner_and_vanished_ones_removed(
    context: Context, job: Job, publisher: FakePublisher, ledger: SqlLedger, index: MemoryIndex
) -> None:
    book_of(ledger, index, *(f"{number:06d}.jpg" for number in range(38)), "gone-1.jpg", "gone-2.jpg")
    run_to_end(context, job, publisher)
    done = ledger.get_job(job.job_id)
    assert publisher.keys() == ["000038.jpg", "000039.jpg"]
    assert (done.counts.unchanged, done.counts.indexed, done.counts.removed) == (38, 2, 2)
    assert (done.state, rows_left(index)) == (JobState.COMPLETED, 38)


def test_nothing_is_removed_while_a_batch_is_outstanding(
    context: Context, job: Job, publisher: FakePublisher, ledger: SqlLedger, index: MemoryIndex
) -> None:
    book_of(ledger, index, "gone.jpg")
    wide = replace(context, settings=Settings(outstanding_batches=1000))
    for number in range(3):
        step(wide, job, number)
    assert (ledger.get_job(job.job_id).planned, rows_left(index)) == (True, 1)
    finish_batches(wide, job)
    run_to_end(wide, job, publisher, first=3)
    assert (state_of(ledger, job), rows_left(index)) == (JobState.COMPLETED, 0)


def test_a_step_that_was_given_up_for_lost_removes_nothing_more(
    context: Context, job: Job, publisher: FakePublisher, listing: Listing, index: MemoryIndex
) -> None:
    ledger = context.deps.ledger
    assert isinstance(ledger, SqlLedger)
    book_of(ledger, index, *(f"gone-{number:04d}.jpg" for number in range(1500)))
    listing.keys = 0
    ledger.set_sync(job.job_id, replace(job.request, max_delete_share=1.0))
    step(context, job, 0)

    class Overtaken(SqlLedger):
        def record_removal(self, job_id: str, image_ids: Sequence[str], sequence: int) -> None:
            super().record_removal(job_id, image_ids, sequence)
            assert ledger.claim_step(job.job_id, 2, "the successor")

    overtaken = replace(context, deps=replace(context.deps, ledger=Overtaken(ledger._engine)))
    publisher.steps = []
    step(overtaken, job, 1)
    assert (rows_left(index), publisher.steps) == (500, [])
    run_to_end(context, job, publisher, first=3)
    assert (rows_left(index), ledger.get_job(job.job_id).counts.removed) == (0, 1500)


def test_a_job_that_a_worker_of_the_build_before_has_ended_is_still_cleaned_up(
    context: Context, job: Job, publisher: FakePublisher, ledger: SqlLedger, index: MemoryIndex
) -> None:
    book_of(ledger, index, "gone.jpg")
    wide = replace(context, settings=Settings(outstanding_batches=1000))
    step(wide, job, 0)
    finish_batches(wide, job)
    ledger.set_state(job.job_id, JobState.COMPLETED)  # it asks for the listing and the batches only
    run_to_end(wide, job, publisher, first=1)
    done = ledger.get_job(job.job_id)
    assert (done.state, done.counts.removed, rows_left(index)) == (JobState.COMPLETED, 1, 0)


def test_a_refusal_is_told_by_the_job(
    context: Context,
    job: Job,
    publisher: FakePublisher,
    ledger: SqlLedger,
    index: MemoryIndex,
    listing: Listing,
) -> None:
    book_of(ledger, index, "gone.jpg")
    listing.keys = 0
    run_to_end(context, job, publisher)
    done = ledger.get_job(job.job_id)
    assert (done.state, done.counts.removed, rows_left(index)) == (JobState.COMPLETED, 0, 1)
    assert "1 of 1 indexed objects" in done.error

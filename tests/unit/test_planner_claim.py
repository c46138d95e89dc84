"""Two plan workers and a store that takes its time: one plans, and another only when that one has died."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import TransientError
from pipeline.ingest.message import decode_batch
from pipeline.ports import Deps
from pipeline.settings import Settings
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import WORKERS, Job, ObjectRef, PlannedBatch
from tests.accountable import accountability
from tests.unit.fake_clock import FakeClock
from tests.unit.fakes import BUCKET, LIMITS, ref_of, request_of
from workers.broker.publish import Publisher
from workers.planning.claim import RENEW_S, STALLED_AFTER_S, HeldClaim
from workers.planning.planner import STEP_S, run_plan_step
from workers.planning.watch import WATCH_S, StalledPlanners
from workers.process.context import Context

Step = tuple[str, int, str]


class Died(BaseException):
    """The process of a planner was killed here."""


class Queue(Publisher):
    """Batches and plan steps as they were published."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.steps: list[Step] = []

    def publish_batch(self, job_id: str, batch: PlannedBatch) -> None:
        self.batches.append(batch.body)

    def publish_plan_step(self, job_id: str, step: int, nonce: str, *, delay_s: int = 0) -> None:
        self.steps.append((job_id, step, nonce))

    def keys(self) -> list[str]:
        return [ref.key for body in self.batches for ref in decode_batch(body).refs]


class SlowStore(MemoryStore):
    """A bucket in which each key takes its time. `passes` lets that pass."""

    def __init__(
        self, keys: list[str], key_s: Callable[[str], float], passes: Callable[[float], None]
    ) -> None:
        super().__init__(BUCKET)
        self._keys, self._key_s, self._passes = keys, key_s, passes

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        for key in self._keys:
            if key > (start_after or ""):
                self._passes(self._key_s(key))
                yield ref_of(key)


@dataclass
class Fleet:
    """Plan workers that take messages from one queue, and a watch that looks every so often.

    A worker is busy while it lists. What is published meanwhile is taken by the other one, within that time.
    """

    deps: Deps
    ledger: SqlLedger
    workers: int = 2
    clock: FakeClock = field(default_factory=FakeClock)
    queue: Queue = field(default_factory=Queue)
    begun: list[int] = field(default_factory=list)  # the numbers of the steps that were taken
    most_at_once: int = 0
    kill_at_key: str = ""
    key_s: Callable[[str], float] = lambda _: 1.0

    def __post_init__(self) -> None:
        self._busy = 0
        self._last_look_s = self.clock.now_s()
        self._watch = StalledPlanners(self.queue, self.clock)

    def plan(self, keys: list[str], *, batch_items: int = 4) -> Job:
        store = SlowStore(keys, self._seconds_of, self._let_pass)
        self.context = Context(
            settings=Settings(outstanding_batches=10_000),
            deps=replace(self.deps, store=store),
            answers_to=accountability(self.deps.index),
            limits=LIMITS,
            publisher=self.queue,
        )
        job = self.ledger.create_job(request_of(batch_items=batch_items), driver=WORKERS)
        self.queue.steps.append((job.job_id, 0, "first"))
        for _ in range(10_000):
            if self.ledger.get_job(job.job_id).planned:
                return job
            if not self._take_one():
                self._let_pass(1.0)
        raise AssertionError("the job was not planned")

    def _seconds_of(self, key: str) -> float:
        if key == self.kill_at_key:
            self.kill_at_key = ""
            raise Died
        return self.key_s(key)

    def _take_one(self) -> bool:
        if not self.queue.steps or self._busy == self.workers:
            return False
        job_id, number, nonce = self.queue.steps.pop(0)
        self._busy += 1
        self.most_at_once = max(self.most_at_once, self._busy)
        self.begun.append(number)
        try:
            run_plan_step(job_id, number, nonce, self.context.deps, self.context, clock=self.clock)
        except Died:
            pass  # the broker gives its message to nobody for a while: a half-open connection
        finally:
            self._busy -= 1
        return True

    def _let_pass(self, seconds: float) -> None:
        until_s = self.clock.now_s() + seconds
        while (left_s := until_s - self.clock.now_s()) > 0:
            self.clock.advance(min(left_s, WATCH_S), waiting=self._busy)
            if self.clock.now_s() - self._last_look_s >= WATCH_S:
                self._last_look_s = self.clock.now_s()
                self._watch.restart(self.ledger)
                if self._busy:
                    self._take_one()


@pytest.fixture
def fleet(deps: Deps, ledger: SqlLedger) -> Fleet:
    return Fleet(deps=deps, ledger=ledger)


def ignored_keys(number: int) -> list[str]:
    return [f"{index:06d}.txt" for index in range(number)]


def test_a_long_stretch_of_ignored_keys_is_planned_by_one_worker_and_once(
    fleet: Fleet, ledger: SqlLedger
) -> None:
    keys = [*ignored_keys(400), "z-1.jpg", "z-2.jpg"]
    job = fleet.plan(keys)
    assert fleet.most_at_once == 1
    assert fleet.begun == list(range(len(fleet.begun)))  # no step was begun twice, and none beside another
    assert fleet.queue.keys() == ["z-1.jpg", "z-2.jpg"]
    assert ledger.get_job(job.job_id).counts.ignored == 400


def test_a_page_that_takes_longer_than_a_planner_may_be_silent_is_waited_for(
    fleet: Fleet, ledger: SqlLedger
) -> None:
    fleet.key_s = lambda key: 5 * STALLED_AFTER_S if key == "000010.txt" else 0.1
    job = fleet.plan([*ignored_keys(40), "z.jpg"])
    assert (fleet.most_at_once, fleet.queue.keys()) == (1, ["z.jpg"])
    assert ledger.get_job(job.job_id).counts.ignored == 40


def test_a_step_gives_way_in_the_middle_of_what_it_reads(fleet: Fleet, ledger: SqlLedger) -> None:
    cursors: set[str] = set()

    def seconds_of(_: str) -> float:
        cursors.add(ledger.list_jobs()[0].cursor or "")
        return 1.0

    fleet.key_s = seconds_of
    fleet.plan(ignored_keys(100))
    places = sorted(int(cursor[:6]) for cursor in cursors if cursor)
    assert len(places) > 5
    assert max(later - earlier for earlier, later in pairwise(places)) <= STEP_S + 1


def test_a_step_moves_on_however_long_its_first_key_takes(fleet: Fleet) -> None:
    """A server that lists by folder reads all of it for each step."""
    started: list[str] = []

    def seconds_of(key: str) -> float:
        is_first = not started or fleet.begun[-1] >= len(started)
        started.extend([key] if is_first else [])
        return 100.0 if is_first else 0.1

    fleet.key_s = seconds_of
    fleet.plan([f"{index:06d}.jpg" for index in range(400)])
    assert fleet.most_at_once == 1
    assert len(fleet.begun) <= 6  # a hundred keys a step, and not one


def test_a_planner_that_died_is_taken_over_and_every_key_is_in_one_batch(
    fleet: Fleet, ledger: SqlLedger
) -> None:
    keys = [f"{index:06d}.jpg" for index in range(60)]
    fleet.kill_at_key = "000025.jpg"
    job = fleet.plan(keys)
    assert fleet.queue.keys() == keys
    assert ledger.get_job(job.job_id).counts.scanned == 60
    assert fleet.most_at_once == 1


def test_two_planners_that_die_one_after_the_other_are_each_taken_over(fleet: Fleet) -> None:
    keys = [f"{index:06d}.jpg" for index in range(60)]
    fleet.kill_at_key = "000025.jpg"

    def seconds_of(key: str) -> float:
        if key == "000040.jpg":
            fleet.kill_at_key = "000050.jpg"
        return 1.0

    fleet.key_s = seconds_of
    fleet.plan(keys)
    assert fleet.queue.keys() == keys


# The claim itself


def test_a_claim_is_renewed_until_its_work_has_ended() -> None:
    clock, renewals = FakeClock(), list[float]()

    def claim() -> bool:
        renewals.append(clock.now_s())
        return True

    with HeldClaim(claim, clock) as held:
        began_s = clock.now_s()
        clock.advance(4 * RENEW_S + 1, waiting=1)
        assert held.is_held()
    assert [at_s - began_s for at_s in renewals] == [RENEW_S, 2 * RENEW_S, 3 * RENEW_S, 4 * RENEW_S]
    clock.advance(10 * RENEW_S)
    assert len(renewals) == 4
    assert "plan-claim" not in {thread.name for thread in threading.enumerate()}


def test_a_claim_that_another_has_taken_is_not_asked_for_again() -> None:
    clock, answers = FakeClock(), [True, False]
    with HeldClaim(lambda: answers.pop(0), clock) as held:
        clock.advance(RENEW_S, waiting=1)
        assert held.is_held()
        clock.advance(5 * RENEW_S, waiting=1)
        assert not held.is_held()
        assert not held.renew()  # no answer is left to be asked for


def test_a_database_that_is_away_for_a_moment_costs_no_claim() -> None:
    clock, asked = FakeClock(), list[int]()

    def claim() -> bool:
        asked.append(1)
        if len(asked) < 3:
            raise TransientError("away")
        return True

    with HeldClaim(claim, clock) as held:
        clock.advance(3 * RENEW_S, waiting=1)
        assert held.is_held()
    assert len(asked) == 3


def test_work_whose_claim_cannot_be_kept_must_stop() -> None:
    clock = FakeClock()

    def claim() -> bool:
        raise RuntimeError("a mistake of ours")

    with HeldClaim(claim, clock) as held:
        clock.advance(RENEW_S, waiting=1)
        assert not held.is_held()

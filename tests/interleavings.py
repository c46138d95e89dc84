"""Random interleavings of jobs, deletions, deaths, redeliveries and a changing bucket, effect by effect.

Each message is done by an actor: a thread that stops before and after each effect and goes on when it is its
turn. Only one is ever at work, and a seed says whose turn it is. So each history can be repeated.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pipeline.ingest.handle import Handled, handle_embed, handle_prepare
from pipeline.ingest.message import decode_batch, encode_batch
from pipeline.ports import Deps
from pipeline.service.access import local_caller
from pipeline.service.delete import delete_objects
from pipeline.settings import Settings
from pipeline.types import (
    WORKERS,
    EmbedBatch,
    Job,
    JobRequest,
    JobState,
    PlannedBatch,
    Reason,
    Verdict,
    VersionEntry,
    VersionState,
    generation_of,
)
from tests.accountable import NO_LOG, accountability
from tests.histories import EFFECTS, NAMES, Fate, Killed, Mortal, Queue, World, check_adds_up
from workers.isolation.halve import split
from workers.planning.planner import run_plan_step
from workers.process.context import Context

STAGING = "staging"
LOOKS = frozenset(
    "get_versions get_images get_rows stat get_metadata find_copies find overtaken embed_images "
    "list_versions".split()
)
FEW = 4  # keys, so that histories meet
MOST_AT_ONCE, MOST_HELD_UP = 3, 6
MOST_TURNS = 20_000


@dataclass
class Turns(Fate):
    """Decides at each effect who goes on, and whether the one who was at work dies."""

    actors: "list[Actor]" = field(default_factory=list)
    held_up: "list[Actor]" = field(default_factory=list)  # they get no turn for now
    at_work: "Actor | None" = None

    def decide(self) -> None:
        actor = self.at_work
        if actor is None or threading.current_thread() is not actor.thread:
            return  # a thread that reads ahead for an actor; or nobody's effect
        actor.wait_for_turn()
        super().decide()

    def give_turn(self) -> None:
        self.at_work = self.rng.choice(self.actors)
        self.at_work.go_on()
        if self.at_work.is_done:
            self.actors.remove(self.at_work)
        self.at_work = None


class Actor:
    """Somebody who does one message."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._turn, self._rest = threading.Semaphore(0), threading.Semaphore(0)
        self._work, self.is_done = work, False
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def go_on(self) -> None:
        """Let it go on to its next effect, or to its end."""
        self._turn.release()
        self._rest.acquire()
        if self._error is not None:
            raise self._error

    def wait_for_turn(self) -> None:
        self._rest.release()
        self._turn.acquire()

    def _run(self) -> None:
        self._turn.acquire()
        try:
            self._work()
        except Killed:
            pass  # its message comes again
        except BaseException as err:  # noqa: BLE001 - it is raised where the history is told
            self._error = err
        self.is_done = True
        self._rest.release()


@dataclass(eq=False)
class Message:
    """`kind` is plan, prepare, embed or delete. It is on the queue until it is acknowledged."""

    kind: str
    content: Any
    is_taken: bool = False
    is_held_up: bool = False


class Broker(Queue):
    """One queue for everything, delivered in any order."""

    def __init__(self, way: Callable[[], str]) -> None:
        super().__init__()
        self.queue: list[Message] = []
        self._way = way  # how a batch begins: prepare or embed

    def publish_batch(self, job_id: str, batch: PlannedBatch) -> None:
        self.queue.append(Message(self._way(), batch.body))

    def publish_to_model(self, task: str, batch: EmbedBatch) -> None:
        self.queue.append(Message("embed", encode_batch(batch)))

    def publish_plan_step(self, job_id: str, step: int, nonce: str, *, delay_s: int = 0) -> None:
        self.queue.append(Message("plan", (job_id, step, nonce)))


@dataclass
class Interleaved(World):
    """A world in which several things happen at once."""

    def __post_init__(self) -> None:
        self.fate = self.turns = Turns(self.rng)
        self.broker = Broker(lambda: self.rng.choice(("embed", "prepare")))
        self.deps = self._stepwise(self.real)
        self.old_deletions: list[Any] = []
        self.jobs: list[Job] = []

    def _stepwise(self, real: Deps) -> Deps:
        steps = EFFECTS | LOOKS
        return replace(
            real,
            store=Mortal(real.store, self.turns, steps),
            index=Mortal(real.index, self.turns, steps),
            ledger=Mortal(real.ledger, self.turns, steps),
            embedder=Mortal(real.embedder, self.turns, steps),
            staging_bucket=STAGING,
        )

    def change_something(self) -> None:
        changes = (self._write, self._write, self._spoil, self._describe, self._delete)
        self.rng.choice(changes)(self.rng.choice(NAMES[:FEW]))

    def submit(self, request: JobRequest) -> Job:
        job = self.real.ledger.create_job(request, driver=WORKERS)
        self.jobs.append(job)
        self.broker.publish_plan_step(job.job_id, 0, "first")
        return job

    def delete_for_good(self) -> None:
        """Somebody deletes an object, and tells Pictor at once."""
        key = self.rng.choice(NAMES[:FEW])
        self._delete(key)
        self.broker.queue.append(Message("delete", (key, datetime.now(UTC))))

    def take_turns(self, *, often: int) -> None:
        for _ in range(often):
            waiting = [one for one in self.broker.queue if not (one.is_taken or one.is_held_up)]
            if waiting and len(self.turns.actors) < MOST_AT_ONCE and self.rng.random() < 0.3:
                self._deliver_one(self.rng.choice(waiting))
            elif self.turns.actors:
                self.turns.give_turn()

    def _deliver_one(self, message: Message) -> None:
        message.is_taken = True

        def work() -> None:
            try:
                self._do(message)
            except Killed:
                message.is_taken = False
                raise
            message.is_taken = False
            is_lost = self.turns.share > 0 and self.rng.random() < 0.1  # the acknowledgement: it comes again
            if not is_lost:
                self.broker.queue.remove(message)

        self.turns.actors.append(Actor(work))

    def _do(self, message: Message) -> None:
        context = Context(
            settings=Settings(),
            deps=self.deps,
            answers_to=accountability(self.deps.index),
            limits=self.limits,
            publisher=self.broker,
        )
        match message.kind:
            case "plan":
                job_id, step, nonce = message.content
                run_plan_step(job_id, step, nonce, self.deps, context)
            case "delete":
                self._delete_objects(*message.content)
                self.old_deletions.append(message.content)
            case _:
                self._do_batch(message, context)

    def _do_batch(self, message: Message, context: Context) -> None:
        batch = decode_batch(message.content)
        if len(batch.refs) > 1 and self.turns.share > 0 and self.rng.random() < 0.1:
            split(batch, context)
            return
        handle = handle_prepare if message.kind == "prepare" else handle_embed
        handled: Handled = handle(message.content, self.deps, self.limits)
        if handled.verdict is Verdict.RETRY:
            self.broker.queue.append(Message(message.kind, message.content))
            return
        assert handled.verdict is Verdict.ACK, handled
        if handled.forward is not None:
            self.broker.publish_to_model("pictor.embed_batch", handled.forward)

    def _delete_objects(self, key: str, meant_at: datetime) -> None:
        delete_objects(
            self.bucket,
            [key],
            collection=self.request.collection,
            index=self.deps.index,
            ledger=self.deps.ledger,
            answers_to=NO_LOG,
            caller=local_caller(),
            meant_at=meant_at,
            driver=WORKERS,
        )

    # A history

    def live(self) -> None:
        self.turns.share = self.rng.choice((0.0, 0.01, 0.03))
        for key in NAMES[:FEW]:
            self._write(key)
        for _ in range(self.rng.randint(6, 16)):
            self._begin_job()
            self.take_turns(often=self.rng.choice((20, 100, 400)))
            for _ in range(self.rng.randint(1, 3)):
                self.rng.choice((self.change_something, self.change_something, self.delete_for_good))()
            if self.old_deletions and self.rng.random() < 0.3:
                self.broker.queue.append(Message("delete", self.rng.choice(self.old_deletions)))
            if self.rng.random() < 0.1:
                self._give_up(self.rng.choice(self.jobs))
            self._hold_up(share=0.2)
        # From here on the bucket rests. One job sees how it is, and much of what is under way comes after it.
        for deletion in self.old_deletions:
            self.broker.queue.append(Message("delete", deletion))
        self._hold_up(share=0.6)
        last = self.submit(self.request)
        self._drain(until=lambda: self.real.ledger.get_job(last.job_id).state is JobState.COMPLETED)
        self._let_go()
        self.take_turns(often=100)
        self.turns.share = 0.0
        self._drain(until=lambda: not self.broker.queue)
        self._check_end()

    def _hold_up(self, *, share: float) -> None:
        """Some of what is on the queue or under way goes on only after the last job."""
        for message in self.broker.queue:
            if not message.is_taken and message.kind != "plan" and self.rng.random() < share:
                message.is_held_up = True
        for actor in list(self.turns.actors):
            if len(self.turns.held_up) < MOST_HELD_UP and self.rng.random() < share:
                self.turns.actors.remove(actor)
                self.turns.held_up.append(actor)

    def _let_go(self) -> None:
        for message in self.broker.queue:
            message.is_held_up = False
        self.turns.actors += self.turns.held_up
        self.turns.held_up = []

    def _begin_job(self) -> None:
        self.submit(self.a_request())

    def _give_up(self, job: Job) -> None:
        if self.real.ledger.get_job(job.job_id).state is JobState.RUNNING:
            self.real.ledger.set_state(job.job_id, JobState.CANCELLED)

    def _drain(self, *, until: Callable[[], bool]) -> None:
        for _ in range(MOST_TURNS):
            if not any(not message.is_held_up for message in self.broker.queue):
                self._take_up_jobs_without_a_planner()
            if until():
                return
            self.take_turns(often=10)
        raise AssertionError(f"{len(self.broker.queue)} messages are left")

    def _take_up_jobs_without_a_planner(self) -> None:
        """What the workers' watch does."""
        ledger: Any = self.real.ledger
        for job_id, claim in ledger.plan_claims().items():
            self.broker.publish_plan_step(job_id, claim.step + 1, "watch")

    def _check_end(self) -> None:
        for job in self.real.ledger.list_jobs(limit=1000):
            assert job.state in (JobState.COMPLETED, JobState.CANCELLED), job
            check_adds_up(job)
        self._check_index()
        self._check_entries()

    def _check_entries(self) -> None:
        generation = generation_of(self.request.collection, self.request.fingerprint)
        entries = list(self.real.ledger.book.list_versions(generation, self.bucket))
        wanted = {entry.ref.key: entry for entry in entries if not _says_gone(entry)}
        assert sorted(wanted) == sorted(self._wanted())
        for key, entry in wanted.items():
            is_text = self._is_text(key)
            assert entry.state is (VersionState.FAILED if is_text else VersionState.INDEXED), entry
            assert entry.vectors == (0 if is_text else 1), entry


def _says_gone(entry: VersionEntry) -> bool:
    return entry.state is VersionState.REMOVED or (entry.reason is Reason.NOT_FOUND and not entry.vectors)


def live_interleaved(world: Interleaved) -> None:
    try:
        world.live()
    finally:
        for actor in world.turns.actors:
            actor.thread.join(0)

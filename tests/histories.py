"""Random histories of a bucket and of the jobs that follow it, with deaths between any two effects.

What a broker and its workers do is done here one message after the other, in one thread: a death is an
exception that no code of ours catches, after which the message is delivered again.
"""

import random
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.ingest.handle import handle_embed
from pipeline.ingest.selection import Selection
from pipeline.ingest.verify import verify_collection
from pipeline.ports import Deps, ImageLimits
from pipeline.settings import Settings
from pipeline.types import (
    WORKERS,
    Job,
    JobRequest,
    JobState,
    ObjectRef,
    PlannedBatch,
    Verdict,
    VersionState,
    generation_of,
)
from tests.accountable import accountability
from tests.index_rows import ids_in
from workers.broker.publish import Publisher
from workers.planning.planner import run_plan_step
from workers.process.context import Context

TEXT = b"no picture, but a text of some length "
NAMES = ("a.png", "b/1.png", "b/2.png", "b-.png", "b/\U0001f600.png", "c/d/\uef80.png", "z.png", "notes.txt")
EFFECTS = frozenset(
    "replace_images delete_images delete record_plan report begin_removal record_removal forget_removing "
    "finish_planning "
    "finish_removals mark_published claim_step record_fill finish_if_done end_removal claim "
    "split_batch put write".split()
)


class Killed(BaseException):
    """The process died here."""


@dataclass
class Fate:
    """Decides at each effect whether the process dies, just before it or just after."""

    rng: random.Random
    share: float = 0.0

    def decide(self) -> None:
        """Called before and after each effect, by whoever has it done."""
        if self.share > 0 and self.rng.random() < self.share:
            raise Killed


class Mortal:
    """Whatever it stands before, its caller may die before or after each effect, or within a listing."""

    def __init__(self, inner: Any, fate: Fate, effects: Set[str] = EFFECTS) -> None:
        self._inner, self._fate, self._effects = inner, fate, effects

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "book":
            return Mortal(found, self._fate, self._effects)
        if name == "list_objects":
            return self._listing(found)
        return self._effect(found) if name in self._effects else found

    def _effect(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def done_or_not(*args: Any, **named: Any) -> Any:
            self._fate.decide()
            answer = call(*args, **named)
            self._fate.decide()
            return answer

        return done_or_not

    def _listing(self, call: Callable[..., Iterator[ObjectRef]]) -> Callable[..., Iterator[ObjectRef]]:
        def cut_off(*args: Any) -> Iterator[ObjectRef]:
            for ref in call(*args):
                self._fate.decide()
                yield ref

        return cut_off


class Queue(Publisher):
    """What was published and not acknowledged: batches and steps."""

    def __init__(self) -> None:
        self.messages: list[bytes | tuple[str, int, str]] = []

    def publish_batch(self, job_id: str, batch: PlannedBatch) -> None:
        self.messages.append(batch.body)

    def publish_plan_step(self, job_id: str, step: int, nonce: str, *, delay_s: int = 0) -> None:
        self.messages.append((job_id, step, nonce))


@dataclass
class World:
    """One bucket, one collection, one ledger; `deps` die by `fate`, and `real` do not."""

    real: Deps
    bucket: str
    request: JobRequest
    limits: ImageLimits
    picture: Callable[[int], bytes]
    put: Callable[[str, str, bytes, dict[str, str]], None]
    rng: random.Random
    contents: dict[str, tuple[bytes, dict[str, str]]] = field(
        default_factory=dict
    )  # what the bucket should hold
    bodies: int = 0

    def __post_init__(self) -> None:
        self.fate = Fate(self.rng)
        self.deps = replace(
            self.real,
            store=Mortal(self.real.store, self.fate),
            index=Mortal(self.real.index, self.fate),
            ledger=Mortal(self.real.ledger, self.fate),
        )

    # What users do to the bucket

    def change_something(self) -> None:
        key = self.rng.choice(NAMES)
        self.rng.choice((self._write, self._write, self._spoil, self._describe, self._delete, self._rename))(
            key
        )

    def _write(self, key: str) -> None:
        self.bodies += 1
        self._put(key, self.picture(self.bodies), {})

    def _spoil(self, key: str) -> None:
        self.bodies += 1
        self._put(key, TEXT + str(self.bodies).encode(), {})

    def _describe(self, key: str) -> None:
        if key in self.contents:
            self.bodies += 1
            self._put(key, self.contents[key][0], {"edition": str(self.bodies)})

    def _delete(self, key: str) -> None:
        if self.contents.pop(key, None):
            self.real.store.delete(self.bucket, key)

    def _rename(self, key: str) -> None:
        if key in self.contents:
            body, metadata = self.contents[key]
            self._delete(key)
            self._put(self.rng.choice(NAMES), body, metadata)

    def _put(self, key: str, body: bytes, metadata: dict[str, str]) -> None:
        self.put(self.bucket, key, body, metadata)
        self.contents[key] = (body, metadata)

    # What a job does

    def ingest(
        self,
        request: JobRequest | None = None,
        *,
        deaths: float = 0.0,
        changes: float = 0.0,
        give_up: float = 0.0,
    ) -> Job:
        """Args: shares of the moments at which a process dies, the bucket changes, the job is cancelled."""
        request = request or self.request
        others = self._rows_outside(request)
        job = self.real.ledger.create_job(request, driver=WORKERS)
        queue = Queue()
        queue.publish_plan_step(job.job_id, 0, "first")
        context = Context(
            settings=Settings(),
            deps=self.deps,
            answers_to=accountability(self.deps.index),
            limits=self.limits,
            publisher=queue,
        )
        self.fate.share = deaths
        for _ in range(1000):
            if not queue.messages:
                break
            if self.rng.random() < changes:
                self.change_something()
            if self.rng.random() < give_up:
                self.real.ledger.set_state(job.job_id, JobState.CANCELLED)
            self._deliver(self.rng.choice(queue.messages), queue, context)
        self.fate.share = 0.0
        done = self.real.ledger.get_job(job.job_id)
        assert done.state in (JobState.COMPLETED, JobState.CANCELLED)
        check_adds_up(done)
        assert self._rows_outside(request) == others, "a job leaves alone what is not its own"
        return done

    def _rows_outside(self, request: JobRequest) -> dict[str, str]:
        index, target = self.real.index, self.request.target
        rows = index.get_rows(target, ids_in(index, target))
        chosen = Selection(include=request.include, exclude=request.exclude)
        return {
            row.ref.key: row.ref.etag
            for row in rows
            if not row.ref.key.startswith(request.prefix) or not chosen.wants(row.ref)
        }

    def a_request(self) -> JobRequest:
        """For all of the bucket, or a part of it."""
        parts: tuple[dict[str, Any], ...] = (
            {},
            {},
            {"prefix": "b"},
            {"prefix": "b/"},
            {"include": ("b/*",)},
            {"exclude": ("1.png", "a*")},
        )
        return replace(self.request, **self.rng.choice(parts))

    def _deliver(self, message: bytes | tuple[str, int, str], queue: Queue, context: Context) -> None:
        try:
            if isinstance(message, bytes):
                handled = handle_embed(message, self.deps, self.limits)
                assert handled.verdict is Verdict.ACK, handled
            else:
                job_id, step, nonce = message
                run_plan_step(job_id, step, nonce, self.deps, context)
        except Killed:
            return  # not acknowledged: it comes again
        queue.messages.remove(message)

    # What must be true at the end

    def check(self) -> None:
        """A job without deaths makes index, book and bucket one; a second one has nothing to do."""
        self.ingest()
        self._check_index()
        self._check_book()
        again = self.ingest().counts
        assert (again.indexed, again.pending, again.removed) == (0, 0, 0)
        assert self.real.ledger.outstanding(self.real.ledger.list_jobs(limit=1)[0].job_id) == 0
        info = self.real.index.get_collection(self.request.collection)
        assert info is not None
        assert (
            verify_collection(info, self.real.index, self.real.ledger.book, repair=False, first=3).differences
            == 0
        )

    def _check_index(self) -> None:
        index, target = self.real.index, self.request.target
        rows = {row.ref.key: row for row in index.get_rows(target, ids_in(index, target))}
        assert sorted(rows) == sorted(key for key in self._wanted() if not self._is_text(key))
        listed = {ref.key: ref for ref in self.real.store.list_objects(self.bucket)}
        for key, row in rows.items():
            assert row.ref == listed[key]
            assert row.metadata == self.contents[key][1], key

    def _check_book(self) -> None:
        generation = generation_of(self.request.collection, self.request.fingerprint)
        known = self.real.ledger.book.list_versions(generation, self.bucket)
        entries = [entry for entry in known if entry.state is not VersionState.REMOVED]  # tombstones stay
        assert [entry.ref.key for entry in entries] == sorted(self._wanted())
        for entry in entries:
            is_text = self._is_text(entry.ref.key)
            assert entry.state is (VersionState.FAILED if is_text else VersionState.INDEXED)
            assert entry.vectors == (0 if is_text else 1)
            assert entry.missing_in == ""

    def _wanted(self) -> list[str]:
        return [key for key in self.contents if not key.endswith(".txt")]

    def _is_text(self, key: str) -> bool:
        return self.contents[key][0].startswith(TEXT)


def check_adds_up(job: Job) -> None:
    counts = job.counts
    assert counts.scanned == counts.indexed + counts.unchanged + counts.failed + counts.pending
    assert min(counts.removed, counts.failed, counts.unchanged) >= 0


def live_through(world: World) -> None:
    """A random history: changes, jobs that die, jobs that are given up, the bucket changing under a job."""
    for _ in range(world.rng.randint(1, 4)):
        for _ in range(world.rng.randint(1, 6)):
            world.change_something()
        deaths, changes = world.rng.choice((0.0, 0.1, 0.3)), world.rng.choice((0.0, 0.2))
        world.ingest(
            world.a_request(), deaths=deaths, changes=changes, give_up=world.rng.choice((0.0, 0.0, 0.1))
        )
    world.check()

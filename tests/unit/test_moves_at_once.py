"""Several people and processes move one job at the same time: it takes no way that the table has not."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.errors import ConflictError
from pipeline.service.access import local_caller
from pipeline.service.move import cancel_job, pause_job, resume_job
from pipeline.service.retry import retry_failures
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import (
    COMES_FROM,
    RETRIED_FROM,
    WORKERS,
    BatchReport,
    FailedAt,
    Job,
    JobState,
    PlannedBatch,
    Reason,
    Rejected,
)
from tests.unit.fakes import BUCKET, ref_of, request_of

SESSIONS = 3
Action = Callable[[str, SqlLedger], object]
Step = tuple[int, str, list[str]]  # which session does what, and what the others do meanwhile


class Session(SqlLedger):
    """The ledger of one process. `between` runs once, after a look at the job: others move it meanwhile."""

    between: Callable[[], object] | None = None

    def get_job(self, job_id: str) -> Job:
        job = super().get_job(job_id)
        self.let_others_move()
        return job

    def let_others_move(self) -> None:
        between, self.between = self.between, None
        if between is not None:
            between()


def report(job_id: str, ledger: SqlLedger) -> None:
    """What a worker does with the batches in hand, whatever became of the job."""
    rejected = Rejected(ref=ref_of("a"), stage=FailedAt.DECODE, reason=Reason.TRUNCATED, detail="short")
    for batch in list(ledger.pending(job_id)):
        ledger.report(
            BatchReport(job_id=job_id, path=batch.path, indexed=0, unchanged=0, rejected=(rejected,))
        )


ACTIONS: dict[str, Action] = {
    "cancel": lambda job_id, ledger: cancel_job(job_id, ledger, local_caller()),
    "pause": lambda job_id, ledger: pause_job(job_id, ledger, local_caller()),
    "resume": lambda job_id, ledger: resume_job(job_id, ledger, local_caller()),
    "retry": lambda job_id, ledger: retry_failures(job_id, ledger, MemoryStore(BUCKET), local_caller()),
    "fail": lambda job_id, ledger: ledger.set_state(job_id, JobState.FAILED, error="a late error"),
    "complete": lambda job_id, ledger: ledger.finish_if_done(job_id),
    "report": report,
}
NAMES = st.sampled_from(sorted(ACTIONS))
STEPS = st.lists(
    st.tuples(st.integers(0, SESSIONS - 1), NAMES, st.lists(NAMES, max_size=3)), min_size=1, max_size=12
)


def is_allowed(before: JobState, after: JobState, by: str) -> bool:
    if by == "retry":
        return after is JobState.RUNNING and before in RETRIED_FROM
    return before in COMES_FROM[after]


class Watched:
    """A job of one batch, and every transition that an action of some session made."""

    def __init__(self, ledger: SqlLedger) -> None:
        self.sessions = [Session(ledger._engine) for _ in range(SESSIONS)]
        self.transitions: list[tuple[JobState, JobState, str]] = []
        self._ledger = ledger
        self._job_id = ledger.create_job(request_of(), driver=WORKERS).job_id
        planned = [PlannedBatch(path="00000000", items=1, body=b"x")]
        ledger.record_plan(self._job_id, planned, cursor="a", ignored=0)
        ledger.finish_planning(self._job_id, ignored=0)

    def state(self) -> JobState:
        return self._ledger.get_job(self._job_id).state

    def act(self, session: int, name: str, meanwhile: list[str]) -> None:
        """One action, with others between its look at the job and its writing, or before it."""
        before = self.state()

        def others_move() -> None:
            nonlocal before
            for offset, other in enumerate(meanwhile, 1):
                self.act((session + offset) % SESSIONS, other, [])
            before = self.state()

        ledger = self.sessions[session]
        ledger.between = others_move
        if name in ("fail", "complete", "report"):  # these write without a look
            ledger.let_others_move()
        with suppress(ConflictError):
            ACTIONS[name](self._job_id, ledger)
        ledger.between = None
        if (after := self.state()) is not before:
            self.transitions.append((before, after, name))


@pytest.fixture(scope="module")
def shared_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlLedger]:
    path: Path = tmp_path_factory.mktemp("moves") / "ledger.db"
    with open_ledger(f"sqlite:///{path}") as ledger:
        yield ledger


@settings(max_examples=40)
@given(STEPS)
def test_no_interleaving_moves_a_job_but_by_the_table(shared_ledger: SqlLedger, steps: list[Step]) -> None:
    job = Watched(shared_ledger)
    for session, name, meanwhile in steps:
        job.act(session, name, meanwhile)
    assert [move for move in job.transitions if not is_allowed(*move)] == []


@pytest.mark.parametrize("late", ["fail", "complete", "pause", "resume", "retry", "report"])
def test_what_does_not_see_a_cancel_in_time_changes_nothing(shared_ledger: SqlLedger, late: str) -> None:
    job = Watched(shared_ledger)
    if late == "complete":
        job.act(0, "report", [])
    job.act(1, late, ["cancel"])
    job.act(1, late, [])
    assert job.state() is JobState.CANCELLED


@pytest.mark.parametrize(
    "names",
    [
        ("cancel",),
        ("fail",),
        ("pause",),
        ("pause", "resume"),
        ("report", "complete"),
        ("report", "complete", "retry"),
    ],
)
def test_each_action_moves_the_job_in_some_history(shared_ledger: SqlLedger, names: tuple[str, ...]) -> None:
    """Else what is said above would be said of nothing."""
    job = Watched(shared_ledger)
    for name in names:
        job.act(0, name, [])
    assert job.transitions[-1][2] == names[-1]

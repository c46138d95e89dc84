"""Pause, resume and cancel a job, and check that it may be retried. `COMES_FROM` says which moves there are.

A move is written into the ledger, where the driver of the job looks: the workers, or a process elsewhere.
"""

from collections.abc import Mapping
from enum import StrEnum

from pipeline.errors import ConflictError
from pipeline.ports import Ledger
from pipeline.service.access import Caller, Permission, require
from pipeline.types import COMES_FROM, RETRIED_FROM, WORKERS, Job, JobState


class Move(StrEnum):
    PAUSE = "paused"
    RESUME = "resumed"
    CANCEL = "cancelled"
    RETRY = "retried"


ALLOWED_FROM: Mapping[Move, frozenset[JobState]] = {
    Move.PAUSE: COMES_FROM[JobState.PAUSED],
    Move.RESUME: COMES_FROM[JobState.RUNNING],
    Move.CANCEL: COMES_FROM[JobState.CANCELLED],
    Move.RETRY: RETRIED_FROM,
}


def pause_job(job_id: str, ledger: Ledger, caller: Caller) -> None:
    """Plan nothing more for now; batches already queued are finished."""
    check_move(job_id, Move.PAUSE, ledger, caller)
    _set_state(job_id, JobState.PAUSED, Move.PAUSE, ledger)


def cancel_job(job_id: str, ledger: Ledger, caller: Caller) -> None:
    """Stop a job for good. Queued batches are skipped, and indexed images stay."""
    check_move(job_id, Move.CANCEL, ledger, caller)
    _set_state(job_id, JobState.CANCELLED, Move.CANCEL, ledger)


def resume_job(job_id: str, ledger: Ledger, caller: Caller) -> Job:
    """Let a paused or failed job go on, or have the batches of a running one put on their queue again.

    It runs nothing: that is for the driver of the job.
    """
    job = check_move(job_id, Move.RESUME, ledger, caller)
    if job.driver == WORKERS:
        ledger.forget_published(job_id)
    _set_state(job_id, JobState.RUNNING, Move.RESUME, ledger)
    return ledger.get_job(job_id)


def check_move(job_id: str, move: Move, ledger: Ledger, caller: Caller) -> Job:
    """The job as it is now.

    Raises:
        ConflictError: it is in no state from which it can be moved so.
    """
    require(caller, Permission.OPERATE)
    job = ledger.get_job(job_id)
    if job.state not in ALLOWED_FROM[move] or (job.pruned_at and move in (Move.RESUME, Move.RETRY)):
        raise _refused(job, move)
    return job


def _set_state(job_id: str, state: JobState, move: Move, ledger: Ledger) -> None:
    """The ledger looks at the state once more: another may have moved the job since it was checked."""
    if not ledger.set_state(job_id, state):
        raise _refused(ledger.get_job(job_id), move)


def _refused(job: Job, move: Move) -> ConflictError:
    if job.pruned_at:
        pruned = f"its details were pruned on {job.pruned_at:%Y-%m-%d}"
        return ConflictError(f"job {job.job_id} cannot be {move}: {pruned}; run a new job of its source")
    states = ", ".join(sorted(ALLOWED_FROM[move]))
    return ConflictError(f"job {job.job_id} is {job.state}; only a job that is {states} can be {move}")

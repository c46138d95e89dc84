"""Pause, resume and cancel a job. Which moves are allowed, of a retry too, stands here alone.

A move is written into the ledger, where the driver of the job looks: the workers, or a process elsewhere.
"""

from collections.abc import Mapping
from enum import StrEnum

from pipeline.errors import ConflictError
from pipeline.ports import Ledger
from pipeline.service.access import Caller, Role, require
from pipeline.types import WORKERS, Job, JobState


class Move(StrEnum):
    PAUSE = "paused"
    RESUME = "resumed"
    CANCEL = "cancelled"
    RETRY = "retried"


_RUNNING, _PAUSED, _FAILED = JobState.RUNNING, JobState.PAUSED, JobState.FAILED
ALLOWED_FROM: Mapping[Move, frozenset[JobState]] = {
    Move.PAUSE: frozenset({_RUNNING}),
    Move.RESUME: frozenset({_PAUSED, _FAILED, _RUNNING}),
    Move.CANCEL: frozenset({_RUNNING, _PAUSED, _FAILED}),
    # A retry is of the failures alone. It would let what was paused or cancelled go on, too.
    Move.RETRY: frozenset({_RUNNING, _FAILED, JobState.COMPLETED}),
}


def pause_job(job_id: str, ledger: Ledger, caller: Caller) -> None:
    """Plan nothing more for now; batches already queued are finished."""
    check_move(job_id, Move.PAUSE, ledger, caller)
    ledger.set_state(job_id, JobState.PAUSED)


def cancel_job(job_id: str, ledger: Ledger, caller: Caller) -> None:
    """Plan nothing more, and skip the batches still queued. What is indexed stays."""
    check_move(job_id, Move.CANCEL, ledger, caller)
    ledger.set_state(job_id, JobState.CANCELLED)


def resume_job(job_id: str, ledger: Ledger, caller: Caller) -> Job:
    """Let a paused or failed job go on, or have the batches of a running one put on their queue again.

    It runs nothing: that is for the driver of the job.
    """
    job = check_move(job_id, Move.RESUME, ledger, caller)
    if job.driver == WORKERS:
        ledger.forget_published(job_id)
    ledger.set_state(job_id, JobState.RUNNING)
    return ledger.get_job(job_id)


def check_move(job_id: str, move: Move, ledger: Ledger, caller: Caller) -> Job:
    """The job as it is now.

    Raises:
        ConflictError: it is in no state from which it can be moved so.
    """
    require(caller, Role.OPERATE)
    job = ledger.get_job(job_id)
    if job.state not in ALLOWED_FROM[move]:
        states = ", ".join(sorted(ALLOWED_FROM[move]))
        raise ConflictError(f"job {job_id} is {job.state}; only a job that is {states} can be {move}")
    return job

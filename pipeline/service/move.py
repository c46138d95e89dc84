"""Pause, resume and cancel a job. Which moves are allowed stands here alone.

A move is written into the ledger, where the driver of the job looks: the workers, or a process elsewhere.
"""

from collections.abc import Mapping

from pipeline.errors import ConflictError
from pipeline.ports import Ledger
from pipeline.service.access import Caller, Role, require
from pipeline.types import WORKERS, Job, JobState

# From which states a job may come to each.
ALLOWED: Mapping[JobState, frozenset[JobState]] = {
    JobState.PAUSED: frozenset({JobState.RUNNING}),
    JobState.RUNNING: frozenset({JobState.PAUSED, JobState.FAILED, JobState.RUNNING}),
    JobState.CANCELLED: frozenset({JobState.RUNNING, JobState.PAUSED, JobState.FAILED}),
}


def pause_job(job_id: str, ledger: Ledger, caller: Caller) -> None:
    """Plan nothing more for now; batches already queued are finished."""
    _check_move(job_id, JobState.PAUSED, ledger, caller)
    ledger.set_state(job_id, JobState.PAUSED)


def cancel_job(job_id: str, ledger: Ledger, caller: Caller) -> None:
    """Plan nothing more, and skip the batches still queued. What is indexed stays."""
    _check_move(job_id, JobState.CANCELLED, ledger, caller)
    ledger.set_state(job_id, JobState.CANCELLED)


def resume_job(job_id: str, ledger: Ledger, caller: Caller) -> Job:
    """Let a paused or failed job go on, or have the batches of a running one put on their queue again.

    It runs nothing: that is for the driver of the job.
    """
    job = _check_move(job_id, JobState.RUNNING, ledger, caller)
    if job.driver == WORKERS:
        ledger.forget_published(job_id)
    ledger.set_state(job_id, JobState.RUNNING)
    return ledger.get_job(job_id)


def _check_move(job_id: str, state: JobState, ledger: Ledger, caller: Caller) -> Job:
    require(caller, Role.OPERATE)
    job = ledger.get_job(job_id)
    if job.state not in ALLOWED[state]:
        states = ", ".join(sorted(ALLOWED[state]))
        raise ConflictError(f"job {job_id} is {job.state}; only a job that is {states} can become {state}")
    return job

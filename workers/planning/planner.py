"""Planning a job in steps: batch rows and cursor in one transaction, then publish, never too far ahead.

Each step is a message of its own that sends the next one. A step claims its number in the ledger, so that a
message delivered twice does not become two planners; it claims it again before whatever it writes, so that a
step which was given up for lost, but lives, makes way for its successor. A job whose chain was cut (the
broker lost, a step given up) is found by `stalled_jobs` and started again from its cursor.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import islice

from pipeline.errors import TargetError
from pipeline.ingest.plan import PlanStep, plan_job, sum_findings
from pipeline.ingest.sync import prepare_book, remove_missing
from pipeline.ports import Deps, WatchedLedger
from pipeline.types import Job, JobState
from workers.broker.publish import Publisher
from workers.metrics.metrics import metrics
from workers.process.context import Context

logger = logging.getLogger(__name__)

STEP_S = 10.0  # a step gives way to other jobs and to a shutdown after this long
NEXT_STEP_DELAY_S = 1  # the shortest delay that Celery can publish
STALLED_AFTER_S = 60.0  # six steps: a chain that is alive has moved by then
GROUP_BATCHES = 32  # in one transaction; a crash in its middle lists these again

Claim = Callable[[], bool]


def run_plan_step(job_id: str, step: int, nonce: str, deps: Deps, context: Context) -> None:
    """Publish committed batches, plan as far as credits allow, and send the next step if there is one."""

    def claim() -> bool:
        return deps.ledger.claim_step(job_id, step, nonce)

    if not claim():
        return  # another message of this step, or a later one, is at work
    job = deps.ledger.get_job(job_id)
    # A worker of the version before completes a job without a look at its removals.
    if job.state is JobState.RUNNING or (job.state is JobState.COMPLETED and job.removals_due):
        context.publisher.publish_outbox(deps.ledger, job_id)
        if not _move_on(job, claim, deps, context):
            return
        if not _is_done(job_id, deps):
            context.publisher.publish_plan_step(job_id, step + 1, uuid.uuid4().hex, delay_s=NEXT_STEP_DELAY_S)
            return
    if deps.ledger.get_job(job_id).state is JobState.COMPLETED:
        _flush_index(job, deps)


def wake_planner(job_id: str, ledger: WatchedLedger, publisher: Publisher) -> None:
    """Send the next step of a running job at once, whether or not one is under way."""
    for running_id, step in ledger.stalled_jobs(0.0):
        if running_id == job_id:
            publisher.publish_plan_step(job_id, step + 1, uuid.uuid4().hex)


def _is_done(job_id: str, deps: Deps) -> bool:
    return deps.ledger.finish_if_done(job_id) and not deps.ledger.get_job(job_id).removals_due


def _move_on(job: Job, claim: Claim, deps: Deps, context: Context) -> bool:
    """Plan until the step's time is over, or as many batches are outstanding as may be; at the end, remove.

    Returns:
        False when this chain of steps ends here: another has taken over, or the job has failed.
    """
    deadline = time.monotonic() + STEP_S

    def go_on() -> bool:
        return time.monotonic() < deadline and claim()

    try:
        if job.planned:
            return _remove(job, go_on, deps) or claim()
        if not prepare_book(job, deps, go_on):
            return claim()
        return _plan_groups(job, claim, deadline, deps, context)
    except TargetError as err:  # the bucket has gone, or was closed to us, since the job was made
        deps.ledger.set_state(job.job_id, JobState.FAILED, error=str(err))
        return False


def _plan_groups(job: Job, claim: Claim, deadline: float, deps: Deps, context: Context) -> bool:
    steps = plan_job(job, deps.store, deps.ledger.book)
    while (credits_left := _credits(job, deps, context)) > 0 and time.monotonic() < deadline:
        group = _next_group(steps, credits_left)
        if not claim():
            return False
        if not group:
            deps.ledger.finish_planning(job.job_id, ignored=0)
            return True
        batches = [step.batch for step in group if step.batch is not None]
        ignored, findings = sum(step.ignored for step in group), sum_findings(group)
        if not deps.ledger.record_plan(
            job.job_id, batches, cursor=group[-1].cursor, ignored=ignored, findings=findings
        ):
            return True  # cancelled or paused meanwhile: the next step will see it
        metrics().record_findings(findings)
        context.publisher.publish_outbox(deps.ledger, job.job_id)
    return True


def _remove(job: Job, go_on: Claim, deps: Deps) -> bool:
    """After the last report: until then a batch may want the vector of an object that has moved."""
    if deps.ledger.outstanding(job.job_id):
        return True
    is_settled = remove_missing(job.job_id, deps, go_on)
    metrics().record_removal(deps.ledger.get_job(job.job_id).counts.removed - job.counts.removed)
    return is_settled


def _credits(job: Job, deps: Deps, context: Context) -> int:
    return context.settings.outstanding_batches - deps.ledger.outstanding(job.job_id)


def _next_group(steps: Iterator[PlanStep], credits_left: int) -> list[PlanStep]:
    return list(islice(steps, min(credits_left, GROUP_BATCHES)))


def _flush_index(job: Job, deps: Deps) -> None:
    try:
        deps.index.flush(job.request.target)
    except TargetError as err:  # dropped since: the job is done all the same
        logger.warning("index not settled", extra={"job_id": job.job_id, "error": str(err)})

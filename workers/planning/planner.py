"""Planning a job in steps: batch rows and cursor in one transaction, then publish, never too far ahead.

Each step is a message of its own that sends the next one. A step claims its number in the ledger, so that a
message delivered twice does not become two planners. It renews its claim while it works and before whatever
it writes, so that a step which was given up for lost, but lives, makes way for its successor. A job whose
chain was cut (the broker lost, a step given up) is found by `StalledWatch` and started again from its cursor.
"""

import logging
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pipeline.errors import TargetError
from pipeline.ingest.plan import PlanStep, plan_job, sum_findings
from pipeline.ingest.sync import prepare_book, remove_missing, settle_doubt
from pipeline.ports import Deps, WatchedLedger
from pipeline.types import Job, JobState
from workers.broker.publish import Publisher
from workers.metrics.metrics import metrics
from workers.planning.claim import Clock, HeldClaim, StepTime, SystemClock
from workers.process.context import Context

logger = logging.getLogger(__name__)

STEP_S = 10.0  # a step gives way to other jobs and to a shutdown after this long
NEXT_STEP_DELAY_S = 1  # the shortest delay that Celery can publish
GROUP_BATCHES = 32  # in one transaction; a crash in its middle lists these again

SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """One step at work."""

    claim: HeldClaim
    time: StepTime

    def may_read_on(self) -> bool:
        """Asked for each key."""
        return self.time.tick() and self.claim.is_held()

    def may_write_on(self) -> bool:
        """Asked for each piece that is written."""
        return self.time.tick() and self.claim.renew()


def run_plan_step(
    job_id: str, step: int, nonce: str, deps: Deps, context: Context, *, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Publish committed batches, plan as far as credits allow, and send the next step if there is one."""

    def claim() -> bool:
        return deps.ledger.claim_step(job_id, step, nonce)

    if not claim():
        return  # another message of this step, or a later one, is at work
    with HeldClaim(claim, clock) as held:
        _run_step(deps.ledger.get_job(job_id), step, held, clock, deps, context)


def _run_step(job: Job, step: int, claim: HeldClaim, clock: Clock, deps: Deps, context: Context) -> None:
    # A worker of the version before completes a job without a look at its removals.
    if job.state is JobState.RUNNING or (job.state is JobState.COMPLETED and job.removals_due):
        context.publisher.publish_outbox(deps.ledger, job.job_id)
        if not _move_on(job, _Step(claim=claim, time=StepTime(clock, STEP_S)), deps, context):
            return
        if not _is_done(job.job_id, deps):
            next_nonce = uuid.uuid4().hex
            context.publisher.publish_plan_step(job.job_id, step + 1, next_nonce, delay_s=NEXT_STEP_DELAY_S)
            return
    else:
        settle_doubt(job, deps)  # cancelled while it was removing
    if deps.ledger.get_job(job.job_id).state is JobState.COMPLETED:
        _flush_index(job, deps)


def wake_planner(job_id: str, ledger: WatchedLedger, publisher: Publisher) -> None:
    """Send the next step of a running job at once, whether or not one is under way."""
    if claim := ledger.plan_claims().get(job_id):
        publisher.publish_plan_step(job_id, claim.step + 1, uuid.uuid4().hex)


def _is_done(job_id: str, deps: Deps) -> bool:
    return deps.ledger.finish_if_done(job_id) and not deps.ledger.get_job(job_id).removals_due


def _move_on(job: Job, step: _Step, deps: Deps, context: Context) -> bool:
    """Plan until the step's time is over, or as many batches are outstanding as may be; at the end, remove.

    Returns:
        False when this chain of steps ends here: another has taken over, or the job has failed.
    """
    try:
        if job.planned:
            return _remove(job, step, deps) or step.claim.renew()
        if not prepare_book(job, deps, step.may_write_on):
            return step.claim.renew()
        return _plan_groups(job, step, deps, context)
    except TargetError as err:  # the bucket has gone, or was closed to us, since the job was made
        deps.ledger.set_state(job.job_id, JobState.FAILED, error=str(err))
        return False


def _plan_groups(job: Job, step: _Step, deps: Deps, context: Context) -> bool:
    plan, cursor = plan_job(job, deps.store, deps.ledger.book, go_on=step.may_read_on), job.cursor
    while (credits_left := _credits(job, deps, context)) > 0 and step.time.is_left():
        group = _next_group(plan, credits_left)
        if not step.claim.renew():
            return False
        if not group:
            if plan.is_whole:
                deps.ledger.finish_planning(job.job_id, ignored=0)
            return True
        if not _record(job, group, cursor, deps):
            return True  # cancelled, paused or planned by another meanwhile: the next step will see it
        context.publisher.publish_outbox(deps.ledger, job.job_id)
        cursor = group[-1].cursor
    return True


def _record(job: Job, group: Sequence[PlanStep], cursor: str | None, deps: Deps) -> bool:
    batches = [step.batch for step in group if step.batch is not None]
    ignored, findings = sum(step.ignored for step in group), sum_findings(group)
    is_recorded = deps.ledger.record_plan(
        job.job_id, batches, after=cursor, cursor=group[-1].cursor, ignored=ignored, findings=findings
    )
    if is_recorded:
        metrics().record_findings(findings)
    return is_recorded


def _remove(job: Job, step: _Step, deps: Deps) -> bool:
    """After the last report: until then a batch may want the vector of an object that has moved."""
    if deps.ledger.outstanding(job.job_id):
        return True
    is_settled = remove_missing(job.job_id, deps, step.may_write_on)
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

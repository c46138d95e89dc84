"""The work of the public tasks that are settled like batches, and of the planner, without Celery."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress

from celery import Task
from celery.exceptions import TaskPredicate

from pipeline.errors import REFUSALS, ConfigError, FatalError, MessageError, PictorError, TransientError
from pipeline.location import parse_location
from pipeline.names import is_of_tenant
from pipeline.service.delete import delete_objects
from pipeline.service.submit import Submission, record_refusal, submit_to_workers
from pipeline.settings import Settings
from pipeline.types import WORKERS, JobState
from workers.broker.dead_letters import set_aside
from workers.broker.meant_at import keep_meant_at
from workers.delivery import every_error_settled, internal_error, stop_if_unfit, try_again_or_refuse
from workers.planning.planner import run_plan_step
from workers.process.context import current
from workers.sender import Arguments, caller_of, keywords_of
from workers.submission import JOB_ID, DeleteArguments, IngestArguments, read_arguments
from workers.tracing import traced_task

MAX_STEPS = 2**31  # the ledger's column holds no more, and 2**31 steps of ten seconds are 680 years


def plan(task: Task, args: Sequence[object], kwargs: Arguments) -> None:
    """Do one step of a job's plan."""

    def work() -> None:
        context = current()
        run_plan_step(*_read_step(task, args, kwargs), context.deps, context)

    def count_try() -> int:
        """Of the step at work. The ledger says which that is: anybody who may publish can send one."""
        with suppress(MessageError):  # not one of our steps
            return current().deps.ledger.count_failed_step(*_read_step(task, args, kwargs))
        return 0

    def fail_job(error: PictorError) -> None:
        if count_try():
            job_id, _, _ = _read_step(task, args, kwargs)
            current().deps.ledger.set_state(job_id, JobState.FAILED, error=str(error))

    _settled(task, work, on_refusal=fail_job, count_try=count_try)


def ingest(task: Task, args: Sequence[object], kwargs: Arguments) -> None:
    """Create a job and start its planner. The same job id twice is one job."""

    def work() -> None:
        context = current()
        arguments = read_arguments(IngestArguments, task.name, keywords_of(task, args, kwargs))
        submission = _submission(arguments, context.settings)
        job = submit_to_workers(
            submission, context.deps, context.answers_to, caller_of(task), job_id=arguments.job_id
        )
        if job.state is JobState.RUNNING:
            # Step 0, which a job that was begun before refuses: a second submission is no second planner.
            context.publisher.publish_plan_step(job.job_id, 0, uuid.uuid4().hex)

    _settled(task, work, on_refusal=lambda error: _record_refusal(task, kwargs, error))


def delete(task: Task, args: Sequence[object], kwargs: Arguments) -> None:
    """Take objects out of the index by key, as they were when it was asked for. Safe to run twice."""

    def work() -> None:
        context = current()
        arguments = read_arguments(DeleteArguments, task.name, keywords_of(task, args, kwargs))
        collection = arguments.collection or context.settings.collection
        delete_objects(
            arguments.bucket,
            arguments.keys,
            collection=collection,
            index=context.deps.index,
            ledger=context.deps.ledger,
            answers_to=context.answers_to,
            caller=caller_of(task),
            meant_at=keep_meant_at(task, arguments.meant_at),
            driver=WORKERS,
        )

    _settled(task, work)


def _settled(
    task: Task,
    work: Callable[[], None],
    *,
    on_refusal: Callable[[PictorError], None] | None = None,
    count_try: Callable[[], int] = lambda: 0,
) -> None:
    """Run `work`. The class of its error decides how the message is settled."""

    def refuse(error: PictorError) -> None:
        if on_refusal is not None:
            on_refusal(error)
        set_aside(task, str(error))

    with traced_task(task), every_error_settled(task):
        try:
            work()
        except REFUSALS as err:  # no worker could do it
            refuse(err)
        except (TransientError, TaskPredicate):
            raise
        except (FatalError, ConfigError) as err:
            stop_if_unfit(task, err, refuse=refuse, count_try=count_try)
        except Exception as err:  # noqa: BLE001 - as every_error_settled does, but not without end
            internal_error(task, err)
            words = f"{task.name}: every try ended with an internal error; the worker's log has it"
            try_again_or_refuse(task, PictorError(words), refuse=refuse, count_try=count_try)


def _read_step(task: Task, args: Sequence[object], kwargs: Arguments) -> tuple[str, int, str]:
    """Job, number and nonce of a plan step."""
    match kwargs:
        case {"job_id": str(job_id), "step": int(step), "nonce": str(nonce)} if (
            not args
            and all(JOB_ID.fullmatch(name) for name in (job_id, nonce))
            and not isinstance(step, bool)
            and 0 <= step < MAX_STEPS
        ):
            return job_id, step, nonce
        case _:
            raise MessageError(
                f"{task.name}: job_id, step and nonce are expected, and a step from 0 to {MAX_STEPS - 1}"
            )


def _submission(arguments: IngestArguments, settings: Settings) -> Submission:
    return Submission(
        location=parse_location(arguments.source),
        collection=arguments.collection or settings.collection,
        include=arguments.include,
        exclude=arguments.exclude,
        batch_items=arguments.batch_items or settings.batch_items,
        keep_missing=arguments.keep_missing,
        max_delete_share=arguments.max_delete_share,
        retry_failed=arguments.retry_failed,
        generation=arguments.generation or "",
    )


def _record_refusal(task: Task, kwargs: Arguments, error: PictorError) -> None:
    collection = _shown(kwargs.get("collection") or "", 100)
    record_refusal(
        _shown(kwargs.get("source", ""), 200),
        "" if is_of_tenant(collection) else collection,  # a tenant finds no job that is not their own
        current().deps.ledger,
        # An id of its own: the one that was asked for stays free for a submission that is right.
        job_id=f"refused-{_shown(task.request.id, 100)}",
        error=error,
    )


def _shown(value: object, max_chars: int) -> str:
    """A text that somebody sent, fit to be stored and printed."""
    return "".join(char if char.isprintable() else "?" for char in str(value)[:max_chars])

"""The work of the public tasks and of the planner, without Celery."""

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from celery import Task
from celery.exceptions import Ignore, TaskPredicate

from pipeline.errors import (
    REFUSALS,
    ArgumentError,
    ConfigError,
    FatalError,
    MessageError,
    ModelMismatchError,
    PictorError,
    TransientError,
)
from pipeline.location import parse_location
from pipeline.names import is_of_tenant
from pipeline.service.access import Caller, Permission
from pipeline.service.answers import answer_json, error_json, job_json
from pipeline.service.arguments import read_justification, read_person, read_query, read_search
from pipeline.service.conditions import read_condition
from pipeline.service.confined import ConfinedLedger, scope_of
from pipeline.service.delete import delete_objects
from pipeline.service.models import ResidentModel
from pipeline.service.query_words import read_words
from pipeline.service.search import SearchPorts, search_images
from pipeline.service.show import find_job
from pipeline.service.submit import Submission, record_refusal, submit_to_workers
from pipeline.settings import Settings
from pipeline.types import BROKER_ROLE, WORKERS, JobState
from workers.broker.dead_letters import set_aside
from workers.broker.meant_at import keep_meant_at
from workers.broker.pass_on import pass_on, was_passed_on
from workers.broker.publish import MAX_ARGUMENTS_BYTES, json_bytes
from workers.broker.queue_wait import check_still_wanted
from workers.delivery import every_error_settled, internal_error, stop_if_unfit, try_again_or_refuse
from workers.metrics.metrics import metrics
from workers.planning.planner import run_plan_step
from workers.process.context import current, stop_worker
from workers.process.fitness import find_fault
from workers.submission import (
    JOB_ID,
    DeleteArguments,
    IngestArguments,
    JobArguments,
    SearchArguments,
    read_arguments,
)
from workers.tracing import traced_task

logger = logging.getLogger(__name__)

MAX_STEPS = 2**31  # the ledger's column holds no more, and 2**31 steps of ten seconds are 680 years

Arguments = Mapping[str, object]


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
        arguments = read_arguments(IngestArguments, task.name, _keywords(task, args, kwargs))
        submission = _submission(arguments, context.settings)
        job = submit_to_workers(
            submission, context.deps, context.answers_to, _caller(task), job_id=arguments.job_id
        )
        if job.state is JobState.RUNNING:
            # Step 0, which a job that was begun before refuses: a second submission is no second planner.
            context.publisher.publish_plan_step(job.job_id, 0, uuid.uuid4().hex)

    _settled(task, work, on_refusal=lambda error: _record_refusal(task, kwargs, error))


def delete(task: Task, args: Sequence[object], kwargs: Arguments) -> None:
    """Take objects out of the index by key, as they were when it was asked for. Safe to run twice."""

    def work() -> None:
        context = current()
        arguments = read_arguments(DeleteArguments, task.name, _keywords(task, args, kwargs))
        collection = arguments.collection or context.settings.collection
        delete_objects(
            arguments.bucket,
            arguments.keys,
            collection=collection,
            index=context.deps.index,
            ledger=context.deps.ledger,
            answers_to=context.answers_to,
            caller=_caller(task),
            meant_at=keep_meant_at(task, arguments.meant_at),
            driver=WORKERS,
        )

    _settled(task, work)


def search(task: Task, args: Sequence[object], kwargs: Arguments) -> dict[str, object]:
    """Answer one query. Its fault is in `error`. The caller waits, so nothing is retried here.

    Raises:
        Ignore: a worker of the collection's model will answer it.
    """
    started = time.perf_counter()
    answer = _answered(
        task,
        lambda: _hits_or_pass_on(task, args, kwargs),
        refusal={"query": kwargs.get("query"), "hits": []},
    )
    metrics().record_search(time.perf_counter() - started, failed="error" in answer)
    return answer


def _hits_or_pass_on(task: Task, args: Sequence[object], kwargs: Arguments) -> dict[str, object]:
    try:
        return _hits(task, args, kwargs)
    except ModelMismatchError:
        info = current().deps.index.get_collection(_collection_of(kwargs))
        if info is None or was_passed_on(task):
            raise
        pass_on(task, info.fingerprint)
        raise Ignore from None


def _collection_of(kwargs: Arguments) -> str:
    return str(kwargs.get("collection") or current().settings.collection)


def _hits(task: Task, args: Sequence[object], kwargs: Arguments) -> dict[str, object]:
    context = current()
    arguments = read_arguments(SearchArguments, task.name, _keywords(task, args, kwargs))
    request = read_search(
        collection=arguments.collection or context.settings.collection,
        k=arguments.k,
        min_score=arguments.min_score,
        bucket=arguments.bucket,
        prefix=arguments.prefix,
        metadata=arguments.metadata,
        condition=None if arguments.where is None else read_condition(arguments.where),
        embedding=arguments.embedding,
        justification=read_justification(
            purpose=arguments.purpose,
            case=arguments.case,
            offence=arguments.offence,
            authorisation=arguments.authorisation,
            authority=arguments.authority,
        ),
    )
    deps = context.deps
    caller = replace(_caller(task), on_behalf_of=read_person(arguments.on_behalf_of))
    models = ResidentModel(deps.embedder, deps.index, deps.finder, deps.texts, deps.beside, deps.texts_beside)
    ports = SearchPorts(
        store=deps.store,
        index=deps.index,
        answers_to=context.answers_to,
        models=models,
        concurrency=deps.concurrency,
    )
    picture = None if arguments.query is None else read_query(arguments.query)
    query = read_words(picture, **arguments.words)
    (answer,) = search_images([query], request, ports, context.limits, caller)
    return answer_json(answer)


def job(task: Task, args: Sequence[object], kwargs: Arguments) -> dict[str, object]:
    """The state and counts of one job."""

    def work() -> dict[str, object]:
        arguments = read_arguments(JobArguments, task.name, _keywords(task, args, kwargs))
        caller = _caller(task)
        # Also of a submission that was refused for its collection: whoever sent it has to find it.
        of_tenant = ConfinedLedger(current().deps.ledger, scope_of(replace(caller, collections=("*",))))
        return job_json(find_job(arguments.job_id, of_tenant, caller))

    return _answered(task, work, refusal={"job_id": kwargs.get("job_id")})


def _answered(
    task: Task, work: Callable[[], dict[str, object]], *, refusal: dict[str, object]
) -> dict[str, object]:
    """The answer of `work`, or `refusal` with the error. Somebody waits, so nothing is tried again here."""
    try:
        check_still_wanted(task.request.headers)
        with traced_task(task):
            return _sendable(work())
    except TaskPredicate:  # Ignore: how Celery is told that somebody else will answer
        raise
    except FatalError as err:
        fault = find_fault()
        if fault is not None and not isinstance(fault, TransientError):
            stop_worker(err)  # it would answer each further call so, before its healthy neighbours
        return refusal | error_json(err)
    except PictorError as err:
        return refusal | error_json(err)
    except Exception as err:  # noqa: BLE001 - it is logged; its text may be a library's and is not for the caller
        return refusal | error_json(internal_error(task, err))


def _sendable(answer: dict[str, object]) -> dict[str, object]:
    """Raises ArgumentError: the broker would take no answer of this length, and nobody would be told."""
    size_bytes = json_bytes(answer)
    if size_bytes > MAX_ARGUMENTS_BYTES:
        raise ArgumentError(
            f"the answer is {size_bytes / 2**20:.1f} MiB as JSON, and one message holds at most "
            f"{MAX_ARGUMENTS_BYTES // 2**20} MiB; ask for fewer hits (k)"
        )
    return answer


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


def _keywords(task: Task, args: Sequence[object], kwargs: Arguments) -> Arguments:
    if args:
        raise MessageError(f"{task.name}: {len(args)} positional arguments; only keyword arguments are read")
    return kwargs


def _caller(task: Task) -> Caller:
    """Whoever may publish on the broker's virtual host. Operators have the ledger."""
    settings = current().settings
    return Caller(
        who="broker",
        roles=(BROKER_ROLE,),
        permissions=frozenset({Permission.READ, Permission.SEARCH, Permission.WRITE}),
        buckets=settings.bucket_globs,
        collections=settings.collection_globs,
        request_id=str(task.request.id),
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

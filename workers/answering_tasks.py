"""The work of the two tasks that answer their caller, without Celery. Nothing is tried again here."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from celery import Task
from celery.exceptions import Ignore, TaskPredicate

from pipeline.errors import ArgumentError, FatalError, ModelMismatchError, PictorError, TransientError
from pipeline.service.answers import answer_json, error_json, job_json
from pipeline.service.arguments import read_justification, read_person, read_query, read_search
from pipeline.service.conditions import read_condition
from pipeline.service.confined import ConfinedLedger, scope_of
from pipeline.service.models import ResidentModel
from pipeline.service.query_words import read_words
from pipeline.service.search import SearchPorts, search_images
from pipeline.service.show import find_job
from workers.broker.pass_on import pass_on, was_passed_on
from workers.broker.publish import MAX_ARGUMENTS_BYTES, json_bytes
from workers.broker.queue_wait import check_still_wanted
from workers.delivery import internal_error
from workers.metrics.metrics import metrics
from workers.process.context import current, stop_worker
from workers.process.fitness import find_fault
from workers.sender import Arguments, caller_of, keywords_of
from workers.submission import JobArguments, SearchArguments, read_arguments
from workers.tracing import traced_task


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
    arguments = read_arguments(SearchArguments, task.name, keywords_of(task, args, kwargs))
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
    caller = replace(caller_of(task), on_behalf_of=read_person(arguments.on_behalf_of))
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
        arguments = read_arguments(JobArguments, task.name, keywords_of(task, args, kwargs))
        caller = caller_of(task)
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

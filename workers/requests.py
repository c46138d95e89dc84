"""What the public tasks and the planner do, once Celery is peeled off."""

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from celery import Task

from pipeline.errors import ConfigError, MessageError, PictorError, TargetError
from pipeline.ports import Deps, Embedder
from pipeline.public import answer_json, job_json
from pipeline.search import ROW_ID, ObjectQuery, Query, SearchDeps, SearchRequest, StoredQuery, search_images
from pipeline.settings import check_collection_name
from pipeline.source import parse_source, split_s3_url
from pipeline.sync import delete_images
from pipeline.types import WORKERS, Job, JobRequest, JobState, SearchFilter, image_id_of
from workers.context import Context, current
from workers.dead import set_aside
from workers.delivery import every_error_settled, faults_before
from workers.metrics import metrics
from workers.planner import run_plan_step
from workers.poison import SPLIT_AT_FAULT
from workers.submission import (
    DeleteArguments,
    IngestArguments,
    JobArguments,
    SearchArguments,
    read_arguments,
)

logger = logging.getLogger(__name__)

Arguments = Mapping[str, object]


def plan(task: Task, job_id: str, step: int, nonce: str) -> None:
    context = current()
    _settled(
        task,
        lambda: run_plan_step(job_id, step, nonce, context.deps, context),
        on_refusal=lambda error: context.deps.ledger.set_state(job_id, JobState.FAILED, error=str(error)),
    )


def ingest(task: Task, args: Sequence[object], kwargs: Arguments) -> None:
    """Create a job and start its planner. The same job id twice is one job."""
    context = current()

    def work() -> None:
        wanted = read_arguments(IngestArguments, task.name, _keywords(task, args, kwargs))
        job = context.deps.ledger.create_job(
            _job_request(wanted, context), driver=WORKERS, job_id=wanted.job_id
        )
        if job.state is JobState.RUNNING and not _fails_at_once(job, context):
            # Step 0, which a job that was begun before refuses: a second submission is no second planner.
            context.publisher.publish_plan_step(job.job_id, 0, uuid.uuid4().hex)

    _settled(task, work, on_refusal=lambda error: _record_refusal(task, kwargs, error, context))


def delete(task: Task, args: Sequence[object], kwargs: Arguments) -> None:
    """Take objects out of the index by key. Safe to run twice."""
    context = current()

    def work() -> None:
        wanted = read_arguments(DeleteArguments, task.name, _keywords(task, args, kwargs))
        collection = wanted.collection or context.settings.collection
        delete_images(collection, [image_id_of(wanted.bucket, key) for key in wanted.keys], context.deps)

    _settled(task, work)


def search(task: Task, args: Sequence[object], kwargs: Arguments) -> dict[str, object]:
    """Answer one query. What is wrong with it is in `error`; the caller waits, so nothing is retried here."""
    started = time.perf_counter()
    found = _answer(task, args, kwargs)
    metrics().record_search(time.perf_counter() - started, failed="error" in found)
    return found


def _answer(task: Task, args: Sequence[object], kwargs: Arguments) -> dict[str, object]:
    context = current()
    try:
        wanted = read_arguments(SearchArguments, task.name, _keywords(task, args, kwargs))
        request = SearchRequest(
            collection=check_collection_name(wanted.collection or context.settings.collection),
            k=wanted.k,
            min_score=wanted.min_score,
            where=SearchFilter(bucket=wanted.bucket, key_prefix=wanted.prefix, metadata=wanted.metadata),
        )
        deps = SearchDeps(
            store=context.deps.store,
            index=context.deps.index,
            embedder=lambda: _embedder_for(request.collection, context.deps),
        )
        (answer,) = search_images([_query(wanted.query)], request, deps, context.limits)
    except PictorError as err:
        return {"query": kwargs.get("query"), "hits": [], "error": str(err)}
    return answer_json(answer)


def job(task: Task, args: Sequence[object], kwargs: Arguments) -> dict[str, object]:
    """The state and counts of one job."""
    context = current()
    try:
        wanted = read_arguments(JobArguments, task.name, _keywords(task, args, kwargs))
        return job_json(context.deps.ledger.get_job(wanted.job_id))
    except PictorError as err:
        return {"job_id": kwargs.get("job_id"), "error": str(err)}


def _settled(
    task: Task, work: Callable[[], None], *, on_refusal: Callable[[PictorError], None] | None = None
) -> None:
    """Run `work`; the class of its error decides what becomes of the message."""
    with every_error_settled(task):
        try:
            _check_faults(task)
            work()
        except (MessageError, TargetError) as err:  # also what it names: no worker could do it
            if on_refusal is not None:
                on_refusal(err)
            set_aside(task, task.request.kwargs or {}, str(err))


def _check_faults(task: Task) -> None:
    if faults_before(task) >= SPLIT_AT_FAULT:
        raise MessageError(f"{task.name}: every try ended with an internal error; the worker's log has it")


def _keywords(task: Task, args: Sequence[object], kwargs: Arguments) -> Arguments:
    if args:
        raise MessageError(f"{task.name}: {len(args)} positional arguments; only keyword arguments are read")
    return kwargs


def _job_request(wanted: IngestArguments, context: Context) -> JobRequest:
    source = parse_source(wanted.source)
    spec = context.deps.embedder.spec
    return JobRequest(
        source=source.url,
        bucket=source.bucket,
        prefix=source.prefix,
        collection=wanted.collection or context.settings.collection,
        model_name=spec.name,
        fingerprint=spec.fingerprint,
        include=tuple(wanted.include),
        exclude=tuple(wanted.exclude),
        batch_items=wanted.batch_items or context.settings.batch_items,
        keep_missing=wanted.keep_missing,
        max_delete_share=wanted.max_delete_share,
        retry_failed=wanted.retry_failed,
    )


def _fails_at_once(job: Job, context: Context) -> bool:
    """What can never work is said in the job itself: no such bucket, a collection of another model."""
    try:
        check_collection_name(job.request.collection)
        context.deps.index.create_collection(job.request.collection, context.deps.embedder.spec)
        next(context.deps.store.list_objects(job.request.bucket, job.request.prefix), None)
    except ConfigError as err:  # nothing of it is this process's fault: it was checked when it started
        context.deps.ledger.set_state(job.job_id, JobState.FAILED, error=str(err))
        return True
    return False


def _record_refusal(task: Task, kwargs: Arguments, error: PictorError, context: Context) -> None:
    request = JobRequest(
        source=_shown(kwargs.get("source", ""), 200),
        bucket="",
        prefix="",
        collection=_shown(kwargs.get("collection") or "", 100),
        model_name="",
        fingerprint="",
    )
    # Under an id of its own: the one that was asked for stays free for a submission that is right.
    refused = context.deps.ledger.create_job(
        request, driver=WORKERS, job_id=f"refused-{_shown(task.request.id, 100)}"
    )
    context.deps.ledger.set_state(refused.job_id, JobState.FAILED, error=str(error))


def _shown(value: object, max_chars: int) -> str:
    """What somebody sent, fit to be stored and printed."""
    return "".join(char if char.isprintable() else "?" for char in str(value)[:max_chars])


def _embedder_for(collection: str, deps: Deps) -> Embedder:
    """Raises ModelMismatchError: a vector of this worker's model says nothing about another's."""
    deps.index.check_model(collection, deps.embedder.spec)
    return deps.embedder


def _query(text: str) -> Query:
    if text.startswith("s3://"):
        bucket, key = split_s3_url(text)
        return ObjectQuery(text=text, bucket=bucket, key=key)
    if ROW_ID.fullmatch(text):
        return StoredQuery(text=text, id=text)
    raise ConfigError(f"query {text[:100]}: s3://bucket/key or a stored image id is expected")

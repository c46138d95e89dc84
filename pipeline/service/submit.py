"""Submit a job: to the workers, or to the process that asks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.errors import ArgumentError, ConfigError, ConflictError, NotFoundError, PictorError, TargetError
from pipeline.ingest.globs import what_is_wrong
from pipeline.ingest.sync import holds_any
from pipeline.location import Location
from pipeline.names import check_collection_name
from pipeline.ports import Deps, Ledger
from pipeline.ports.model_binding import find_by_digits
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.accountability import Accountability
from pipeline.service.act_records import enter_job
from pipeline.service.create import check_policy
from pipeline.types import WORKERS, CollectionInfo, Job, JobRequest, JobState, ModelSpec, new_job_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A caller's request, with every default filled in."""

    location: Location
    collection: str
    batch_items: int
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    keep_missing: bool = False
    max_delete_share: float | None = None
    retry_failed: bool = False
    new_generation: bool = False  # beside the live one, if that is of another model
    generation: str = ""  # for workers: the beginning of the fingerprint of one that is there

    def request_for(self, spec: ModelSpec) -> JobRequest:
        """Raises ArgumentError for too many patterns, or too long ones."""
        return self._request(spec.name, spec.fingerprint)

    def request_of(self, other: JobRequest) -> JobRequest:
        """For the model of another request. Raises ArgumentError as `request_for` does."""
        return self._request(other.model_name, other.fingerprint)

    def _request(self, model_name: str, fingerprint: str) -> JobRequest:
        for name, patterns in {"include": self.include, "exclude": self.exclude}.items():
            if wrong := what_is_wrong(patterns):
                raise ArgumentError(f"{name}: {wrong}")
        return JobRequest(
            location=self.location.url,
            bucket=self.location.bucket,
            prefix=self.location.prefix,
            collection=self.collection,
            model_name=model_name,
            fingerprint=fingerprint,
            include=tuple(self.include),
            exclude=tuple(self.exclude),
            batch_items=self.batch_items,
            keep_missing=self.keep_missing,
            max_delete_share=self.max_delete_share,
            retry_failed=self.retry_failed,
        )


def submit_embedded(
    wanted: Submission,
    deps: Deps,
    answers_to: Accountability,
    caller: Caller,
    *,
    driver: str,
    restart: bool = False,
    job_id: str | None = None,
) -> tuple[Job, bool]:
    """The job that the process of the caller is to run. See `open_job`.

    Raises:
        DeniedError: the caller may not reach this collection or bucket, or cancel a job, as `restart` does.
        ArgumentError, TargetError: nothing was made.
        ConflictError: the source is empty, and the collection has images of it. Or an unfinished job has
            other options, and the caller may not move jobs.
        AuditError: it could not be recorded, so no job was made.
    """
    require(caller, Permission.WRITE)
    require_names(caller, collection=wanted.collection, buckets=[wanted.location.bucket])
    if restart:  # it cancels a job, which may be anybody's
        require(caller, Permission.OPERATE)
    request = wanted.request_for(deps.embedder.spec)
    _refuse_emptied_source(request, deps)
    _make_target(request, deps, new_generation=wanted.new_generation)
    return open_job(
        request,
        deps,
        driver=driver,
        restart=restart,
        job_id=job_id,
        may_change=Permission.OPERATE in caller.permissions,  # it may be anybody's (decision 0156)
        before=lambda found: enter_job(found, request, answers_to, caller),
    )


def submit_to_workers(
    wanted: Submission,
    deps: Deps,
    answers_to: Accountability,
    caller: Caller,
    *,
    job_id: str | None = None,
) -> Job:
    """A job for the workers: the same id twice is one job.

    A generation that is there keeps its model, whichever this process has: its batches go to the workers of
    that model. A job that can never work fails at once, with words. For example, there is no such bucket, or
    no collection can have its name.

    Raises:
        ConflictError: a job of this id is run by another driver.
        DeniedError: the caller may not reach this collection or bucket; no job was made.
        AuditError: it could not be recorded, so no job was made.
    """
    require(caller, Permission.WRITE)
    require_names(caller, collection=wanted.collection, buckets=[wanted.location.bucket])
    request, error = _of_its_model(wanted, deps)
    job_id = job_id or new_job_id()
    enter_job(job_id, request, answers_to, caller)
    job = deps.ledger.create_job(request, driver=WORKERS, job_id=job_id)
    if job.driver != WORKERS:
        raise ConflictError(f"job {job.job_id} is run by {job.driver}; choose another id")
    if job.state is JobState.RUNNING and error:
        deps.ledger.set_state(job.job_id, JobState.FAILED, error=error)
    elif job.state is JobState.RUNNING:
        try:
            _make_target(job.request, deps, new_generation=bool(wanted.generation))
        except ConfigError as err:  # nothing of it is this process's fault: it was checked when it started
            deps.ledger.set_state(job.job_id, JobState.FAILED, error=str(err))
    return deps.ledger.get_job(job.job_id)


def submit_heard(
    wanted: Submission,
    deps: Deps,
    answers_to: Accountability,
    caller: Caller,
    *,
    job_id: str | None = None,
) -> Job:
    """The same for a caller who waits to hear what is wrong with it: then no job is made.

    Raises:
        ArgumentError, DeniedError, NotFoundError, TargetError: nothing was made.
        ConflictError: the source is empty, and the collection has images of it.
        AuditError: it could not be recorded, so no job was made.
    """
    require(caller, Permission.WRITE)
    require_names(caller, collection=wanted.collection, buckets=[wanted.location.bucket])
    request = _request_of_its_model(wanted, deps)
    _refuse_emptied_source(request, deps)
    _make_target(request, deps, new_generation=bool(wanted.generation))
    job_id = job_id or new_job_id()
    enter_job(job_id, request, answers_to, caller)
    return deps.ledger.create_job(request, driver=WORKERS, job_id=job_id)


def record_refusal(
    location: str, collection: str, ledger: Ledger, *, job_id: str, error: PictorError
) -> None:
    """A submission that could not be read becomes a failed job, so that it can be found."""
    request = JobRequest(
        location=location, bucket="", prefix="", collection=collection, model_name="", fingerprint=""
    )
    refused = ledger.create_job(request, driver=WORKERS, job_id=job_id)
    if refused.request == request:  # else a job that has the name of a refusal, and nothing to do with it
        ledger.set_state(refused.job_id, JobState.FAILED, error=str(error))


def open_job(
    request: JobRequest,
    deps: Deps,
    *,
    driver: str,
    restart: bool = False,
    job_id: str | None = None,
    may_change: bool = True,
    before: Callable[[str], None] = lambda _job_id: None,
) -> tuple[Job, bool]:
    """The unfinished job of the same source, filters, collection and model, or a new one.

    Args:
        driver: `embedded_on` the present host. Jobs of the workers and of other hosts are left to them.
        restart: cancel an unfinished job and begin anew.
        job_id: of a job that is new in any case, unless this id is there already.
        may_change: whether an unfinished job takes other options of this request.
        before: called with the id before anything is written.

    Returns:
        The job, and whether it is resumed.

    Raises:
        ConflictError: the unfinished job has other options, which may not be changed.
    """
    is_new = job_id is not None and not restart
    unfinished = None if is_new else deps.ledger.find_unfinished(request, driver=driver)
    chosen = unfinished.job_id if unfinished is not None and not restart else job_id or new_job_id()
    if unfinished is not None and not may_change:
        _refuse_change(unfinished, request)
    before(chosen)
    if unfinished is not None and not restart:
        deps.ledger.set_sync(unfinished.job_id, request)  # these may be other than at the first try
        return deps.ledger.get_job(unfinished.job_id), True
    if unfinished is not None:
        deps.ledger.set_state(unfinished.job_id, JobState.CANCELLED)
    return deps.ledger.create_job(request, driver=driver, job_id=chosen), False


def _refuse_change(unfinished: Job, request: JobRequest) -> None:
    present = unfinished.request.sync
    other = [name for name, option in request.sync.items() if option != present[name]]
    if other:
        raise ConflictError(
            f"job {unfinished.job_id} of the same source is unfinished and has another {', '.join(other)}. "
            "Wait for it, send the same, or send an Idempotency-Key for a job of your own"
        )


def _refuse_emptied_source(request: JobRequest, deps: Deps) -> None:
    """A folder that is not mounted looks like one whose files were all deleted."""
    if request.keep_missing or request.max_delete_share is not None:
        return
    first = next(deps.store.list_objects(request.bucket, request.prefix), None)
    if first is None and holds_any(request, deps.ledger.book):
        raise ConflictError(
            f"{request.location} is empty, but collection {request.collection} has images of it. Is it "
            "mounted? To remove them all, add --max-delete-share 1; to keep them, add --keep-missing"
        )


def _make_target(request: JobRequest, deps: Deps, *, new_generation: bool) -> None:
    check_collection_name(request.collection)
    if deps.staging_bucket and request.bucket == deps.staging_bucket:
        raise TargetError(
            f"bucket {request.bucket} holds pixels on their way to the GPU tier; it is no source"
        )
    # The first page of the listing: for a bucket that is not there, no collection is made.
    next(deps.store.list_objects(request.bucket, request.prefix), None)
    if request.fingerprint != deps.embedder.spec.fingerprint:
        return  # it is there, and another model's
    check_policy(request.collection, deps.embedder.spec, deps.policies)
    if new_generation:
        deps.index.open_generation(request.collection, deps.embedder.spec)
    elif not _is_unused(request, deps):
        deps.index.create_collection(request.collection, deps.embedder.spec)


def _is_unused(request: JobRequest, deps: Deps) -> bool:
    """Whether the collection is there, complete, and nothing was ever planned for it.

    To create one that is there waits until the index shows all that was written before (decision 0011). That
    takes 0.3 s, and here nothing was written.
    """
    if deps.embedder.spec.beside or deps.ledger.book.last_sequence(request.target.generation):
        return False
    live = deps.index.get_collection(request.collection)
    return live is not None and live.ref == request.target


def _of_its_model(wanted: Submission, deps: Deps) -> tuple[JobRequest, str]:
    """The request for the model of its generation, and the error of one that is not there."""
    request = wanted.request_for(deps.embedder.spec)
    try:
        return _request_of_its_model(wanted, deps), ""
    except (ArgumentError, NotFoundError) as err:
        return request, str(err)


def _request_of_its_model(wanted: Submission, deps: Deps) -> JobRequest:
    """Raises ArgumentError, NotFoundError: no collection can have this name, or has this generation."""
    request = wanted.request_for(deps.embedder.spec)
    name = check_collection_name(request.collection)
    if wanted.generation:
        info: CollectionInfo | None = find_by_digits(name, wanted.generation, deps.index)
    else:
        info = deps.index.get_collection(name)
    if info is None:
        return request
    return replace(request, model_name=info.model_name, fingerprint=info.fingerprint)

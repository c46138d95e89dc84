"""Submit a job: to the workers, or to the process that asks."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError, PictorError
from pipeline.ports import Deps, Ledger
from pipeline.service.access import Caller, Role, require
from pipeline.settings import check_collection_name
from pipeline.source import Source
from pipeline.types import WORKERS, Job, JobRequest, JobState, ModelSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What a caller asks for, with every default filled in."""

    source: Source
    collection: str
    batch_items: int
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def request_for(self, spec: ModelSpec) -> JobRequest:
        return JobRequest(
            source=self.source.url,
            bucket=self.source.bucket,
            prefix=self.source.prefix,
            collection=self.collection,
            model_name=spec.name,
            fingerprint=spec.fingerprint,
            include=tuple(self.include),
            exclude=tuple(self.exclude),
            batch_items=self.batch_items,
        )


def submit_embedded(
    wanted: Submission, deps: Deps, caller: Caller, *, driver: str, restart: bool = False
) -> tuple[Job, bool]:
    """The job that the process of the caller is to run. See `open_job`.

    Raises:
        ArgumentError, TargetError: nothing was made.
    """
    require(caller, Role.WRITE)
    request = wanted.request_for(deps.embedder.spec)
    _make_target(request, deps)
    return open_job(request, deps, driver=driver, restart=restart)


def submit_to_workers(wanted: Submission, deps: Deps, caller: Caller, *, job_id: str | None = None) -> Job:
    """A job for the workers: the same id twice is one job.

    What can never work is said in the job itself, which has failed then: no such bucket, a collection of
    another model, a name that no collection can have.
    """
    require(caller, Role.WRITE)
    request = wanted.request_for(deps.embedder.spec)
    job = deps.ledger.create_job(request, driver=WORKERS, job_id=job_id)
    if job.state is JobState.RUNNING:
        try:
            _make_target(job.request, deps)
        except ConfigError as err:  # nothing of it is this process's fault: it was checked when it started
            deps.ledger.set_state(job.job_id, JobState.FAILED, error=str(err))
    return deps.ledger.get_job(job.job_id)


def record_refusal(source: str, collection: str, ledger: Ledger, *, job_id: str, error: PictorError) -> None:
    """A submission that could not be read becomes a failed job, so that it can be found."""
    request = JobRequest(
        source=source, bucket="", prefix="", collection=collection, model_name="", fingerprint=""
    )
    refused = ledger.create_job(request, driver=WORKERS, job_id=job_id)
    ledger.set_state(refused.job_id, JobState.FAILED, error=str(error))


def open_job(request: JobRequest, deps: Deps, *, driver: str, restart: bool = False) -> tuple[Job, bool]:
    """The unfinished job of the same source, filters, collection and model, or a new one.

    Args:
        driver: `embedded_on` the present host. Jobs of the workers and of other hosts are left to them.
        restart: cancel an unfinished job and begin anew.

    Returns:
        The job, and whether it is resumed.
    """
    unfinished = deps.ledger.find_unfinished(request, driver=driver)
    if unfinished is not None and not restart:
        return unfinished, True
    if unfinished is not None:
        deps.ledger.set_state(unfinished.job_id, JobState.CANCELLED)
    return deps.ledger.create_job(request, driver=driver), False


def _make_target(request: JobRequest, deps: Deps) -> None:
    check_collection_name(request.collection)
    # The first page of the listing: for a bucket that is not there, no collection is made.
    next(deps.store.list_objects(request.bucket, request.prefix), None)
    deps.index.create_collection(request.collection, deps.embedder.spec)

"""Look at jobs, their failures, and collections."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.errors import NotFoundError
from pipeline.ingest.bottleneck import Bottleneck, find_bottleneck
from pipeline.ports import Concurrency, Ledger, VectorIndex
from pipeline.ports.model_binding import find_collection
from pipeline.service.access import Caller, Permission, require
from pipeline.service.answers import job_json
from pipeline.service.index_image import ONE_IMAGE
from pipeline.types import CollectionInfo, Failure, Job


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownJob:
    """A job, the time of its stages summed over its batches, and its bottleneck, if it has one."""

    job: Job
    seconds: Mapping[str, float]
    bottleneck: Bottleneck | None


def list_jobs(
    ledger: Ledger, caller: Caller, *, limit: int, before: str | None = None, of_one_image: bool = False
) -> list[Job]:
    """Newest first.

    Args:
        before: a job's id. Only jobs that are older than it.
        of_one_image: also those of images that were indexed one by one, which may be very many.
    """
    require(caller, Permission.READ)
    without = () if of_one_image else (ONE_IMAGE,)
    return ledger.list_jobs(limit=limit, before=before, without=without)


def find_job(job_id: str, ledger: Ledger, caller: Caller) -> Job:
    """Raises NotFoundError when there is no such job."""
    require(caller, Permission.READ)
    return ledger.get_job(job_id)


def find_job_if_any(job_id: str, ledger: Ledger, caller: Caller) -> Job | None:
    try:
        return find_job(job_id, ledger, caller)
    except NotFoundError:
        return None


def show_job(job_id: str, ledger: Ledger, concurrency: Concurrency, caller: Caller) -> ShownJob:
    """One job.

    Args:
        concurrency: of the processes that ran it.

    Raises:
        NotFoundError: there is no such job.
    """
    require(caller, Permission.READ)
    seconds = ledger.seconds(job_id)
    return ShownJob(
        job=ledger.get_job(job_id),
        seconds=seconds,
        bottleneck=find_bottleneck(
            seconds, fetch_threads=concurrency.fetch_threads, decode_threads=concurrency.decode_threads
        ),
    )


def shown_json(shown: ShownJob) -> dict[str, object]:
    """The fields of `job_json`, and those of a job that is shown alone."""
    return job_json(shown.job) | {
        "stage_seconds": {stage: round(seconds, 3) for stage, seconds in shown.seconds.items()},
        "bottleneck": str(shown.bottleneck or ""),
    }


def show_failures(job_id: str, ledger: Ledger, caller: Caller, *, start_after: str = "") -> Iterator[Failure]:
    """By key, and only of keys behind `start_after`. Raises NotFoundError when there is no such job."""
    require(caller, Permission.READ)
    ledger.get_job(job_id)
    return ledger.failures(job_id, start_after=start_after)


def list_collections(index: VectorIndex, caller: Caller) -> list[CollectionInfo]:
    require(caller, Permission.READ)
    return index.list_collections()


def show_collection(name: str, index: VectorIndex, caller: Caller) -> CollectionInfo:
    """Raises NotFoundError, and names the collections that are there."""
    require(caller, Permission.READ)
    return find_collection(name, index)


def list_generations(name: str, index: VectorIndex, caller: Caller) -> list[CollectionInfo]:
    """By fingerprint; one of them is live. Raises NotFoundError when there is no such collection."""
    require(caller, Permission.READ)
    return index.list_generations(find_collection(name, index).name)

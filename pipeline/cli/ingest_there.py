"""Have a running service bring a collection in step, and follow the job to its end."""

from pipeline.cli.follow_there import follow_to_end
from pipeline.cli.ingest_options import BUILTIN_NOTICE, IngestOptions
from pipeline.cli.output import note
from pipeline.cli.running_service import RunningService
from pipeline.client import Job, Pictor
from pipeline.client_settings import ClientSettings
from pipeline.errors import ConflictError, NotFoundError
from pipeline.location import local_path, parse_location
from pipeline.names import check_collection_name


def ingest_there(wanted: IngestOptions, service: RunningService) -> None:
    """Raises as `follow_to_end` does."""
    service.refuse({"--dry-run": wanted.dry_run, "--new-generation": wanted.new_generation})
    source = _source_of(wanted.source, service)
    collection = check_collection_name(wanted.collection or ClientSettings.from_env().collection)
    with service.connect() as pictor:
        is_new = not _is_there(collection, pictor)
        job = pictor.submit_job(
            source,
            collection=collection,
            model=wanted.model,
            include=wanted.include,
            exclude=wanted.exclude,
            batch_items=wanted.batch_items,
            keep_missing=wanted.keep_missing,
            max_delete_share=wanted.max_delete_share,
            retry_failed=wanted.retry_failed,
            restart=wanted.restart,
            resume=not wanted.restart,
        )
        if is_new and job.model == "builtin" and not wanted.model:
            note(BUILTIN_NOTICE)
        if job.resumed:
            note(_resume_note(job))
        follow_to_end(
            job,
            pictor,
            as_json=wanted.as_json,
            max_failure_rate=wanted.max_failure_rate,
            # A job that was there already may be followed by somebody else, too.
            on_stop=None if job.resumed else lambda latest: _pause(latest, pictor),
        )


def _source_of(text: str, service: RunningService) -> str:
    if text.startswith("s3://") or service.is_beside:
        return parse_location(text).url
    return str(local_path(text).absolute())  # of the machine of the service: it knows whether it is there


def _is_there(collection: str, pictor: Pictor) -> bool:
    try:
        pictor.show_collection(collection)
    except NotFoundError:
        return False
    return True


def _resume_note(job: Job) -> str:
    done = job.scanned - job.pending
    return (
        f"Resuming job {job.job_id} of {job.created:%Y-%m-%d %H:%M} UTC: {done} objects are done. "
        "(--restart begins anew.)"
    )


def _pause(job: Job, pictor: Pictor) -> str:
    """This job alone: others of the service go on."""
    try:
        pictor.pause_job(job.job_id)
    except ConflictError:
        return f"Job {job.job_id} was over before it could be paused."
    return f"Job {job.job_id} is paused; what is done is kept. To go on: pictor jobs resume {job.job_id}"

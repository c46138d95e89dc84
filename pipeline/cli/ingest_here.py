"""Bring a collection in step in this process, or have the workers of a broker do it."""

from collections.abc import Mapping
from typing import TypeVar

from pipeline import wiring
from pipeline.cli.dry_run import show_outlook
from pipeline.cli.ingest_options import BUILTIN_NOTICE, IngestOptions
from pipeline.cli.outcome import done_of
from pipeline.cli.output import note
from pipeline.cli.recording import open_accountability
from pipeline.cli.run_here import deps_here, finish, job_held_here
from pipeline.errors import ArgumentError
from pipeline.location import parse_location
from pipeline.names import check_collection_name
from pipeline.ports import VectorIndex
from pipeline.service.access import local_caller
from pipeline.service.submit import Submission, submit_embedded
from pipeline.settings import Settings
from pipeline.types import CollectionInfo, CollectionRef, Job, ModelSpec

T = TypeVar("T")


def ingest_here(wanted: IngestOptions, *, broker: str, local: bool) -> None:
    """Args: `broker` is that of the option, or "" for PICTOR_BROKER_URL."""
    settings = Settings.from_env()
    if (broker_url := _broker_of(broker, settings, local=local)) and not wanted.dry_run:
        _ingest_by_workers(wanted, broker_url, settings)
    else:
        _ingest_here(wanted, settings)


def _ingest_by_workers(wanted: IngestOptions, broker_url: str, settings: Settings) -> None:
    from pipeline.cli.remote import ingest_remotely

    _refuse_local_options(
        {"--model": "" if wanted.new_generation else wanted.model, "--restart": wanted.restart}
    )
    is_new = wanted.new_generation
    ingest_remotely(
        broker_url,
        parse_location(wanted.source),
        collection=wanted.collection or _given(settings, "collection", settings.collection),
        include=wanted.include,
        exclude=wanted.exclude,
        batch_items=wanted.batch_items or _given(settings, "batch_items", settings.batch_items),
        keep_missing=wanted.keep_missing,
        max_delete_share=wanted.max_delete_share,
        retry_failed=wanted.retry_failed,
        generation=_spec_of_new(wanted.model, settings).fingerprint if is_new else None,
        max_failure_rate=wanted.max_failure_rate,
        as_json=wanted.as_json,
    )


def _ingest_here(wanted: IngestOptions, settings: Settings) -> None:
    submission = Submission(
        location=parse_location(wanted.source),
        collection=check_collection_name(wanted.collection or settings.collection),
        include=wanted.include,
        exclude=wanted.exclude,
        batch_items=wanted.batch_items or settings.batch_items,
        keep_missing=wanted.keep_missing,
        max_delete_share=wanted.max_delete_share,
        retry_failed=wanted.retry_failed,
        new_generation=wanted.new_generation,
    )
    requested = wanted.model or settings.model
    with (
        wiring.open_index(settings) as index,
        wiring.open_ledger(settings) as ledger,
        open_accountability(settings, ledger.policies) as answers_to,
    ):
        spec = _spec_of_new(wanted.model, settings) if wanted.new_generation else None
        existing = _target(submission.collection, spec, index)
        if existing is None and not requested:
            note(BUILTIN_NOTICE)
        embedder = wiring.lazy_model(
            requested, settings, existing=existing, spec=spec, batches=settings.batch_threads
        )
        deps = deps_here(
            submission.location.bucket,
            index,
            embedder,
            ledger,
            settings,
            ledger.policies,
            existing=existing,
        )
        if wanted.dry_run:
            show_outlook(submission.request_for(embedder.spec), existing, deps, as_json=wanted.as_json)
            return
        driver = wiring.driver_here(settings)
        job, resumed = submit_embedded(
            submission, deps, answers_to, local_caller(), driver=driver, restart=wanted.restart
        )
        if resumed:
            note(_resume_note(job))
        with job_held_here(job.job_id, ledger, settings):
            finish(job, deps, settings, max_failure_rate=wanted.max_failure_rate, as_json=wanted.as_json)


def _spec_of_new(model: str, settings: Settings) -> ModelSpec:
    requested = model or settings.model
    if not requested:
        raise ArgumentError("--new-generation is for another model; name it with --model")
    return wiring.load_model_spec(requested, settings)


def _target(name: str, spec: ModelSpec | None, index: VectorIndex) -> CollectionInfo | None:
    """The existing generation to write to: that of this model, or else the live one."""
    if spec is None:
        return index.get_collection(name)
    return index.get_generation(CollectionRef(name=name, fingerprint=spec.fingerprint))


def _broker_of(broker: str, settings: Settings, *, local: bool) -> str:
    """The broker to submit to, or empty when the job runs in this process."""
    return "" if local else broker or settings.broker_url.get_secret_value()


def _given(settings: Settings, name: str, value: T) -> T | None:
    """The value set in this environment. None for a default, since the default of the workers counts then."""
    return value if name in settings.model_fields_set else None


def _refuse_local_options(given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value:
            raise ArgumentError(f"{option} is for --local; the workers of the broker do not read it")


def _resume_note(job: Job) -> str:
    done = done_of(job.counts)
    return (
        f"Resuming job {job.job_id} of {job.created_at:%Y-%m-%d %H:%M} UTC: {done} objects are done, "
        f"{_where_it_goes_on(job)}. (--restart begins anew.)"
    )


def _where_it_goes_on(job: Job) -> str:
    if job.planned:
        return "its listing is whole"
    return f"the listing goes on after {job.cursor!r}" if job.cursor else "the listing begins"

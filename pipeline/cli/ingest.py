"""`pictor ingest`: bring a collection in step with a folder or bucket."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import typer

from pipeline import wiring
from pipeline.cli.dry_run import show_outlook
from pipeline.cli.outcome import done_of
from pipeline.cli.output import note
from pipeline.cli.run_here import deps_here, finish, job_held_here
from pipeline.errors import ArgumentError
from pipeline.ingest.system_folders import SYSTEM_FOLDERS
from pipeline.location import parse_location
from pipeline.names import check_collection_name
from pipeline.ports import VectorIndex
from pipeline.service.access import local_caller
from pipeline.service.submit import Submission, submit_embedded
from pipeline.settings import Settings
from pipeline.types import CollectionInfo, CollectionRef, Job, ModelSpec

T = TypeVar("T")

BUILTIN_NOTICE = (
    "Using the builtin model: a training-free descriptor that finds copies, edits and similar layouts.\n"
    "To find similar things by meaning, choose a trained model: --model torchvision/resnet50, or your own\n"
    "weights with --model FILE.toml (see `pictor models list`)."
)

# At the end of --help, where a line is as wide as the terminal.
NOTES = (
    "A glob without / is about the last part of a key. In a glob, * also matches /, and **/ means any "
    "number of folders or none.\n\n"
    f"Below a local folder, what NAS and sync programs keep is left out: {', '.join(SYSTEM_FOLDERS)}. "
    "To index one of these, name it: --include '**/@eaDir/**'."
)


def ingest(
    source: Annotated[
        str, typer.Argument(help="A folder, file:///folder, s3://bucket or s3://bucket/prefix.")
    ],
    collection: Annotated[str, typer.Option(help="Collection to write to. Default PICTOR_COLLECTION.")] = "",
    model: Annotated[
        str, typer.Option(help="builtin, torchvision/NAME or FILE.toml. Default PICTOR_MODEL.")
    ] = "",
    batch_items: Annotated[
        int, typer.Option(help="Objects per batch. 0 means PICTOR_BATCH_ITEMS.", min=0, max=1000)
    ] = 0,
    include: Annotated[
        list[str] | None, typer.Option(help="Only keys that match this glob. You can repeat it.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="No keys that match this glob. You can repeat it."),
    ] = None,
    max_failure_rate: Annotated[
        float, typer.Option(help="Exit with 1 when a larger share of the images failed.", min=0, max=1)
    ] = 1.0,
    broker: Annotated[
        str,
        typer.Option(
            help="Submit to the workers on this RabbitMQ (amqp://…) and follow the job. "
            "Default PICTOR_BROKER_URL."
        ),
    ] = "",
    local: Annotated[
        bool, typer.Option("--local", help="Run the job in this process, even if PICTOR_BROKER_URL is set.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin a new job, even if one for SOURCE is unfinished.")
    ] = False,
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="Keep vanished objects in the index.")
    ] = False,
    max_delete_share: Annotated[
        float | None,
        typer.Option(
            help="Remove nothing when a larger share of the indexed objects of SOURCE has vanished. "
            "Default 0.2, and up to 4 objects in any case.",
            min=0,
            max=1,
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try unchanged objects again that failed before.")
    ] = False,
    new_generation: Annotated[
        bool,
        typer.Option(
            "--new-generation",
            help="If the collection is of another model, fill a second generation with --model. "
            "Searches go on with the first until `pictor collections promote NAME FINGERPRINT`.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what is new, changed and vanished. Write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line.")] = False,
) -> None:
    """Bring a collection in step with SOURCE. Embed new and changed images, remove vanished ones."""
    settings = Settings.from_env()
    where = parse_location(source)
    if dry_run and broker:
        raise ArgumentError("--dry-run compares SOURCE with the ledger in this process; leave --broker out")
    if (broker_url := _broker_of(broker, settings, local=local)) and not dry_run:
        from pipeline.cli.remote import ingest_remotely

        _refuse_local_options({"--model": "" if new_generation else model, "--restart": restart})
        ingest_remotely(
            broker_url,
            where,
            collection=collection or _given(settings, "collection", settings.collection),
            include=include or (),
            exclude=exclude or (),
            batch_items=batch_items or _given(settings, "batch_items", settings.batch_items),
            keep_missing=keep_missing,
            max_delete_share=max_delete_share,
            retry_failed=retry_failed,
            generation=_spec_of_new(model, settings).fingerprint if new_generation else None,
            max_failure_rate=max_failure_rate,
            as_json=as_json,
        )
        return
    wanted = Submission(
        location=where,
        collection=check_collection_name(collection or settings.collection),
        include=include or (),
        exclude=exclude or (),
        batch_items=batch_items or settings.batch_items,
        keep_missing=keep_missing,
        max_delete_share=max_delete_share,
        retry_failed=retry_failed,
        new_generation=new_generation,
    )
    requested = model or settings.model
    with wiring.open_index(settings) as index, wiring.open_ledger(settings) as ledger:
        spec = _spec_of_new(model, settings) if new_generation else None
        existing = _target(wanted.collection, spec, index)
        if existing is None and not requested:
            note(BUILTIN_NOTICE)
        embedder = wiring.lazy_model(
            requested, settings, existing=existing, spec=spec, batches=settings.batch_threads
        )
        deps = deps_here(index, embedder, ledger, settings)
        if dry_run:
            show_outlook(wanted.request_for(embedder.spec), existing, deps, as_json=as_json)
            return
        driver = wiring.driver_here(settings)
        job, resumed = submit_embedded(wanted, deps, local_caller(), driver=driver, restart=restart)
        if resumed:
            note(_resume_note(job))
        with job_held_here(job.job_id, ledger, settings):
            finish(job, deps, settings, max_failure_rate=max_failure_rate, as_json=as_json)


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
    if local and broker:
        raise ArgumentError("--local and --broker exclude each other")
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

"""`pictor ingest`: bring a collection in step with a folder or bucket."""

import sys
import time
from dataclasses import asdict
from typing import Annotated

import typer

from pipeline import wiring
from pipeline.cli.exit_codes import EXIT_INTERRUPTED, EXIT_UNFINISHED
from pipeline.cli.missed_links import MissedLinks
from pipeline.cli.output import note, warn, write_json, write_line
from pipeline.cli.progress import JobProgress, ProgressState
from pipeline.embedded import DriverOptions, job_lock, open_job, run_job
from pipeline.errors import PictorError
from pipeline.ports import Deps
from pipeline.settings import Settings, check_collection_name
from pipeline.source import Source, parse_source
from pipeline.system_folders import SYSTEM_FOLDERS
from pipeline.types import Job, JobCounts, JobRequest

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
    collection: Annotated[str, typer.Option(help="Collection to write to; PICTOR_COLLECTION.")] = "",
    model: Annotated[str, typer.Option(help="builtin, torchvision/NAME or FILE.toml; PICTOR_MODEL.")] = "",
    batch_items: Annotated[
        int, typer.Option(help="Objects per batch; PICTOR_BATCH_ITEMS.", min=0, max=1000)
    ] = 0,
    include: Annotated[
        list[str] | None, typer.Option(help="Only keys that match this glob (repeatable).")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="No keys that match this glob (repeatable)."),
    ] = None,
    max_failure_rate: Annotated[
        float, typer.Option(help="Exit with 1 when a larger share of the images failed.", min=0, max=1)
    ] = 1.0,
    broker: Annotated[
        str, typer.Option(help="Submit to the workers on this RabbitMQ (amqp://…) and follow the job.")
    ] = "",
    restart: Annotated[bool, typer.Option("--restart", help="Do not resume an unfinished job.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line.")] = False,
) -> None:
    """Index every image of SOURCE. Run it again at any time: only what is new or changed is embedded."""
    settings = Settings.from_env()
    where = parse_source(source)
    if broker:
        from pipeline.cli.remote import ingest_remotely

        ingest_remotely(
            broker,
            where,
            collection=collection or None,
            include=include or (),
            exclude=exclude or (),
            batch_items=batch_items or None,
            max_failure_rate=max_failure_rate,
            as_json=as_json,
        )
        return
    name = check_collection_name(collection or settings.collection)
    with wiring.open_index(settings) as index, wiring.open_ledger(settings) as ledger:
        existing = index.get_collection(name)
        if existing is None and not (model or settings.model):
            note(BUILTIN_NOTICE)
        embedder = wiring.lazy_model(
            model or settings.model, settings, existing=existing, batches=settings.batch_threads
        )
        store = wiring.open_store(settings)
        deps = Deps(store=store, index=index, embedder=embedder, ledger=ledger)
        request = JobRequest(
            source=where.url,
            bucket=where.bucket,
            prefix=where.prefix,
            collection=name,
            model_name=embedder.spec.name,
            fingerprint=embedder.spec.fingerprint,
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            batch_items=batch_items or settings.batch_items,
        )
        _check_source(where, deps)
        index.create_collection(name, embedder.spec)
        job, resumed = open_job(request, deps, restart=restart)
        if resumed:
            note(_resume_note(job))
        with job_lock(settings.home / "locks", job.job_id):
            finish(job, deps, settings, max_failure_rate=max_failure_rate, as_json=as_json)


def finish(job: Job, deps: Deps, settings: Settings, *, max_failure_rate: float, as_json: bool) -> None:
    """Run a job, whose lock the caller holds, to its end; show its progress and print its counts."""
    options = DriverOptions(queue_batches=settings.queue_batches, batch_threads=settings.batch_threads)
    limits = wiring.limits_of(settings, sharers=settings.batch_threads)
    started = time.perf_counter()
    error: PictorError | None = None
    interrupted = False
    missed_links = MissedLinks()
    done_before = job.counts.scanned - job.counts.pending
    with JobProgress(done_before=done_before) as progress:

        def show(job: Job) -> None:
            progress.show(ProgressState.of(job))

        try:
            run_job(job, deps, limits, options, on_progress=show, on_missed_link=missed_links.add)
        except PictorError as err:
            error = err
        except KeyboardInterrupt:
            interrupted = True
    _print_outcome(job, deps, time.perf_counter() - started, as_json=as_json)
    missed_links.note()
    if error is not None or interrupted:
        note("The job is unfinished; what is done is kept. Run the same command again to go on.")
        raise error or typer.Exit(EXIT_INTERRUPTED)
    counts = deps.ledger.get_job(job.job_id).counts
    if counts.failed > max_failure_rate * counts.scanned:
        warn(f"{counts.failed} of {counts.scanned} images failed, over --max-failure-rate {max_failure_rate}")
        raise typer.Exit(EXIT_UNFINISHED)


def _check_source(where: Source, deps: Deps) -> None:
    # The first page of the listing: a bucket that is not there must be said before a job is made.
    next(deps.store.list_objects(where.bucket, where.prefix), None)


def _resume_note(job: Job) -> str:
    done = job.counts.scanned - job.counts.pending
    return (
        f"Resuming job {job.job_id} of {job.created_at:%Y-%m-%d %H:%M} UTC: {done} objects are done, "
        f"the listing goes on after {job.cursor!r}. (--restart begins anew.)"
    )


def _print_outcome(before: Job, deps: Deps, seconds: float, *, as_json: bool) -> None:
    counts = deps.ledger.get_job(before.job_id).counts
    done = (counts.scanned - counts.pending) - (before.counts.scanned - before.counts.pending)
    print_counts(before.job_id, counts, seconds, done, as_json=as_json)


def print_counts(job_id: str, counts: JobCounts, seconds: float, done: int, *, as_json: bool) -> None:
    """Args: `done` is how many objects this run settled, for images/s."""
    rate = round(done / seconds, 1) if seconds > 0 else 0.0
    if as_json:
        write_json({"job_id": job_id, **asdict(counts), "seconds": round(seconds, 3), "images_per_s": rate})
        return
    write_line(
        f"job {job_id}: {counts.scanned} scanned = {counts.indexed} indexed + "
        f"{counts.unchanged} unchanged + {counts.failed} failed + {counts.pending} pending; "
        f"{counts.ignored} ignored; {seconds:.1f} s, {rate} images/s"
    )
    if counts.failed and sys.stdout.isatty():
        note(f"Why they failed: pictor jobs failures {job_id}")

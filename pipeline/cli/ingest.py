"""`pictor ingest`: bring a collection in step with a folder or bucket."""

import sys
import time
from dataclasses import asdict
from typing import Annotated

import typer

from pipeline import wiring
from pipeline.cli.dry_run import show_outlook
from pipeline.cli.exit_codes import EXIT_INTERRUPTED, EXIT_UNFINISHED
from pipeline.cli.output import note, warn, write_json, write_line
from pipeline.cli.progress import JobProgress, ProgressState
from pipeline.embedded import DriverOptions, job_lock, open_job, run_job
from pipeline.errors import ConfigError, PictorError
from pipeline.ports import Deps
from pipeline.settings import Settings, check_collection_name
from pipeline.source import parse_source
from pipeline.sync import holds_any
from pipeline.types import Job, JobCounts, JobRequest

BUILTIN_NOTICE = (
    "Using the builtin model: a training-free descriptor that finds copies, edits and similar layouts.\n"
    "To find similar things by meaning, choose a trained model: --model torchvision/resnet50, or your own\n"
    "weights with --model FILE.toml (see `pictor models list`)."
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
        list[str] | None, typer.Option(help="No keys that match this glob (repeatable).")
    ] = None,
    max_failure_rate: Annotated[
        float, typer.Option(help="Exit with 1 when a larger share of the images failed.", min=0, max=1)
    ] = 1.0,
    broker: Annotated[
        str, typer.Option(help="Submit to the workers on this RabbitMQ (amqp://…) and follow the job.")
    ] = "",
    restart: Annotated[bool, typer.Option("--restart", help="Do not resume an unfinished job.")] = False,
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="Keep in the index what is in SOURCE no more.")
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
        bool, typer.Option("--retry-failed", help="Try objects again that failed and have not changed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what is new, changed and vanished. Write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line.")] = False,
) -> None:
    """Bring a collection in step with SOURCE: embed what is new or changed, remove what has vanished."""
    settings = Settings.from_env()
    where = parse_source(source)
    if broker and dry_run:
        raise ConfigError("--dry-run compares SOURCE with the ledger itself; run it without --broker")
    if broker:
        from pipeline.cli.remote import ingest_remotely

        ingest_remotely(
            broker,
            where,
            collection=collection or None,
            include=include or (),
            exclude=exclude or (),
            batch_items=batch_items or None,
            keep_missing=keep_missing,
            max_delete_share=max_delete_share,
            retry_failed=retry_failed,
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
            keep_missing=keep_missing,
            max_delete_share=max_delete_share,
            retry_failed=retry_failed,
        )
        if dry_run:
            show_outlook(request, existing, store, ledger.book, as_json=as_json)
            return
        _check_source(request, deps)
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
    done_before = job.counts.scanned - job.counts.pending
    with JobProgress(done_before=done_before) as progress:

        def show(job: Job) -> None:
            progress.show(ProgressState.of(job))

        try:
            run_job(job, deps, limits, options, on_progress=show)
        except PictorError as err:
            error = err
        except KeyboardInterrupt:
            interrupted = True
    _print_outcome(job, deps, time.perf_counter() - started, as_json=as_json)
    if error is not None or interrupted:
        note("The job is unfinished; what is done is kept. Run the same command again to go on.")
        raise error or typer.Exit(EXIT_INTERRUPTED)
    done = deps.ledger.get_job(job.job_id)
    counts = done.counts
    if done.error:  # the job is done, but for what it did not dare to remove
        warn(done.error)
        raise typer.Exit(EXIT_UNFINISHED)
    if counts.failed > max_failure_rate * counts.scanned:
        warn(f"{counts.failed} of {counts.scanned} images failed, over --max-failure-rate {max_failure_rate}")
        raise typer.Exit(EXIT_UNFINISHED)


def _check_source(request: JobRequest, deps: Deps) -> None:
    # The first page of the listing: a bucket that is not there must be said before a job is made.
    first = next(deps.store.list_objects(request.bucket, request.prefix), None)
    may_be_a_slip = request.max_delete_share is None and not request.keep_missing
    if first is None and may_be_a_slip and holds_any(request, deps.ledger.book):
        raise ConfigError(
            f"{request.source} is empty, but the collection {request.collection} has images of it. Is it not "
            "mounted? To remove them all, add --max-delete-share 1; to keep them, --keep-missing"
        )


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
        f"{counts.ignored} ignored, {counts.removed} removed; {seconds:.1f} s, {rate} images/s"
    )
    if counts.failed and sys.stdout.isatty():
        note(f"Why they failed: pictor jobs failures {job_id}")

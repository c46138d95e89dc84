"""`pictor jobs`: list, show, retry, pause and cancel jobs."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from pipeline import wiring
from pipeline.capacity import Load
from pipeline.cli.outcome import print_counts
from pipeline.cli.output import note, write_json, write_table
from pipeline.cli.remote import wake_planner
from pipeline.cli.run_here import deps_of_job, finish, job_held_here
from pipeline.ports import WatchedLedger
from pipeline.service import move, show
from pipeline.service.access import local_caller
from pipeline.service.answers import failure_json, job_json
from pipeline.service.arguments import read_age
from pipeline.service.prune import prune_jobs
from pipeline.service.retry import retry_failures
from pipeline.settings import Settings
from pipeline.types import WORKERS, Job

app = typer.Typer(
    no_args_is_help=True, help="List jobs, show counts and failures, retry, pause, cancel and prune."
)

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job id, as `pictor jobs list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 50, as_json: AsJson = False
) -> None:
    """List jobs, newest first."""
    with wiring.open_ledger(Settings.from_env()) as ledger:
        jobs = show.list_jobs(ledger, local_caller(), limit=limit)
    if as_json:
        for job in jobs:
            write_json(job_json(job))
        return
    columns = (
        "id",
        "state",
        "scanned",
        "indexed",
        "unchanged",
        "failed",
        "pending",
        "removed",
        "collection",
        "source",
    )
    write_table(columns, [_job_row(job) for job in jobs])


@app.command("show")
def show_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job with its state, its counts, the time of each stage and the bottleneck."""
    settings = Settings.from_env()
    concurrency = wiring.concurrency_of(settings, Load())  # of workers with the settings of whoever asks
    with wiring.open_ledger(settings) as ledger:
        shown = show.show_job(job_id, ledger, concurrency, local_caller())
    fields = job_json(shown.job) | {
        "stage_seconds": dict(shown.seconds),
        "bottleneck": str(shown.bottleneck or ""),
    }
    if as_json:
        write_json(fields)
        return
    write_table(
        ("field", "value"), [(name, value) for name, value in fields.items() if value not in ("", None)]
    )


@app.command("failures")
def show_failures(job_id: JobId, as_json: AsJson = False) -> None:
    """Show each failed object with its stage, reason and detail."""
    with wiring.open_ledger(Settings.from_env()) as ledger:
        failures = show.show_failures(job_id, ledger, local_caller())
        if pruned_at := ledger.get_job(job_id).pruned_at:
            note(f"the failures of job {job_id} were pruned on {pruned_at:%Y-%m-%d}; their number was kept")
        if as_json:
            for failure in failures:
                write_json(failure_json(failure))
        else:
            rows = [(f.ref.key, f.stage, f.reason, f.detail) for f in failures]
            write_table(("key", "stage", "reason", "detail"), rows)


@app.command("retry")
def retry_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Try the failed objects of a job again. The process or the workers that ran the job do it."""
    settings = Settings.from_env()
    with wiring.open_ledger(settings) as ledger:
        if ledger.get_job(job_id).driver == WORKERS:
            _retry_by_workers(job_id, ledger, settings, as_json=as_json)
        else:
            _retry_here(job_id, ledger, settings, as_json=as_json)


@app.command("cancel")
def cancel_job(job_id: JobId) -> None:
    """Stop a job for good. Queued batches are skipped, and indexed images stay."""
    with wiring.open_ledger(Settings.from_env()) as ledger:
        move.cancel_job(job_id, ledger, local_caller())
    note(f"job {job_id} is cancelled")


@app.command("pause")
def pause_job(job_id: JobId) -> None:
    """Pause a job. Batches that are queued already are finished."""
    with wiring.open_ledger(Settings.from_env()) as ledger:
        move.pause_job(job_id, ledger, local_caller())
    note(f"job {job_id} is paused")


@app.command("resume")
def resume_job(job_id: JobId) -> None:
    """Resume a paused or failed job. For a running one, send lost messages again."""
    settings = Settings.from_env()
    with wiring.open_ledger(settings) as ledger:
        if ledger.get_job(job_id).driver == WORKERS:
            move.resume_job(job_id, ledger, local_caller())
            note(f"job {job_id} is running")
            wake_planner(job_id, ledger, settings)
        else:
            _resume_here(job_id, ledger, settings)


@app.command("prune")
def prune(
    older_than: Annotated[
        str,
        typer.Option(
            help="Jobs that ended so long ago, for example 90d or 48h. Default PICTOR_RETENTION_DAYS."
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count the rows that would be deleted.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Delete the batches and failures of old jobs. Counts stay, and so do rows that a retry needs."""
    settings = Settings.from_env()
    age = read_age(older_than) if older_than else timedelta(days=settings.retention_days)
    if not age and not older_than:
        note("PICTOR_RETENTION_DAYS is 0: nothing is pruned without --older-than")
        return
    with wiring.open_ledger(settings) as ledger:
        pruned = prune_jobs(ledger, local_caller(), older_than=age, dry_run=dry_run)
    if as_json:
        write_json(asdict(pruned))
        return
    verb = "would delete" if dry_run else "deleted"
    note(f"{verb} {pruned.batches} batches, {pruned.failures} failures and {pruned.jobs} refused submissions")


def _retry_by_workers(job_id: str, ledger: WatchedLedger, settings: Settings, *, as_json: bool) -> None:
    count = retry_failures(job_id, ledger, wiring.open_store(settings), local_caller())
    note(f"{count} objects of job {job_id} are tried again by the workers")
    if count:
        wake_planner(job_id, ledger, settings)
    print_counts(job_id, ledger.get_job(job_id).counts, 0.0, 0, as_json=as_json)


def _retry_here(job_id: str, ledger: WatchedLedger, settings: Settings, *, as_json: bool) -> None:
    with job_held_here(job_id, ledger, settings) as job, deps_of_job(job, ledger, settings) as deps:
        count = retry_failures(job_id, ledger, deps.store, local_caller())
        note(f"retrying {count} objects of job {job_id}")
        finish(ledger.get_job(job_id), deps, settings, max_failure_rate=1.0, as_json=as_json)


def _resume_here(job_id: str, ledger: WatchedLedger, settings: Settings) -> None:
    with job_held_here(job_id, ledger, settings) as job, deps_of_job(job, ledger, settings) as deps:
        resumed = move.resume_job(job_id, ledger, local_caller())
        note(f"job {job_id} is running in this process")
        finish(resumed, deps, settings, max_failure_rate=1.0, as_json=False)


def _job_row(job: Job) -> tuple[object, ...]:
    counts = job.counts
    numbers = (
        counts.scanned,
        counts.indexed,
        counts.unchanged,
        counts.failed,
        counts.pending,
        counts.removed,
    )
    return (job.job_id, job.state.value, *numbers, job.request.collection, job.request.location)

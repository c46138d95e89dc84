"""`pictor jobs`: what was done, what failed and why, and another try for what failed."""

from typing import Annotated

import typer

from pipeline import wiring
from pipeline.bottleneck import find_bottleneck
from pipeline.cli.ingest import finish
from pipeline.cli.output import note, write_json, write_table
from pipeline.embedded import job_lock, retry_failed
from pipeline.errors import ConfigError, TransientError
from pipeline.ports import Deps
from pipeline.public import failure_json, job_json
from pipeline.settings import Settings
from pipeline.types import Job, JobState

app = typer.Typer(no_args_is_help=True, help="List jobs, show their counts and failures, retry what failed.")

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job id, as `pictor jobs list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 50, as_json: AsJson = False
) -> None:
    """List jobs, newest first."""
    with wiring.open_ledger(Settings.from_env()) as ledger:
        jobs = ledger.list_jobs(limit=limit)
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
    """Show one job: its state, its counts, where the time went and what held it up."""
    settings = Settings.from_env()
    with wiring.open_ledger(settings) as ledger:
        job = ledger.get_job(job_id)
        seconds = dict(ledger.seconds(job_id))
    bottleneck = find_bottleneck(
        seconds,  # the threads are those of workers with the settings of whoever asks
        fetch_threads=settings.fetch_threads,
        decode_threads=settings.decode_threads,
    )
    fields = job_json(job) | {"stage_seconds": seconds, "bottleneck": str(bottleneck or "")}
    if as_json:
        write_json(fields)
        return
    write_table(
        ("field", "value"), [(name, value) for name, value in fields.items() if value not in ("", None)]
    )


@app.command("failures")
def show_failures(job_id: JobId, as_json: AsJson = False) -> None:
    """Show each object that failed, with the stage, the reason and the detail."""
    with wiring.open_ledger(Settings.from_env()) as ledger:
        ledger.get_job(job_id)
        failures = ledger.failures(job_id)
        if as_json:
            for failure in failures:
                write_json(failure_json(failure))
        else:
            rows = [(f.ref.key, f.stage, f.reason, f.detail) for f in failures]
            write_table(("key", "stage", "reason", "detail"), rows)


@app.command("retry")
def retry_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Try the failed objects of a job again, and only those."""
    settings = Settings.from_env()
    with (
        wiring.open_ledger(settings) as ledger,
        job_lock(settings.home / "locks", job_id),
        wiring.open_index(settings) as index,
    ):
        job = ledger.get_job(job_id)
        info = index.get_collection(job.request.collection)
        if info is None:
            raise ConfigError(
                f"job {job_id}: its collection {job.request.collection} does not exist any more"
            )
        embedder = wiring.lazy_model(settings.model, settings, existing=info, batches=settings.batch_threads)
        index.create_collection(info.name, embedder.spec)  # refuses another model
        deps = Deps(store=wiring.open_store(settings), index=index, embedder=embedder, ledger=ledger)
        note(f"retrying {retry_failed(job, deps)} objects of job {job_id}")
        finish(ledger.get_job(job_id), deps, settings, max_failure_rate=1.0, as_json=as_json)


@app.command("cancel")
def cancel_job(job_id: JobId) -> None:
    """Stop a job: nothing more is planned, batches still queued are skipped. What is indexed stays."""
    _move(job_id, JobState.CANCELLED, {JobState.RUNNING, JobState.PAUSED, JobState.FAILED})


@app.command("pause")
def pause_job(job_id: JobId) -> None:
    """Plan nothing more for now; batches already queued are finished."""
    _move(job_id, JobState.PAUSED, {JobState.RUNNING})


@app.command("resume")
def resume_job(job_id: JobId) -> None:
    """Go on with a paused or failed job, or put a running one's lost messages back on their queue."""
    settings = Settings.from_env()
    with wiring.open_ledger(settings) as ledger:
        ledger.forget_published(job_id)
    _move(job_id, JobState.RUNNING, {JobState.PAUSED, JobState.FAILED, JobState.RUNNING})
    if settings.broker_url.get_secret_value():
        _wake_planner(job_id, settings)


def _move(job_id: str, state: JobState, allowed: set[JobState]) -> None:
    with wiring.open_ledger(Settings.from_env()) as ledger:
        job = ledger.get_job(job_id)
        if job.state not in allowed:
            states = ", ".join(sorted(allowed))
            raise ConfigError(f"job {job_id} is {job.state}; only a job that is {states} can become {state}")
        ledger.set_state(job_id, state)
    note(f"job {job_id} is {state}")


def _wake_planner(job_id: str, settings: Settings) -> None:
    from workers.app import make_app
    from workers.planner import wake_planner
    from workers.publish import Publisher

    publisher = Publisher(make_app(settings), preparation=settings.preparation)
    try:
        with wiring.open_ledger(settings) as ledger:
            wake_planner(job_id, ledger, publisher)
    except TransientError as err:  # the plan workers look for such jobs themselves
        note(f"{err}; a planner takes the job up within a minute of the broker's return")


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
    return (job.job_id, job.state.value, *numbers, job.request.collection, job.request.source)

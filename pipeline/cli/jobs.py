"""`pictor jobs`: list, show, follow, retry, pause and cancel jobs."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Protocol

import typer

from pipeline.cli.output import note, write_json, write_table
from pipeline.cli.running_service import find_service

app = typer.Typer(
    no_args_is_help=True, help="List jobs, show counts and failures, retry, pause, cancel and prune."
)

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job id, as `pictor jobs list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Fields = Mapping[str, object]

COLUMNS = (
    "id", "state", "scanned", "indexed", "unchanged", "failed", "pending", "removed", "collection", "source",
)  # fmt: skip


OF_FACES = ("faces_found", "without_faces")  # shown of jobs that have found some, or images without one


class Jobs(Protocol):
    """The jobs of a ledger, opened here or asked for through a service. Fields are those of `job_json`."""

    def list(self, limit: int, *, of_one_image: bool) -> Iterable[Fields]: ...

    def show(self, job_id: str) -> Fields: ...

    def failures(self, job_id: str) -> Iterable[Fields]: ...

    def pause(self, job_id: str) -> None: ...

    def cancel(self, job_id: str) -> None: ...

    def retry(self, job_id: str, *, as_json: bool) -> None:
        """Retry and follow it to its end, unless the workers do."""
        ...

    def resume(self, job_id: str) -> None:
        """Resume and follow it to its end, unless the workers do."""
        ...

    def wait(self, job_id: str, *, as_json: bool) -> None:
        """Return when the job is over. Raises as `settle` does."""
        ...


def _opened() -> AbstractContextManager[Jobs]:
    if (service := find_service()) is not None:
        from pipeline.cli.jobs_there import jobs_there

        return jobs_there(service)
    from pipeline.cli.jobs_here import jobs_here

    return jobs_here()


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 50,
    of_one_image: Annotated[
        bool, typer.Option("--all", help="Also jobs of images that were indexed one by one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with _opened() as jobs:
        found = list(jobs.list(limit, of_one_image=of_one_image))
    if as_json:
        for job in found:
            write_json(job)
        return
    write_table(COLUMNS, [[job["job_id" if name == "id" else name] for name in COLUMNS] for job in found])


@app.command("show")
def show_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job with its state, its counts, the time of each stage and the bottleneck."""
    with _opened() as jobs:
        fields = jobs.show(job_id)
    if as_json:
        write_json(fields)
        return
    blank: tuple[object, ...] = ("", None)
    shown = [(name, value) for name, value in fields.items() if value not in blank]
    if not any(fields.get(name) for name in OF_FACES):
        shown = [(name, value) for name, value in shown if name not in OF_FACES]
    write_table(("field", "value"), shown)


@app.command("failures")
def show_failures(job_id: JobId, as_json: AsJson = False) -> None:
    """Show each failed object with its stage, reason and detail."""
    with _opened() as jobs:
        if pruned_at := jobs.show(job_id)["pruned_at"]:
            day = str(pruned_at)[:10]
            note(f"the failures of job {job_id} were pruned on {day}; their number was kept")
        failures = jobs.failures(job_id)
        if as_json:
            for failure in failures:
                write_json(failure)
        else:
            columns = ("key", "stage", "reason", "detail")
            write_table(columns, [[failure[name] for name in columns] for failure in failures])


@app.command("wait")
def wait_for_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Wait until a job is over. Exits with 1 when it could not be finished."""
    with _opened() as jobs:
        jobs.wait(job_id, as_json=as_json)


@app.command("retry")
def retry_job(job_id: JobId, as_json: AsJson = False) -> None:
    """Try the failed objects of a job again. The process or the workers that ran the job do it."""
    with _opened() as jobs:
        jobs.retry(job_id, as_json=as_json)


@app.command("cancel")
def cancel_job(job_id: JobId) -> None:
    """Stop a job for good. Queued batches are skipped, and indexed images stay."""
    with _opened() as jobs:
        jobs.cancel(job_id)
    note(f"job {job_id} is cancelled")


@app.command("pause")
def pause_job(job_id: JobId) -> None:
    """Pause a job. Batches that are queued already are finished."""
    with _opened() as jobs:
        jobs.pause(job_id)
    note(f"job {job_id} is paused")


@app.command("resume")
def resume_job(job_id: JobId) -> None:
    """Resume a paused or failed job. For a running one, send lost messages again."""
    with _opened() as jobs:
        jobs.resume(job_id)


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
    from pipeline.cli.prune_here import prune_here

    prune_here(older_than, dry_run=dry_run, as_json=as_json)

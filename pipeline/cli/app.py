"""The tree of commands. Each has a file of its own, which imports the libraries it needs when it runs."""

from importlib.metadata import version
from typing import Annotated

import typer

from pipeline.cli import (
    audit,
    collections,
    demo,
    doctor,
    fleet,
    ingest,
    jobs,
    keys,
    models,
    search,
    serve,
    verify,
)
from pipeline.cli.output import write_line
from pipeline.logs import configure_logging

app = typer.Typer(
    name="pictor",
    help="Keep a searchable index of every image in a folder or bucket, and find images by example.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks print local variables, credentials among them
    add_completion=False,
)
app.command("ingest", epilog=ingest.NOTES)(ingest.ingest)
app.command("search")(search.search)
app.command("serve")(serve.serve)
app.add_typer(jobs.app, name="jobs")
app.add_typer(collections.app, name="collections")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(models.app, name="models")
app.command("verify")(verify.verify)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.command("init")(fleet.init)
app.command("worker")(fleet.worker)
app.command("sweep")(fleet.sweep)
app.add_typer(fleet.dead_app, name="dead")


def _print_version(wanted: bool) -> None:
    if wanted:
        write_line(f"pictor {version('pictor')}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log each batch to standard error.")
    ] = False,
) -> None:
    configure_logging("INFO" if verbose else "ERROR")

"""`pictor verifications`: what persons decide of the matches of searches."""

import typer

from pipeline import wiring_audit
from pipeline.cli.output import note
from pipeline.service.access import Permission, local_caller, require
from pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="See and decide which matches of searches are verified.")


@app.callback()
def verifications() -> None: ...  # keeps `rebuild` a command of a group


@app.command("rebuild")
def rebuild() -> None:
    """Make the tables of verifications anew, of the entries of the log."""
    require(local_caller(), Permission.OPERATE)
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        log.rebuild_verifications()
    note("the tables of verifications are made anew")

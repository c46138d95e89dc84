"""`pictor audit restore`: after the ledger was put back to an older state."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import wiring_audit
from pipeline.cli.exit_codes import EXIT_UNFINISHED
from pipeline.cli.output import note, write_line
from pipeline.cli.running_service import find_service
from pipeline.errors import ArgumentError
from pipeline.service.access import Permission, local_caller, require
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.audit.loss import Loss
    from pipeline.audit.note import VerifierKey

CANNOT = (
    "cannot be brought back: what these entries said. Tiles have digests of records, and not the records.\n"
    "if you have a newer backup of the ledger, restore that one instead"
)


def restore(
    keep: Annotated[
        Path | None,
        typer.Option(help="With --yes: a folder that is not there yet, for what is left of the old log."),
    ] = None,
    origin: Annotated[
        str, typer.Option(help="Name of the new log. Needed where PICTOR_AUDIT_ORIGIN or _KEY is set.")
    ] = "",
    new_key: Annotated[
        Path | None, typer.Option(help="File with a new PICTOR_AUDIT_KEY. Needed where one is set.")
    ] = None,
    tiles: Annotated[
        str, typer.Option(help="A new place for PICTOR_AUDIT_TILES. Needed where one is set.")
    ] = "",
    checkpoints: Annotated[
        str, typer.Option(help="A new place for PICTOR_AUDIT_CHECKPOINTS. Needed where one is set.")
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Begin a new log. Stop Pictor everywhere first.")
    ] = False,
) -> None:
    """Say what a ledger that was put back lacks of the log, and begin a new log with --yes.

    It compares the ledger with the checkpoints and tiles that are published. Without --yes it changes
    nothing, and exits with 1 if entries are missing. With --yes it first copies what the ledger has of the
    old log to the folder of --keep. Then it empties the log, with all matches to verify. The first entry of
    the new log says which entries of the old one are lost.
    """
    from pipeline.cli.audit_restore_here import begin_new_log, is_unfinished, new_settings

    require(local_caller(), Permission.OPERATE)
    settings = Settings.from_env()
    new = new_settings(settings, origin=origin, new_key=new_key, tiles=tiles, checkpoints=checkpoints)
    if is_unfinished(settings):
        _end_unfinished(settings, yes=yes)
        return
    loss, key = _find_loss(settings)
    if loss is None:
        if yes:
            raise ArgumentError("the ledger has every entry that was published, so its log goes on as it is")
        note("the ledger has every entry that was published")
        return
    _print_loss(loss)
    if not yes:
        note("to begin a new log, stop Pictor everywhere and run this with --keep FOLDER --yes")
        raise typer.Exit(EXIT_UNFINISHED)
    if keep is None:
        raise ArgumentError("--yes needs --keep FOLDER, for what is left of the old log")
    _check_nothing_runs()
    vkey = begin_new_log(loss, key, settings, new, keep)
    note(f"what the ledger had of the old log is in {keep}")
    note(f"the new log has the key {vkey}; publish it as you did the old one")
    for line in _to_set(settings, new, new_key):
        note(f"before you start Pictor, set {line}")


def _end_unfinished(settings: Settings, *, yes: bool) -> None:
    from pipeline.cli.audit_restore_here import end_unfinished

    if not yes:
        note(
            "an earlier run with --yes was cut off; stop Pictor everywhere and run this with --yes to end it"
        )
        raise typer.Exit(EXIT_UNFINISHED)
    _check_nothing_runs()
    if end_unfinished(settings):
        note("the new log of an earlier run is in its place; `pictor audit key` prints its key")
        return
    note("an earlier run had not begun a new log, and all is as it was; run this again to begin one")
    raise typer.Exit(EXIT_UNFINISHED)


def _find_loss(settings: Settings) -> "tuple[Loss | None, VerifierKey]":
    from pipeline.audit.loss import find_loss

    with wiring_audit.open_audit_log(settings) as log:
        key = log.key.verifier
        published = wiring_audit.all_checkpoints(settings, key)
        return find_loss(log, published, wiring_audit.published_tree(settings, key)), key


def _print_loss(loss: "Loss") -> None:
    newest = loss.newest.checkpoint
    write_line(f"the ledger has {loss.ledger_size} entries of the log {newest.origin}")
    write_line(f"missing: {loss.missing} entries, {loss.first} to {newest.size - 1}")
    for one in loss.lacking:
        write_line(f"  {one.name} is of {one.checkpoint.size} entries")
    write_line(
        f"the published tiles prove {loss.proved} of the missing entries to whoever kept their records"
    )
    write_line(CANNOT)


def _check_nothing_runs() -> None:
    service = find_service()
    if service is not None and service.is_beside:
        raise ArgumentError(f"the service at {service.url} uses this ledger; stop it first")


def _to_set(old: Settings, new: Settings, new_key: Path | None) -> list[str]:
    names = {"PICTOR_AUDIT_TILES": "audit_tiles", "PICTOR_AUDIT_CHECKPOINTS": "audit_checkpoints"}
    lines = [
        f"{variable}={getattr(new, name)}"
        for variable, name in {"PICTOR_AUDIT_ORIGIN": "audit_origin", **names}.items()
        if getattr(new, name) != getattr(old, name)
    ]
    return [*lines, *([f"PICTOR_AUDIT_KEY to the text in {new_key}"] if new_key else [])]

"""`pictor audit`: verify, prove, search, export and erase what the transparency log holds."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import wiring_audit
from pipeline.cli import audit_report, audit_restore, audit_review, audit_search
from pipeline.cli.audit_options import Asked, Case, Kind, Person, Since, Until
from pipeline.cli.audit_receipts import check_receipts
from pipeline.cli.exit_codes import EXIT_UNFINISHED
from pipeline.cli.output import fail, note, write_json, write_line
from pipeline.errors import ArgumentError
from pipeline.service.access import Permission, local_caller, require
from pipeline.service.arguments import as_utc, read_age
from pipeline.settings import Settings
from pipeline.types.audit import AuditQuery

if TYPE_CHECKING:
    from pipeline.audit.checkpoint import NamedCheckpoint
    from pipeline.audit.note import VerifierKey
    from pipeline.audit.verify import Verified

app = typer.Typer(
    no_args_is_help=True,
    help="Verify, prove, show, search, export and erase what the transparency log holds.",
)

app.command("search")(audit_search.search)
app.command("report")(audit_report.report)
app.command("review")(audit_review.review)
app.command("restore")(audit_restore.restore)


@app.command("verify")
def verify(
    since: Annotated[
        Path | None, typer.Option(help="File of a checkpoint. Verify only what came after it.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="File of a checkpoint that the log must contain. Repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Verify every record, tile and checkpoint of the log. Exits with 1 at the first thing that is wrong.

    It names the first bad entry. Only a checkpoint that is kept elsewhere shows that the log was rolled back
    as a whole: set PICTOR_AUDIT_CHECKPOINTS or give one with --checkpoint.
    """
    from pipeline.audit.verify import verify_log

    settings = Settings.from_env()
    require(local_caller(), Permission.AUDIT)
    with wiring_audit.open_audit_log(settings) as log:
        key = log.key.verifier
        others = wiring_audit.published_checkpoints(settings, key)
        found = verify_log(
            log,
            key,
            place=next(iter(wiring_audit.audit_places(settings)), None),
            others=[*others, *(_read_checkpoint(path, key) for path in checkpoint or [])],
            since=_read_checkpoint(since, key) if since else None,
            verifications=log.verifications,
        )
    _print_verified(found, as_json=as_json)
    if found.faults:
        raise typer.Exit(EXIT_UNFINISHED)


app.command("check-receipt")(check_receipts)


@app.command("prove")
def prove(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="The id of a record.")],
    out: Annotated[Path | None, typer.Option(help="File to write. Default standard output.")] = None,
) -> None:
    """Print a .tlog-proof: that the record is in the log, under the newest checkpoint."""
    from pipeline.cli.rights import share
    from pipeline.service.audit import prove_record

    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        receipt = prove_record(record, log, local_caller())
    if out is None:
        write_line(receipt.proof.removesuffix("\n"))
        return
    out.write_text(receipt.proof, encoding="utf-8")
    share(out)
    note(f"entry {receipt.index}: proof written to {out}")


@app.command("show")
def show(record: Annotated[str, typer.Argument(metavar="RECORD", help="The id of a record.")]) -> None:
    """Show one record as JSON. Reading the log is an entry of its own."""
    from pipeline.service.audit import show_record
    from pipeline.service.audit_search import entry_json

    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        write_json(entry_json(show_record(record, log, local_caller())))


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that is not there yet.")],
    since: Since = None,
    until: Until = None,
) -> None:
    """Write records as JSON lines, with the whole tree, so that they can be checked elsewhere.

    python -m pipeline.audit.offline FOLDER --vkey KEY checks them. So do programs of others.
    """
    from pipeline.cli.audit_export import write_log
    from pipeline.service.audit import export_records

    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        lines = export_records(log, local_caller(), since=as_utc(since), until=as_utc(until))
        count, size = write_log(log, folder, lines)
    note(f"{count} of {size} entries written to {folder}; the key of the log is {log.key.verifier}")


@app.command("erase")
def erase(
    reason: Annotated[str, typer.Option(help="Why. It stands in the entry of the erasure.")] = "",
    record: Annotated[list[str] | None, typer.Option(help="Id of a record. You can repeat it.")] = None,
    due: Annotated[
        bool, typer.Option("--due", help="Records whose policy keeps them no longer. Run it once a day.")
    ] = False,
    older_than: Annotated[str, typer.Option(help="Records whose acts began longer ago, such as 180d.")] = "",
    kind: Kind = None,
    actor: Person = "",
    case: Case = "",
    probe: Annotated[str, typer.Option(help="SHA-256 of the picture that was searched with.")] = "",
) -> None:
    """Erase records with their salts, for good. The tree stays as it is, and the erasure is an entry.

    Nobody can tell any more what the records said. Whoever kept a record and its proof can still prove it.
    """
    from pipeline.service.audit import erase_found, erase_records
    from pipeline.service.audit_retention import erase_due

    settings = Settings.from_env()
    until = datetime.now(UTC) - read_age(older_than) if older_than else None
    query = Asked(kind=kind, actor=actor, case=case, probe_sha256=probe, until=until).query
    if bool(record) + due + (query != AuditQuery()) != 1:
        raise ArgumentError("give the records with --record, a filter such as --older-than, or --due")
    with wiring_audit.open_audit_log(settings) as log:
        if due:
            erased = erase_due(log, local_caller(), now=datetime.now(UTC), held_cases=settings.held_cases)
        elif record:
            erase_records(record, log, local_caller(), reason=reason)
            erased = len(record)
        else:
            erased = erase_found(query, log, local_caller(), reason=reason)
    note(f"{erased} records erased")


@app.command("key")
def show_key() -> None:
    """Print the public key of the log, which is made at its first use."""
    write_line(str(wiring_audit.audit_key(Settings.from_env()).verifier))


def _read_checkpoint(path: Path, key: "VerifierKey") -> "NamedCheckpoint":
    from pipeline.audit.checkpoint import NamedCheckpoint, open_checkpoint
    from pipeline.audit.note import NoteError

    try:
        return NamedCheckpoint(name=str(path), checkpoint=open_checkpoint(path.read_text("utf-8"), key))
    except (OSError, UnicodeDecodeError, NoteError) as err:
        raise ArgumentError(f"{path}: no checkpoint of this log: {err}") from err


def _print_verified(found: "Verified", *, as_json: bool) -> None:
    if as_json:
        faults = [{"entry": fault.index, "text": fault.text} for fault in found.faults]
        names = ("size", "entries", "erased", "tiles", "checkpoints")
        counts = {name: getattr(found, name) for name in names}
        write_json(counts | {"faults": faults})
        return
    for fault in found.faults:
        fail(fault.text)
    write_line(
        f"{found.entries} entries, {found.erased} of them erased, {found.tiles} tiles and "
        f"{found.checkpoints} checkpoints verified; the tree has {found.size} entries"
    )

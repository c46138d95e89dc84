"""`pictor audit check-receipt`: what a searcher keeps is checked with the public key of the log alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.exit_codes import EXIT_UNFINISHED
from pipeline.cli.output import fail, write_line
from pipeline.errors import ArgumentError

if TYPE_CHECKING:
    from pipeline.audit.note import VerifierKey


def check_receipts(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What a search wrote with --receipt.")],
    vkey: Annotated[str, typer.Option(help="Public key of the log, as text or as a file.")],
    record: Annotated[
        Path | None, typer.Option(help="File with the record as JSON. FILE must then have one receipt.")
    ] = None,
) -> None:
    """Check receipts without the log: that each entry is in it, under a signed checkpoint.

    With --record also that the entry is of this record. Exits with 1 at the first thing that is wrong.
    """
    from pipeline.audit.receipt_file import ReceiptError, check_receipt, check_record, read_receipts

    key = _read_key(vkey)
    try:
        receipts = list(read_receipts(_read(file).decode()))
        if not receipts:
            raise ReceiptError("there is no receipt in it; `pictor search --receipt FILE` writes one a line")
        if record is not None and len(receipts) > 1:
            raise ReceiptError(f"there are {len(receipts)} receipts in it; --record is for a file with one")
        for receipt in receipts:
            checkpoint = check_receipt(receipt, key)
            if record is not None:
                check_record(receipt, _read(record))
            write_line(f"{receipt.record_id}: entry {receipt.proof.index} of {checkpoint.size} of {key.name}")
    except ValueError as err:
        fail(f"{file}: {err}")
        raise typer.Exit(EXIT_UNFINISHED) from err


def _read_key(text: str) -> "VerifierKey":
    from pipeline.audit.note import parse_verifier_key

    try:
        return parse_verifier_key(Path(text).read_text("utf-8") if Path(text).is_file() else text)
    except (OSError, ValueError) as err:
        raise ArgumentError(f"--vkey: no public key of a log: {err}") from err


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise ArgumentError(f"{path} cannot be read: {err.strerror}") from err

"""`pictor verify`: compare the index with the version book."""

from typing import Annotated

import typer

from pipeline import wiring
from pipeline.cli.exit_codes import EXIT_UNFINISHED
from pipeline.cli.output import note, write_json, write_line
from pipeline.ingest.verify import Verification
from pipeline.service import verify as verify_use_case
from pipeline.service.access import local_caller
from pipeline.settings import Settings

FIRST_IDS = 5  # of each kind of difference

_WORDS = {
    "not_in_index": "in the book as indexed, but not in the index",
    "not_in_book": "in the index, but not in the book",
    "other_version": "in the index in another version than the book says",
    "outdated_rows": "in the index, although the present version of the object failed",
}


def verify(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="A collection's name.")],
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Repair the differences. The index wins over the version book."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare a collection's index with its version book. Exits with 1 when they differ.

    While jobs run, batches that are being written may show up as differences.
    """
    settings = Settings.from_env()
    with wiring.open_index(settings) as index, wiring.open_ledger(settings) as ledger:
        found = verify_use_case.verify(
            collection, index, ledger.book, local_caller(), repair=repair, first=FIRST_IDS
        )
    _print(collection, found, repair=repair, as_json=as_json)
    if found.differences and not repair:
        raise typer.Exit(EXIT_UNFINISHED)


def _print(collection: str, found: Verification, *, repair: bool, as_json: bool) -> None:
    if as_json:
        counts = {kind.value: count for kind, count in found.counts.items()}
        ids = {kind.value: ids for kind, ids in found.first_ids.items()}
        fields = {"collection": collection, "compared": found.compared, "differences": found.differences}
        write_json({**fields, **counts, "first_ids": ids, "repaired": repair and found.differences > 0})
        return
    write_line(f"{collection}: {found.compared} images compared, {found.differences} differ")
    for kind, count in found.counts.items():
        if count:
            write_line(f"{count} {_WORDS[kind.value]}: {', '.join(found.first_ids[kind])}")
    if found.differences:
        note("repaired" if repair else "--repair mends it")

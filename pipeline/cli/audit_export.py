"""Write a log to a folder, so that it can be kept and checked elsewhere."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.ledger.sql_audit_log import SqlAuditLog
from pipeline.audit.export import RECORDS, write_tree
from pipeline.audit.place import Place
from pipeline.errors import ArgumentError


def write_log(log: SqlAuditLog, folder: Path, lines: Iterable[bytes]) -> tuple[int, int]:
    """Records and tree. Returns how many records were written, and how many entries the tree has.

    Args:
        lines: of the records, see `audit.export`.

    Raises:
        ArgumentError: the folder is there already, or cannot be made.
    """
    _make_folder(folder)
    count = 0
    with (folder / RECORDS).open("wb") as file:
        for line in lines:
            file.write(line)
            count += 1
    place = Place(store=FolderStore(), bucket=str(folder.resolve()), prefix="", url=f"{folder}/")
    return count, write_tree(log, place, log.key.verifier)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as err:
        raise ArgumentError(f"folder {folder} cannot be made: {err.strerror}") from err

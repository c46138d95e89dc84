"""The word that a copy was in step with Milvus Lite's files: written last, removed first."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1
NAME = "stamp.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    state: str  # of Milvus Lite's files
    dim: int
    folder: str  # where the files of the copy are
    sizes_bytes: Mapping[str, int]  # of each file. Bytes behind them were written later
    format: int = FORMAT


def read_stamp(home: Path) -> Stamp | None:
    """None when there is none, or it was made by another version."""
    try:
        fields = json.loads((home / NAME).read_bytes())
        stamp = Stamp(**fields)
    except (OSError, ValueError, TypeError):
        return None
    return stamp if stamp.format == FORMAT else None


def write_stamp(home: Path, stamp: Stamp) -> None:
    """All of it or nothing, also in a power cut."""
    written = home / f"{NAME}.new"
    with written.open("w") as file:
        json.dump(asdict(stamp), file)
        file.flush()
        os.fsync(file.fileno())
    written.replace(home / NAME)
    _sync_folder(home)


def remove_stamp(home: Path) -> None:
    """Safe to run twice."""
    if (home / NAME).exists():
        (home / NAME).unlink()
        _sync_folder(home)  # a stamp that comes back after a power cut would vouch for overwritten bytes


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

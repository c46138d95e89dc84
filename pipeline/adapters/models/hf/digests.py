"""The note beside a fetched model that says what its files were."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.adapters.models.hf.folder import KEPT_SUFFIXES, ModelFolder, open_folder, read_json
from pipeline.adapters.models.weights import digest_file
from pipeline.adapters.models.whole_file import write_whole
from pipeline.errors import ModelError

DIGESTS = "pictor-digests.json"
_SHA256 = re.compile("[0-9a-f]{64}")


def write_digests(folder: Path, *, name: str, commit: str, files: Mapping[str, str]) -> None:
    """Whole or not at all. Args: `files` maps names to SHA-256. Raises ModelError: it cannot be written."""
    note = {"model": name, "commit": commit, "files": dict(sorted(files.items()))}
    try:
        write_whole(folder / DIGESTS, f"{json.dumps(note, indent=1)}\n".encode())
    except OSError as err:
        raise ModelError(f"{name}: {folder / DIGESTS} cannot be written: {err.strerror}") from err


def open_checked(path: Path, name: str) -> ModelFolder:
    """Raises ModelError: as `open_folder` and `check_digests` do."""
    folder = open_folder(path, name)
    check_digests(path, name=name)
    return folder


def check_digests(folder: Path, *, name: str) -> None:
    """Nothing is checked in a folder without a note.

    Raises:
        ModelError: a file is not what it was when it was fetched.
    """
    if not (folder / DIGESTS).is_file():
        return
    for file, promised in read_digests(folder / DIGESTS, name=name).items():
        path = folder / file
        if not path.is_file():
            raise ModelError(f"{name}: {path}, which {DIGESTS} names, is not there")
        if (found := digest_file(path)) != promised:
            raise ModelError(f"{name}: {path}: SHA-256 is {found}, {promised} was fetched")


def read_digests(note: Path, *, name: str) -> Mapping[str, str]:
    """SHA-256 by the file's name. Raises ModelError: damaged, or it names what no model folder holds."""
    files = read_json(note, name).get("files")
    if not isinstance(files, dict):
        raise ModelError(f"{name}: {note} names no files")
    for file, digest in files.items():
        if Path(file).name != file or not file.endswith(KEPT_SUFFIXES):
            kinds = ", ".join(KEPT_SUFFIXES)
            raise ModelError(
                f"{name}: {note} names {file!r}; names of files that end in {kinds} were expected"
            )
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise ModelError(f"{name}: {note} has {str(digest)[:80]!r} for {file}, a SHA-256 was expected")
    return files

"""Files that other processes see whole, as they were before, or not at all."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PART = ".part-"
_LEFT_ALONE_S = 3600.0  # a part that nobody has written to for so long is that of a process that was killed


@contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write. It takes its place at the end of the block, unless that raises. Makes the folder.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_parts(path.parent)
    descriptor, name = tempfile.mkstemp(prefix=_PART, dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        part.chmod(0o644)  # mkstemp's 0600 would hide a shared cache from other users
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, body: bytes) -> None:
    """Raises OSError."""
    with open_whole(path) as file:
        file.write(body)


def _remove_left_parts(folder: Path) -> None:
    """Of weights they can be large. Parts with other names are kept: a download goes on with them."""
    for part in folder.glob(f"{_PART}{'?' * 8}"):  # as mkstemp names them
        try:
            if time.time() - part.stat().st_mtime > _LEFT_ALONE_S:
                part.unlink()
        except OSError:  # another process was first, or it is another user's
            continue

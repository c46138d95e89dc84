"""Files that other processes see whole, as they were before, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write. It takes its place at the end of the block, unless that raises. Makes the folder.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".part-", dir=path.parent)
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

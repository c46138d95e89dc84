"""Open files below a folder, step by step from an open directory. No step follows a link."""

import errno
import os
from dataclasses import dataclass

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Passing through a directory takes no right to read it: a home below /home of mode 711 is reached.
_PASS = DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)


@dataclass(frozen=True, slots=True)
class Root:
    """An open folder. `path` is absolute and holds no link."""

    path: str
    descriptor: int


def open_folder(path: str) -> int:
    """Open an absolute path without links, to pass through. The caller closes the result."""
    root = os.open("/", _PASS)
    try:
        return open_below(root, [part for part in path.encode().split(b"/") if part])
    finally:
        os.close(root)


def open_below(directory: int, parts: list[bytes]) -> int:
    """Open a sub-directory to pass through. The caller closes the result."""
    current = os.dup(directory)
    for part in parts:
        try:
            deeper = os.open(part, _PASS, dir_fd=current)
        finally:
            os.close(current)
        current = deeper
    return current

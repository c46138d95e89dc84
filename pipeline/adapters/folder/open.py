"""Open files below a folder, step by step from an open directory. No step follows a link."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
DENIED = frozenset({errno.EACCES, errno.EPERM})
DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Passing through a directory takes no right to read it: a home below /home of mode 711 is reached.
_PASS = DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemCalls:
    """How a folder is read. Tests pass calls that fail as disks and networks do."""

    open: Callable[..., int] = os.open
    stat: Callable[..., os.stat_result] = os.stat
    fstat: Callable[[int], os.stat_result] = os.fstat
    read: Callable[[int, int], bytes] = os.read
    scandir: Callable[[int], Any] = os.scandir
    realpath: Callable[..., Any] = os.path.realpath


@dataclass(frozen=True, slots=True)
class Root:
    """An open folder. `path` is absolute and holds no link."""

    path: str
    descriptor: int
    calls: SystemCalls


def open_folder(path: str, calls: SystemCalls) -> int:
    """Open an absolute path without links, to pass through. The caller closes the result."""
    root = calls.open("/", _PASS)
    try:
        return open_below(root, [part for part in path.encode().split(b"/") if part], calls)
    finally:
        os.close(root)


def open_below(directory: int, parts: list[bytes], calls: SystemCalls) -> int:
    """Open a sub-directory to pass through. The caller closes the result."""
    current = os.dup(directory)
    for part in parts:
        try:
            deeper = calls.open(part, _PASS, dir_fd=current)
        finally:
            os.close(current)
        current = deeper
    return current

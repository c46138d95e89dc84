"""Walk a folder as S3 would list it: every regular file, in byte order of the whole key.

Safety: every directory is opened relative to its parent and no step follows a link, so a link that appears
while we walk leads nowhere. Links, pipes, sockets and devices are never opened and never listed. One
descriptor and the names of one directory are held per level.
"""

import errno
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.adapters.folder_keys import key_of_name, name_of_key
from pipeline.types import ObjectRef

PART_PREFIX = ".pictor-part-"  # files that `put` has not finished; a crash may leave one
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Passing through a directory takes no right to read it: a home below /home of mode 711 is reached.
_PASS = _DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
_READ = _DIRECTORY | os.O_RDONLY

logger = logging.getLogger(__name__)


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


def version_of(status: os.stat_result) -> str:
    """A file's ETag: time of change and size, hexadecimal."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


@dataclass(slots=True)
class _Level:
    descriptor: int
    key: str  # "" or "a/b/"
    names: Iterator[str]  # keys relative to this level, sorted; those of directories end in "/"


@dataclass(frozen=True, slots=True)
class _Range:
    """The keys that are asked for."""

    prefix: str
    start_after: str

    def holds(self, key: str) -> bool:
        return key > self.start_after and key.startswith(self.prefix)

    def may_hold_some_of(self, directory: str) -> bool:
        # Every key in it begins with `directory`. If that sorts before `start_after` without being the
        # beginning of it, the whole subtree does.
        after = directory >= self.start_after or self.start_after.startswith(directory)
        return after and (directory.startswith(self.prefix) or self.prefix.startswith(directory))


def walk_folder(bucket: str, root: int, prefix: str, start_after: str) -> Iterator[ObjectRef]:
    """List below an open directory, which stays open.

    What cannot be read is listed without an ETag, so that it is counted and fails when it is read, instead
    of vanishing: a file in a directory that may not be entered, or the directory itself as "its/key/".

    Raises:
        OSError: the root cannot be read, or the directory that holds all of `prefix` or `start_after`.
    """
    wanted = _Range(prefix, start_after)
    levels = [_read_level(root, b".", "")]
    try:
        while levels:
            level = levels[-1]
            name = next(level.names, None)
            if name is None:
                os.close(levels.pop().descriptor)
                continue
            found = (
                _enter(bucket, level, name, wanted)
                if name.endswith("/")
                else _file(bucket, level, name, wanted)
            )
            if isinstance(found, _Level):
                levels.append(found)
            elif found:
                yield found
    finally:
        for level in levels:
            os.close(level.descriptor)


def _enter(bucket: str, level: _Level, name: str, wanted: _Range) -> _Level | ObjectRef | None:
    key = level.key + name
    if not wanted.may_hold_some_of(key):
        return None
    try:
        return _read_level(level.descriptor, _raw(name[:-1]), key)
    except OSError as err:
        if err.errno in GONE:
            return None  # removed or replaced since its parent was read
        if not wanted.holds(key):
            raise OSError(err.errno, "cannot be read", key) from err
        logger.warning("directory cannot be read", extra={"folder": bucket, "key": key})
        return ObjectRef(bucket=bucket, key=key, etag="", size_bytes=0)


def _read_level(parent: int, name: bytes, key: str) -> _Level:
    descriptor = os.open(name, _READ, dir_fd=parent)
    try:
        return _Level(descriptor, key, iter(_sorted_names(descriptor)))
    except OSError:
        os.close(descriptor)
        raise


def _sorted_names(descriptor: int) -> list[str]:
    """Names in key order: "a-b" < "a.jpg" < "a/…" < "a0", hence a directory sorts with its slash."""
    names = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            key = key_of_name(os.fsencode(entry.name))
            if entry.is_dir(follow_symlinks=False):
                names.append(key + "/")
            elif entry.is_file(follow_symlinks=False) and not key.startswith(PART_PREFIX):
                names.append(key)
    names.sort()  # by code point, which is the byte order of UTF-8
    return names


def _file(bucket: str, level: _Level, name: str, wanted: _Range) -> ObjectRef | None:
    key = level.key + name
    if not wanted.holds(key):
        return None
    try:
        status = os.stat(_raw(name), dir_fd=level.descriptor, follow_symlinks=False)
    except PermissionError:
        return ObjectRef(bucket=bucket, key=key, etag="", size_bytes=0)
    except FileNotFoundError:
        return None  # removed since the directory was read
    if not stat.S_ISREG(status.st_mode):
        return None
    return ObjectRef(bucket=bucket, key=key, etag=version_of(status), size_bytes=status.st_size)


def _raw(name: str) -> bytes:
    raw = name_of_key(name)
    assert raw is not None  # the key was made from a name
    return raw

"""Walk a folder as S3 would list it: every regular file, in byte order of the whole key.

Links that lead to a file or folder below the root are followed, and their target has a key of its own
below the link. A folder is not entered again from within itself. Links that lead out of the root, or nowhere,
are listed with the ETag `NOT_FOLLOWED`.

Safety: every directory is opened relative to its parent and no step follows a link; `folder_links` says how
one is followed all the same. Pipes, sockets and devices are never opened and never listed. One descriptor and
the names of one directory are held per level.
"""

import errno
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.adapters.folder.keys import key_of_name, name_of_key
from pipeline.adapters.folder.links import resolve_below, stat_below
from pipeline.adapters.folder.open import DENIED, DIRECTORY, GONE, Root, open_below
from pipeline.types import NOT_FOLLOWED, ObjectRef

PART_PREFIX = ".pictor-part-"  # files that `put` has not finished; a crash may leave one

_READ = DIRECTORY | os.O_RDONLY

logger = logging.getLogger(__name__)


def version_of(status: os.stat_result) -> str:
    """A file's ETag: time of change and size, hexadecimal."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


@dataclass(frozen=True, slots=True)
class _Level:
    descriptor: int
    key: str  # "" or "a/b/"
    path: bytes  # below the root, without links: b"" or b"a/b"
    names: Iterator[str]  # keys relative to this level, sorted; those of directories end in "/"
    links: Mapping[str, bytes | None]  # which of the names are links, and where each leads


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


def walk_folder(bucket: str, root: Root, prefix: str, start_after: str) -> Iterator[ObjectRef]:
    """List below an open directory, which stays open.

    Entries that may not be read are listed without an ETag, so that they are counted and fail when read,
    instead of vanishing: a file in a directory that may not be entered, or the directory itself as
    "its/key/".

    Raises:
        OSError: something cannot be read at the moment, so its files are unknown and not gone. Or the root
            may not be read, or the directory that holds all of `prefix` or `start_after`.
    """
    walk = _Walk(bucket, root, _Range(prefix, start_after))
    levels = [walk.read_level(root.descriptor, b".", key="", path=b"")]
    try:
        while levels:
            name = next(levels[-1].names, None)
            if name is None:
                os.close(levels.pop().descriptor)
                continue
            found = walk.enter(levels, name) if name.endswith("/") else walk.file(levels[-1], name)
            if isinstance(found, _Level):
                levels.append(found)
            elif found:
                yield found
    finally:
        for level in levels:
            os.close(level.descriptor)


@dataclass(frozen=True, slots=True)
class _Walk:
    bucket: str
    root: Root
    wanted: _Range

    def enter(self, levels: list[_Level], name: str) -> _Level | ObjectRef | None:
        level = levels[-1]
        key = level.key + name
        path = level.links.get(name) or _below(level.path, _raw(name[:-1]))
        is_loop = any(path == other.path for other in levels)
        if is_loop or not self.wanted.may_hold_some_of(key):
            return None
        try:
            if name in level.links:
                return self._read_linked_level(level.links[name], key)
            return self.read_level(level.descriptor, _raw(name[:-1]), key=key, path=path)
        except OSError as err:
            if err.errno in GONE:
                return None  # removed or replaced since its parent was read
            if err.errno not in DENIED or not self.wanted.holds(key):
                raise OSError(err.errno, "cannot be read", key) from err
            logger.warning("directory may not be read", extra={"folder": self.bucket, "key": key})
            return self._entry(key)

    def file(self, level: _Level, name: str) -> ObjectRef | None:
        key = level.key + name
        if not self.wanted.holds(key):
            return None
        try:
            if name not in level.links:
                status = self.root.calls.stat(_raw(name), dir_fd=level.descriptor, follow_symlinks=False)
            elif (path := level.links[name]) is None:
                return self._entry(key, etag=NOT_FOLLOWED)
            else:
                status = stat_below(self.root, path)
        except PermissionError:
            return self._entry(key)
        except OSError as err:
            if err.errno in GONE:
                return None  # removed or replaced since the directory was read
            raise OSError(err.errno, "cannot be read", key) from err
        if not stat.S_ISREG(status.st_mode):
            return None
        return self._entry(key, etag=version_of(status), size_bytes=status.st_size)

    def read_level(self, parent: int, name: bytes, *, key: str, path: bytes) -> _Level:
        descriptor = self.root.calls.open(name, _READ, dir_fd=parent)
        try:
            names, links = self._read_names(descriptor, path)
        except OSError:
            os.close(descriptor)
            raise
        return _Level(descriptor, key, path, iter(names), links)

    def _read_linked_level(self, path: bytes | None, key: str) -> _Level:
        if path is None:
            raise PermissionError(errno.EACCES, "where the link leads may not be known")
        *parents, name = path.split(b"/")
        parent = open_below(self.root.descriptor, parents, self.root.calls)
        try:
            return self.read_level(parent, name, key=key, path=path)
        finally:
            os.close(parent)

    def _read_names(self, descriptor: int, path: bytes) -> tuple[list[str], dict[str, bytes | None]]:
        """Names in key order: "a-b" < "a.jpg" < "a/…" < "a0", hence a directory sorts with its slash."""
        names, links = [], {}
        with self.root.calls.scandir(descriptor) as entries:
            for entry in entries:
                raw = os.fsencode(entry.name)
                key = key_of_name(raw)
                if entry.is_dir(follow_symlinks=False):
                    names.append(key + "/")
                elif entry.is_file(follow_symlinks=False) and not key.startswith(PART_PREFIX):
                    names.append(key)
                elif entry.is_symlink():
                    name, target = self._follow(key, _below(path, raw))
                    names.append(name)
                    links[name] = target
        names.sort()  # by code point, which is the byte order of UTF-8
        return names, links

    def _follow(self, key: str, path: bytes) -> tuple[str, bytes | None]:
        """The name that a link is listed by, and where it leads: None is nowhere, or not to be known.

        A link that may not be looked at counts as a folder, so that all keys below it are kept.
        """
        try:
            target = resolve_below(self.root, path)
            is_folder = target is not None and stat.S_ISDIR(stat_below(self.root, target).st_mode)
        except PermissionError:
            return key + "/", None
        except OSError as err:
            if err.errno in GONE:
                return key, None  # moved away while it was looked at
            raise
        return key + "/" if is_folder else key, target

    def _entry(self, key: str, *, etag: str = "", size_bytes: int = 0) -> ObjectRef:
        return ObjectRef(bucket=self.bucket, key=key, etag=etag, size_bytes=size_bytes)


def _below(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


def _raw(name: str) -> bytes:
    raw = name_of_key(name)
    assert raw is not None  # the key was made from a name
    return raw

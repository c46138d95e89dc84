"""Folders as buckets: bucket = absolute path, key = path below it with "/".

Decided here:
- Symbolic links are read through where they lead to something below the folder, and are not written through.
- A file's version is its time of change and size, so an overwrite is noticed unless it forges both.
- Names need not be UTF-8: `folder_keys`.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.adapters.folder.keys import name_of_key
from pipeline.adapters.folder.links import resolve_below
from pipeline.adapters.folder.open import DENIED, GONE, Root, SystemCalls, open_below, open_folder
from pipeline.adapters.folder.walk import PART_PREFIX, version_of, walk_folder
from pipeline.errors import ConfigError, ImageError, TargetError, TransientError
from pipeline.types import FetchedObject, ObjectRef, Reason

# NONBLOCK: a pipe that took the file's place must not hang us. NOCTTY: nor may a terminal adopt us.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_A_LINK = frozenset({errno.ELOOP, errno.ENOTDIR})  # the file, or a folder on the way to it
# The names of a file's own damage, on disks that check their blocks. Other errors are not the file's fault.
_DAMAGE = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA})
_NOT_POSSIBLE = frozenset(
    {errno.EINVAL, errno.EILSEQ, errno.EROFS, errno.EISDIR, errno.ENOTSUP, errno.EFBIG, *GONE, *DENIED}
)
_PIECE_BYTES = 4 * 2**20


class FolderStore:
    """ObjectStore over local folders, with the standard library alone.

    Args:
        roots: the folders that may be opened, with all that lies below. None means any.
        calls: how they are read.
    """

    def __init__(self, roots: Sequence[Path] | None = None, *, calls: SystemCalls | None = None) -> None:
        self._calls = calls or SystemCalls()
        self._roots = None if roots is None else tuple(os.path.realpath(root) for root in roots)

    def __repr__(self) -> str:
        return f"FolderStore(roots={self._roots})"

    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        """Every regular file, in byte order of the key. `walk_folder` says which files are left out."""
        with self._folder(bucket) as root:
            try:
                yield from walk_folder(bucket, root, prefix, start_after or "")
            except OSError as err:
                below = f"/{err.filename}" if isinstance(err.filename, str) else ""
                raise _folder_error(bucket + below, err) from err

    def stat(self, bucket: str, key: str) -> ObjectRef:
        with self._folder(bucket) as root, _image_errors():
            descriptor = _open_file(root, key)
            try:
                status = self._calls.fstat(descriptor)
            finally:
                os.close(descriptor)
        return ObjectRef(bucket=bucket, key=key, etag=version_of(status), size_bytes=status.st_size)

    def get(self, ref: ObjectRef, *, max_bytes: int) -> FetchedObject:
        with self._folder(ref.bucket) as root, _image_errors():
            descriptor = _open_file(root, ref.key)
            try:
                return FetchedObject(body=_read_version(descriptor, ref.etag, max_bytes, self._calls))
            finally:
                os.close(descriptor)

    def get_metadata(self, ref: ObjectRef) -> Mapping[str, str]:
        """Files have none."""
        found = self.stat(ref.bucket, ref.key)
        if found.etag != ref.etag:
            raise ImageError(Reason.CHANGED, f"version {ref.etag} was listed, {found.etag} is there")
        return {}

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Written beside its place and renamed, so a reader sees the old file or the new one."""
        *parents, name = _parts(key) or [b""]
        if not name or name.startswith(PART_PREFIX.encode()):
            raise ConfigError(f"folder {bucket}: {key!r} cannot be the name of a file")
        with self._folder(bucket) as root:
            try:
                _write(root, parents, name, body)
            except OSError as err:
                raise _write_error(bucket, key, err) from err

    def delete(self, bucket: str, key: str) -> None:
        parts = _parts(key)
        if not parts:
            return  # no file can have this key
        with self._folder(bucket) as root:
            try:
                parent = open_below(root.descriptor, parts[:-1], self._calls)
                try:
                    os.unlink(parts[-1], dir_fd=parent)
                finally:
                    os.close(parent)
            except OSError as err:
                if err.errno not in GONE | {errno.EISDIR}:  # there is no file, as was asked for
                    raise _write_error(bucket, key, err) from err

    @contextmanager
    def _folder(self, bucket: str) -> Iterator[Root]:
        path = self._allowed(bucket)
        try:
            descriptor = open_folder(path, self._calls)
        except OSError as err:
            raise _folder_error(bucket, err) from err
        try:
            yield Root(path, descriptor, self._calls)
        finally:
            os.close(descriptor)

    def _allowed(self, bucket: str) -> str:
        if not bucket.startswith("/") or "\0" in bucket:
            raise ConfigError(f"folder {bucket!r} is not an absolute path")
        path = self._resolve(bucket)
        if self._roots is not None and not any(
            path == root or path.startswith(root.rstrip("/") + "/") for root in self._roots
        ):
            raise ConfigError(f"folder {bucket} is not one of the folders that may be opened")
        return path

    def _resolve(self, bucket: str) -> str:
        """Links in the folder's own path are the caller's; below it none may lead out."""
        try:
            return str(self._calls.realpath(bucket, strict=True))
        except OSError as err:
            if err.errno not in GONE | DENIED:  # a link that cannot be read is not the end of a path
                raise _folder_error(bucket, err) from err
            return str(self._calls.realpath(bucket))  # it cannot be opened, and the error says why


def _parts(key: str) -> list[bytes]:
    """The path of a key, or nothing when no file can have it: it could leave the folder or have two keys."""
    name = name_of_key(key)
    parts = name.split(b"/") if name else []
    return [] if any(part in (b"", b".", b"..") for part in parts) else parts


def _open_file(root: Root, key: str) -> int:
    if key.endswith("/"):
        raise ImageError(Reason.ACCESS_DENIED, "the directory cannot be listed")
    parts = _parts(key)
    if not parts:
        raise ImageError(Reason.NOT_FOUND, "no file can have this key")
    try:
        return _open_regular(root, parts)
    except OSError as err:
        if err.errno not in _A_LINK:
            raise
    path = resolve_below(root, b"/".join(parts))
    if not path:
        raise ImageError(
            Reason.NOT_FOUND, "the file is not there any more, or a link leads out of the folder"
        )
    return _open_regular(root, path.split(b"/"))


def _open_regular(root: Root, parts: list[bytes]) -> int:
    parent = open_below(root.descriptor, parts[:-1], root.calls)
    try:
        # Asked before opening, since opening a device can have effects; asked again after, since a race can.
        _check_regular(root.calls.stat(parts[-1], dir_fd=parent, follow_symlinks=False))
        descriptor = root.calls.open(parts[-1], _OPEN_FILE, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        _check_regular(root.calls.fstat(descriptor))
    except (ImageError, OSError):
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "is a link")  # as the system says it of a link that is not to be followed
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(Reason.NOT_FOUND, "the key is no longer that of a regular file")


def _read_version(descriptor: int, etag: str, max_bytes: int, calls: SystemCalls) -> bytes:
    before = calls.fstat(descriptor)
    _check_version(before, etag)
    if before.st_size > max_bytes:
        raise ImageError(Reason.TOO_LARGE, f"{before.st_size} bytes are over the limit of {max_bytes}")
    pieces, length = [], 0
    # One byte more than expected: the last read then finds the end of the file in the usual case.
    while piece := _read_piece(descriptor, min(_PIECE_BYTES, max(1, before.st_size - length + 1)), calls):
        pieces.append(piece)
        length += len(piece)
        if length > max_bytes:  # it grows while we read
            raise ImageError(Reason.TOO_LARGE, f"more than the limit of {max_bytes} bytes")
    _check_version(calls.fstat(descriptor), etag)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_piece(descriptor: int, size_bytes: int, calls: SystemCalls) -> bytes:
    try:
        return calls.read(descriptor, size_bytes)
    except OSError as err:
        if err.errno not in _DAMAGE:
            raise
        # A bad sector is one bad image, and its older vector may stay. Else it would stop every job here.
        raise ImageError(Reason.ACCESS_DENIED, f"the file cannot be read ({_name(err)})") from err


def _check_version(status: os.stat_result, etag: str) -> None:
    if version_of(status) != etag:
        raise ImageError(Reason.CHANGED, f"version {etag} was listed, {version_of(status)} is there")


def _write(root: Root, parents: list[bytes], name: bytes, body: bytes) -> None:
    directory = _make_directories(root, parents)
    part = PART_PREFIX + secrets.token_hex(8)
    try:
        descriptor = os.open(
            part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=directory
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(descriptor)  # a power cut must not leave the name without the bytes
            os.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            os.unlink(part, dir_fd=directory)
            raise
    finally:
        os.close(directory)


def _make_directories(root: Root, parents: list[bytes]) -> int:
    current = os.dup(root.descriptor)
    for part in parents:
        try:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=current)
            deeper = open_below(current, [part], root.calls)
        finally:
            os.close(current)
        current = deeper
    return current


@contextmanager
def _image_errors() -> Iterator[None]:
    """The reason of one image for an OSError of its file."""
    try:
        yield
    except OSError as err:
        if err.errno in GONE:
            raise ImageError(Reason.NOT_FOUND, "the file is not there any more") from err
        if err.errno in _NOT_POSSIBLE:
            raise ImageError(Reason.ACCESS_DENIED, f"the file cannot be read ({_name(err)})") from err
        raise TransientError(f"a folder cannot be read at the moment ({_name(err)})") from err


def _folder_error(bucket: str, err: OSError) -> TargetError | TransientError:
    if err.errno == errno.ENOENT:
        return TargetError(f"folder {bucket} does not exist")
    if err.errno in (errno.ENOTDIR, errno.ELOOP):
        return TargetError(f"{bucket} is not a folder")
    if err.errno in DENIED:
        return TargetError(f"folder {bucket} cannot be read: permission denied")
    return TransientError(f"folder {bucket} cannot be read at the moment ({_name(err)})")


def _write_error(bucket: str, key: str, err: OSError) -> ConfigError | TransientError:
    if err.errno in _NOT_POSSIBLE:
        return ConfigError(f"folder {bucket}: {key!r} cannot be written ({_name(err)})")
    return TransientError(f"folder {bucket}: {key!r} cannot be written at the moment ({_name(err)})")


def _name(err: OSError) -> str:
    return errno.errorcode.get(err.errno or 0, "unknown error")

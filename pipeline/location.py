"""Where images come from: a folder, a bucket or a prefix of one, as a user writes it."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from pipeline.errors import ArgumentError
from pipeline.names import check_bucket_name, check_prefix


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """`bucket` is a bucket's name, or the absolute path of a folder with all links resolved."""

    url: str
    bucket: str
    prefix: str


def parse_location(text: str) -> Location:
    """Read `./photos`, `file:///photos`, `s3://bucket` or `s3://bucket/prefix`.

    A prefix is a text that keys begin with, as S3 means it: `s3://shop/cam1` also holds `cam10/x.jpg`.

    Raises:
        ArgumentError: an unknown scheme, a name that no bucket has, or a folder that is none.
    """
    if text.startswith("s3://"):
        bucket, prefix = split_s3_url(text)
        return Location(url=f"s3://{bucket}/{prefix}", bucket=bucket, prefix=prefix)
    root = _resolve_folder(text)
    _check_unicode(root)
    return Location(url=f"file://{quote(root)}", bucket=root, prefix="")


def split_s3_url(text: str) -> tuple[str, str]:
    """`s3://bucket/a key?#%` → ("bucket", "a key?#%"): keys are taken as they are, nothing is unescaped.

    Raises:
        ArgumentError: no bucket has this name, or no key begins so.
    """
    bucket, _, key = text.removeprefix("s3://").partition("/")
    if not bucket:
        raise ArgumentError(f"{text}: no bucket; s3://bucket or s3://bucket/prefix is expected")
    return check_bucket_name(bucket), check_prefix(key, of="key or prefix")


def local_path(text: str) -> Path:
    """The path that `photos/a.jpg`, `~/photos` or `file:///photos` means. Nothing need be there.

    Raises:
        ArgumentError: empty, an unknown scheme, another host, or the home of nobody.
    """
    if text.startswith("file://"):
        host, slash, path = text.removeprefix("file://").partition("/")
        if host not in ("", "localhost") or not slash:
            raise ArgumentError(f"{text}: file:///absolute/path is expected, found host {host!r}")
        return Path(os.fsdecode(unquote_to_bytes(os.fsencode(slash + path))))
    scheme, separator, _ = text.partition("://")
    if separator:
        raise ArgumentError(f"{text}: scheme {scheme!r} is unknown; a folder, file:// or s3:// is expected")
    if not text:  # an unset variable of a shell must not mean the current folder
        raise ArgumentError("a path is expected, found an empty text")
    try:
        return Path(text).expanduser()
    except RuntimeError as err:
        raise ArgumentError(f"{text}: there is no such user's home") from err


def _resolve_folder(text: str) -> str:
    folder = local_path(text)
    try:
        if not folder.exists():
            raise ArgumentError(f"folder {text} does not exist")
        if not folder.is_dir():
            raise ArgumentError(f"{text} is a file; a folder or s3://bucket/prefix is expected")
        return str(folder.resolve())
    except OSError as err:  # a name that is too long, a parent that may not be entered
        raise ArgumentError(f"folder {text} cannot be opened: {err.strerror}") from err


def _check_unicode(path: str) -> None:
    # Names inside the folder may be any bytes; the folder's own path is stored as text.
    try:
        path.encode()
    except UnicodeEncodeError as err:
        raise ArgumentError(f"folder {os.fsencode(path)!r}: its path is not valid UTF-8") from err

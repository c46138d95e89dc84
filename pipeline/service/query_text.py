"""Read a query of a command or a task. Light: a search through a service loads no arrays for it."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import ArgumentError
from pipeline.location import local_path, split_s3_url
from pipeline.names import check_key
from pipeline.search.query import Object, Person, Stored

ROW_ID = re.compile(r"[0-9a-f]{32}(:[0-9]{2})?")
PERSON = "person:"  # before an id, in a query and as the source of a probe
MAX_SHOWN_CHARS = 200  # of a query, in a message about it

LocateFile = Callable[[Path], tuple[str, str]]  # a file's bucket and key


def read_query(text: str, *, locate_file: LocateFile | None = None) -> Stored | Object | Person:
    """`s3://bucket/key`, `person:ID`, a stored id and, where files can be read, a path or `file:///path`.

    A path that exists wins over an id that looks the same.

    Args:
        locate_file: None where the caller's files are not this machine's.

    Raises:
        ArgumentError: nothing of these, or without a key.
    """
    if text.startswith("s3://"):
        bucket, key = split_s3_url(text)
        if not key:
            raise ArgumentError(f"query {_shown(text)}: no key; s3://bucket/key is expected")
        return Object(text=text, bucket=bucket, key=check_key(key))
    if locate_file is not None and (path := _existing_file(text)) is not None:
        bucket, key = locate_file(path)
        return Object(text=text, bucket=bucket, key=key)
    if text.startswith(PERSON):
        return Person(text=text, id=text.removeprefix(PERSON))
    if ROW_ID.fullmatch(text):
        return Stored(text=text, id=text)
    raise ArgumentError(f"query {_shown(text)}: {_what_is_wrong(text, files=locate_file is not None)}")


def read_pairs(texts: Sequence[str], *, of: str) -> dict[str, str]:
    """`["camera=7"]` as a mapping. Args: `of` names the option, for the message."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ArgumentError(f"{of} {text}: NAME=VALUE is expected")
        pairs[name] = value
    return pairs


def _existing_file(text: str) -> Path | None:
    path = local_path(text)
    try:
        return path if path.is_file() else None
    except OSError as err:  # a name that is too long, a folder that may not be entered
        raise ArgumentError(f"query {_shown(text)}: {err.strerror}") from err


def _what_is_wrong(text: str, *, files: bool) -> str:
    if not files:
        return "s3://bucket/key or a stored image id is expected; an id has 32 hex digits"
    if local_path(text).is_dir():
        return "is a folder; a file, s3://bucket/key or a stored image id is expected"
    return "does not exist, and is no image id (32 hex digits) either"


def _shown(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"

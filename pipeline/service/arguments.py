"""Read the text of callers by one set of rules, whether it came by a command, a task or HTTP."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from pipeline.errors import ArgumentError
from pipeline.location import local_path, split_s3_url
from pipeline.names import check_bucket_or_folder, check_collection_name, check_key, check_prefix, shown
from pipeline.ports import MAX_HITS
from pipeline.search.query import Bytes, Object, Query, Stored, Vector
from pipeline.service.search import SearchRequest
from pipeline.types import Condition, SearchFilter

__all__ = ["Bytes", "Object", "Query", "Stored", "Vector", "read_pairs", "read_query", "read_search"]

ROW_ID = re.compile(r"[0-9a-f]{32}(:[0-9]{2})?")
MAX_PERSON_CHARS = 200
MAX_SHOWN_CHARS = 200  # of a query, in a message about it

_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_AGE = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[hdw])")
MAX_AGE_HOURS = 100 * 365 * 24

LocateFile = Callable[[Path], tuple[str, str]]  # a file's bucket and key


def read_query(text: str, *, locate_file: LocateFile | None = None) -> Query:
    """`s3://bucket/key`, a stored id and, where files can be read, a path or `file:///path`.

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
    if ROW_ID.fullmatch(text):
        return Stored(text=text, id=text)
    raise ArgumentError(f"query {_shown(text)}: {_what_is_wrong(text, files=locate_file is not None)}")


def read_search(
    *,
    collection: str,
    k: int = 10,
    min_score: float | None = None,
    bucket: str = "",
    prefix: str = "",
    metadata: Mapping[str, str] | None = None,
    condition: Condition | None = None,
    with_vector: bool = False,
) -> SearchRequest:
    """Raises ArgumentError: a name that no collection, bucket or key can have, a number out of its range."""
    if bucket:
        check_bucket_or_folder(bucket)
    check_prefix(prefix)
    if not 1 <= k <= MAX_HITS:
        raise ArgumentError(f"k is {k}; 1 to {MAX_HITS} hits can be asked for")
    if min_score is not None and not -1 <= min_score <= 1:
        raise ArgumentError(f"min_score is {min_score}; a cosine from -1 to 1 is expected")
    return SearchRequest(
        collection=check_collection_name(collection),
        k=k,
        min_score=min_score,
        where=SearchFilter(bucket=bucket, key_prefix=prefix, metadata=metadata or {}, condition=condition),
        with_vector=with_vector,
    )


def read_pairs(texts: Sequence[str], *, of: str) -> dict[str, str]:
    """`["camera=7"]` as a mapping. Args: `of` names the option, for the message."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ArgumentError(f"{of} {text}: NAME=VALUE is expected")
        pairs[name] = value
    return pairs


def read_age(text: str) -> timedelta:
    """`90d`, `12w` or `48h`. Raises ArgumentError for any other text, and for more than a hundred years."""
    found = _AGE.fullmatch(text)
    hours = int(found["count"]) * _HOURS[found["unit"]] if found else 0
    if not found or hours > MAX_AGE_HOURS:
        raise ArgumentError(f"age {text[:20]!r}: a number of days, weeks or hours is expected, such as 90d")
    return timedelta(hours=hours)


def read_person(text: str) -> str:
    """On whose behalf somebody asks, or "". Raises ArgumentError for what is no name or account."""
    if len(text) > MAX_PERSON_CHARS or not text.isprintable():
        raise ArgumentError(
            f"person {shown(text)}: at most {MAX_PERSON_CHARS} printable characters are expected"
        )
    return text.strip()


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

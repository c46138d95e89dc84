"""Read the text of callers by one set of rules, whether it came by a command, a task or HTTP."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from pipeline.errors import ArgumentError
from pipeline.names import (
    MAIN_EMBEDDING,
    check_bucket_or_folder,
    check_collection_name,
    check_embedding_name,
    check_prefix,
    shown,
)
from pipeline.ports import MAX_HITS
from pipeline.search.groups import GroupBy
from pipeline.search.query import Bytes, Object, Query, Stored, Vector
from pipeline.service.query_text import ROW_ID, read_pairs, read_query
from pipeline.service.search import SearchRequest
from pipeline.types import Condition, Justification, SearchFilter

__all__ = [
    "ROW_ID", "Bytes", "Object", "Query", "Stored", "Vector", "read_pairs", "read_query", "read_search",
]  # fmt: skip

MAX_PERSON_CHARS = 200
MAX_JUSTIFICATION_CHARS = 100  # of each text

_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_AGE = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[hdw])")
MAX_AGE_HOURS = 100 * 365 * 24


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
    group_by: str = "",
    embedding: str = "",
    justification: Justification | None = None,
) -> SearchRequest:
    """Raises ArgumentError: a name that no collection, bucket or key can have, a number out of its range."""
    if bucket:
        check_bucket_or_folder(bucket)
    check_prefix(prefix)
    if not 1 <= k <= MAX_HITS:
        raise ArgumentError(f"k is {k}; 1 to {MAX_HITS} hits can be asked for")
    if min_score is not None and not -1 <= min_score <= 1:
        raise ArgumentError(f"min_score is {min_score}; a cosine from -1 to 1 is expected")
    if group_by not in tuple(GroupBy):
        raise ArgumentError(f"group_by is {shown(group_by)}; {GroupBy.IMAGE} or {GroupBy.PERSON} is expected")
    return SearchRequest(
        collection=check_collection_name(collection),
        k=k,
        min_score=min_score,
        where=SearchFilter(bucket=bucket, key_prefix=prefix, metadata=metadata or {}, condition=condition),
        with_vector=with_vector,
        group_by=GroupBy(group_by),
        embedding=read_embedding(embedding),
        justification=justification or Justification(),
    )


def read_embedding(text: str) -> str:
    """The name of a further embedding, or "" for the first. Raises ArgumentError: no embedding has it."""
    return "" if text in ("", MAIN_EMBEDDING) else check_embedding_name(text)


def read_justification(
    *, purpose: str = "", case: str = "", offence: str = "", authorisation: str = "", authority: str = ""
) -> Justification:
    """Raises ArgumentError: a text that is too long or cannot be printed."""
    given = {
        "purpose": purpose,
        "case": case,
        "offence": offence,
        "authorisation": authorisation,
        "authority": authority,
    }
    for name, text in given.items():
        if len(text) > MAX_JUSTIFICATION_CHARS or not text.isprintable():
            raise ArgumentError(
                f"{name} {shown(text)}: at most {MAX_JUSTIFICATION_CHARS} printable characters are expected"
            )
    return Justification(**{name: text.strip() for name, text in given.items()})


def read_age(text: str) -> timedelta:
    """`90d`, `12w` or `48h`. Raises ArgumentError for any other text, and for more than a hundred years."""
    found = _AGE.fullmatch(text)
    hours = int(found["count"]) * _HOURS[found["unit"]] if found else 0
    if not found or hours > MAX_AGE_HOURS:
        raise ArgumentError(f"age {text[:20]!r}: a number of days, weeks or hours is expected, such as 90d")
    return timedelta(hours=hours)


def as_utc(time: datetime | None) -> datetime | None:
    """A time without a zone is meant in UTC."""
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time


def read_person(text: str) -> str:
    """On whose behalf somebody asks, or "". Raises ArgumentError for what is no name or account."""
    if len(text) > MAX_PERSON_CHARS or not text.isprintable():
        raise ArgumentError(
            f"person {shown(text)}: at most {MAX_PERSON_CHARS} printable characters are expected"
        )
    return text.strip()

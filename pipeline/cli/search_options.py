"""What `pictor search` was asked for, whoever searches."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchOptions:
    """`collection` is "" for PICTOR_COLLECTION; `metadata` holds texts as `camera=7`."""

    collection: str
    k: int
    min_score: float | None
    prefix: str
    bucket: str
    metadata: Sequence[str]
    where: str  # a condition as JSON, or ""

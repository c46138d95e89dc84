"""What `pictor search` was asked for, whoever searches."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchOptions:
    """`collection` is "" for PICTOR_COLLECTION; `metadata` holds texts as `camera=7`."""

    collection: str
    k: int = 10
    min_score: float | None = None
    prefix: str = ""
    bucket: str = ""
    metadata: Sequence[str] = ()
    where: str = ""  # a condition as JSON
    group_by: str = ""
    embedding: str = ""
    text: Sequence[str] = ()
    unwanted: Sequence[str] = ()
    weights: Sequence[str] = ()  # as `not=0.3`
    purpose: str = ""
    case: str = ""
    offence: str = ""
    authorisation: str = ""
    authority: str = ""
    on_behalf_of: str = ""

    @property
    def has_words(self) -> bool:
        return bool(self.text or self.unwanted)

    @property
    def stated(self) -> dict[str, str]:
        """Why somebody searches."""
        names = ("purpose", "case", "offence", "authorisation", "authority")
        return {name: getattr(self, name) for name in names}

"""Entries of the log, and matches that persons verify."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.client.results.answer_object import AnswerObject, Nested


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry(AnswerObject):
    """An act of the log. `record` is None once it was erased."""

    index: int
    record_id: str
    erased: bool
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Match(AnswerObject):
    """A hit that persons verify. Only one whose `state` is "confirmed" counts. `score` is the cosine."""

    id: str
    receipt: str
    rank: int
    image_id: str
    score: float
    collection: str
    state: str
    closed: bool
    persons_needed: int
    searched_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownMatch(Match):
    """With what you decided in `own`, and what everybody decided once it is closed."""

    purpose: str = ""
    case: str = ""
    probe_sha256: str = ""
    probe_source: str = ""
    own: Mapping[str, Any] | None = None
    decisions: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchState(AnswerObject):
    """The matches of one search."""

    _NESTED: ClassVar[Nested] = {"matches": Match}

    receipt: str
    collection: str
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding(AnswerObject):
    """What a reviewer may want to look at; most of it has a good reason. `entries` are places in the log."""

    look_at: str
    person: str
    why: str
    count: int
    entries: Sequence[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Review(AnswerObject):
    """Of the `searched` entries of a period."""

    _NESTED: ClassVar[Nested] = {"findings": Finding}

    tree_size: int
    searched: int
    findings: tuple[Finding, ...] = ()

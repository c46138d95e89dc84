"""Images and the hits of searches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pipeline.client.results.answer_object import AnswerObject, Nested


@dataclass(frozen=True, kw_only=True, slots=True)
class Image(AnswerObject):
    id: str
    bucket: str
    key: str
    etag: str
    size_bytes: int
    width: int
    height: int
    indexed_at: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit(AnswerObject):
    """`score` is a cosine, -1..1. `width` and `height` are those of the upright original, px.

    `vector` is [D] where it was asked for, and None if the row has changed meanwhile. `parts` has the
    cosine with each part of a query that has several, under "text", "not" and "picture". `person` is whose
    face it is where persons were searched for, and the score is then that of the person.
    """

    id: str
    bucket: str
    key: str
    score: float
    width: int
    height: int
    size_bytes: int
    etag: str
    indexed_at: str
    metadata: Mapping[str, str]
    vector: Sequence[float] | None = None
    person: str = ""
    parts: Mapping[str, Sequence[float] | float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(AnswerObject):
    """The hits of one query, nearest first. `error` and `code` say why a query of a batch has none.

    `receipt` is the record of this search, and `recording` is "off" where there is none. `inclusion` has its
    `index`, `commitment` and `proof` in the log. So many persons as `to_verify` must look at each hit before
    it counts.
    """

    _NESTED: ClassVar[Nested] = {"hits": Hit}

    query: str
    hits: tuple[Hit, ...]
    error: str = ""
    code: str = ""
    receipt: str = ""
    inclusion: Mapping[str, object] = field(default_factory=dict)
    recording: str = ""
    to_verify: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult(AnswerObject):
    """Answers in the order of the queries. `fingerprint` is of the model whose vectors were searched.

    `embedding` is which embedding of each image that was.
    """

    _NESTED: ClassVar[Nested] = {"answers": Answer}

    collection: str
    model: str
    fingerprint: str
    seconds: float
    answers: tuple[Answer, ...]
    generation: str = ""
    embedding: str = "main"
    stage_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def hits(self) -> tuple[Hit, ...]:
        """Of the only query, or of the first one."""
        return self.answers[0].hits if self.answers else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding(AnswerObject):
    index: int
    embedding: Sequence[float]  # [D], of unit length


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicateGroup(AnswerObject):
    """Images that look alike. `kept` is the largest, or the oldest of equal ones.

    The score of a copy is its highest cosine with any other image of the group.
    """

    _NESTED: ClassVar[Nested] = {"kept": Hit, "copies": Hit}

    kept: Hit
    copies: tuple[Hit, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundDuplicates(AnswerObject):
    """`embedding` is which embedding of each image was compared."""

    _NESTED: ClassVar[Nested] = {"groups": DuplicateGroup}

    embedding: str
    groups: tuple[DuplicateGroup, ...]

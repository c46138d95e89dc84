"""Collections, their models and their generations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.client.results.answer_object import AnswerObject, Nested


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionEmbedding(AnswerObject):
    """One of several that each image of a collection has. `main` is the first."""

    name: str
    model: str
    fingerprint: str
    dim: int
    reads_text: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Recall(AnswerObject):
    """How near a model in int8 is to float32: recall@10, 0..1, on a sample of `images`."""

    recall_at_10: float
    images: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection(AnswerObject):
    """`int8` is there in int8, and `embeddings` where each image has several."""

    _NESTED: ClassVar[Nested] = {"embeddings": CollectionEmbedding, "int8": Int8Recall}

    name: str
    rows: int
    model: str
    model_source: str
    fingerprint: str
    dim: int
    vector_type: str
    precision: str
    int8: Int8Recall | None = None
    embeddings: tuple[CollectionEmbedding, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation(AnswerObject):
    """The vectors of one model in a collection. The one that is `live` answers searches.

    `precision` is empty where the service is older.
    """

    fingerprint: str
    model: str
    rows: int
    live: bool
    precision: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyVersion(AnswerObject):
    """`state` is proposed, in_force, replaced or refused. `loosens` says why a version is proposed only."""

    collection: str
    version: int
    state: str
    replaces: int
    loosens: Sequence[str]
    proposed_by: str
    proposed_at: str
    decided_by: str
    decided_at: str | None
    policy: Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseState(AnswerObject):
    case: str
    granted: bool
    started_at: str

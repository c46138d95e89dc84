"""Collections, their rows and their answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.types.conditions import Condition
from pipeline.types.models import Int8Recall, Vector
from pipeline.types.objects import ObjectRef


def generation_of(collection: str, fingerprint: str) -> str:
    """The vectors of one model under the name of a collection. Milvus has them under this name."""
    return f"{collection}__{fingerprint[:8]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionRef:
    """One generation of a collection. Its rows never reach another one."""

    name: str
    fingerprint: str  # of the model whose vectors it holds

    @property
    def generation(self) -> str:
        return generation_of(self.name, self.fingerprint)


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundModel:
    """The model of a generation, as far as it is known without counting rows."""

    name: str
    dim: int
    fingerprint: str
    reads_text: bool = False
    beside: Mapping[str, "BoundModel"] = field(default_factory=dict)  # of further embeddings, by name


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectionInfo:
    """One generation of a collection, and the model whose vectors it holds.

    `live`: it is the one that answers searches under the collection's name.
    `beside`: of each further embedding, its model with that model's own fingerprint. `rows` are the same.
    """

    name: str
    model_name: str
    model_address: str
    fingerprint: str
    dim: int
    vector_type: str  # "float32" or "float16"
    precision: str  # that its vectors are computed in: "auto", "float32", "bfloat16" or "int8"
    rows: int
    live: bool = True
    has_views: bool = False  # rows are of parts of an image, so it may have none or several
    reads_text: bool = False  # it can be searched with words
    beside: Mapping[str, "CollectionInfo"] = field(default_factory=dict)  # further embeddings, by name
    int8: Int8Recall | None = None  # where it is in int8, and its record says so

    @property
    def ref(self) -> CollectionRef:
        return CollectionRef(name=self.name, fingerprint=self.fingerprint)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredVersion:
    """The rows that a generation has of one image. `etag` is empty when they are of several versions.

    `places` are the numbers of its views. There may be gaps between them.
    """

    etag: str
    rows: int
    places: frozenset[int] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexedImage:
    """The same in a listing: `ref.etag` is empty when the rows are of several versions."""

    ref: ObjectRef
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexRow:
    """One row of a collection: a view of an image. See `ports.image_rows` for its id."""

    id: str
    ref: ObjectRef
    vector: Vector
    width: int
    height: int
    indexed_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, Vector] = field(default_factory=dict)  # of the models beside the first, by name


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchFilter:
    """All given conditions must hold. Values are data: adapters escape them, they never become syntax."""

    key_prefix: str = ""
    bucket: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    condition: Condition | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PartScores:
    """The cosine of a hit with each part of a query, in the order of the query."""

    texts: tuple[float, ...] = ()
    unwanted: tuple[float, ...] = ()
    picture: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchHit:
    id: str
    bucket: str
    key: str
    etag: str
    score: float  # cosine, -1..1
    width: int
    height: int
    size_bytes: int
    indexed_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    vector: Vector | None = None  # [D], where it was asked for
    parts: PartScores | None = None  # of a query of several parts

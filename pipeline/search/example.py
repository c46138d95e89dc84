"""A query as a vector, and where such come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Semaphore

from pipeline.errors import ErrorCode, ModelError
from pipeline.ports import Concurrency, ImageEmbedder, ObjectReader, TextEmbedder, VectorIndex, ViewFinder
from pipeline.search.chosen import SeenFaces
from pipeline.search.points import Parts
from pipeline.types import FacePlace, ProbeQuality, Reason, Vector


def no_texts() -> TextEmbedder:
    """For who searches with pictures alone."""
    raise ModelError("nothing here reads the texts of a query")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExampleSources:
    """Where examples come from. `embedder` and `finder` are called only for images, `texts` only for words.

    Each may take seconds.
    """

    store: ObjectReader
    index: VectorIndex
    embedder: Callable[[], ImageEmbedder]
    concurrency: Concurrency = field(default_factory=Concurrency)
    finder: Callable[[], ViewFinder | None] = lambda: None
    decode_slots: Semaphore | None = None  # see `prepare_all`
    texts: Callable[[], TextEmbedder] = no_texts
    embedding: str = ""  # whose space examples are points of
    persons: Callable[[Sequence[str]], Mapping[str, Vector]] = lambda _ids: {}  # the vectors of those there


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """The vector [D] of a query, of unit length. If there is none, `error` says why.

    `location` is the bucket and key of the query's picture, where there is one. `face` is the face of it that
    is meant. `metadata` is what is known of that face. `passed_over` are the faces of the same picture that
    are not meant. `etag` is of the picture's version, where it is known.
    """

    vector: Vector | None = None
    error: str = ""
    code: str = ""  # of the error: a Reason, or an ErrorCode
    location: tuple[str, str] | None = None
    face: FacePlace | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    passed_over: SeenFaces = ()
    etag: str = ""
    quality: ProbeQuality | None = None
    parts: Parts | None = None  # of a query of several
    person: str = ""  # who is meant, where the query names one

    @property
    def detail(self) -> str:
        """The error without its code."""
        return self.error.removeprefix(f"{self.code}: ")


Examples = tuple[Example, ...]  # of one query: one, or one for each face of its picture


def failed_example(code: Reason | ErrorCode, detail: str) -> Example:
    """Of a query that cannot be read."""
    return Example(error=f"{code}: {detail}", code=code.value)

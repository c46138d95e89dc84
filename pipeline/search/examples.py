"""From queries to vectors, in batches. A query that cannot be read costs nobody else's answer."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from threading import Semaphore
from typing import TypeVar, assert_never

import numpy as np

from pipeline.errors import ErrorCode, ImageError, ModelError
from pipeline.ingest.embed import embed_all
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.ports import (
    Concurrency,
    ImageEmbedder,
    ImageLimits,
    ObjectReader,
    TextEmbedder,
    VectorIndex,
    ViewFinder,
)
from pipeline.ports.embedder import check_finder
from pipeline.ports.image_rows import image_id_of_row
from pipeline.ports.model_binding import model_of_embedding
from pipeline.search import query as ask
from pipeline.search.chosen import FaceChoice, SeenFaces, words_for_none
from pipeline.search.given import GivenImages
from pipeline.search.points import Parts
from pipeline.search.quality import QualityMeter, quality_of_face, quality_of_row
from pipeline.types import (
    CollectionRef,
    Embedded,
    FacePlace,
    IndexRow,
    ObjectRef,
    Prepared,
    ProbeQuality,
    Reason,
    Rejected,
    Vector,
    place_of,
)

Q = TypeVar("Q")


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


def read_examples(
    queries: Sequence[ask.Shown], target: CollectionRef, sources: ExampleSources, limits: ImageLimits
) -> list[Examples]:
    """Of each query, in order: stored rows in one lookup, images in groups through the model.

    A picture of faces gives one example for each of them, the largest first.
    """
    stored = iter(_stored_examples(_of(queries, ask.Stored), target, sources))
    objects = iter(_object_examples(_of(queries, ask.Object), sources, limits))
    given = iter(_given_examples(_of(queries, ask.Bytes), sources, limits))
    vectors = iter(_vector_examples(_of(queries, ask.Vector), target, sources))
    persons = iter(_person_examples(_of(queries, ask.Person), target, sources))
    examples: list[Examples] = []
    for query in queries:
        match query:
            case ask.Stored():
                examples.append(next(stored))
            case ask.Object():
                examples.append(next(objects))
            case ask.Bytes():
                examples.append(next(given))
            case ask.Vector():
                examples.append(next(vectors))
            case ask.Person():
                examples.append(next(persons))
            case _:
                assert_never(query)
    return examples


def _of(queries: Sequence[ask.Shown], kind: type[Q]) -> list[Q]:
    return [query for query in queries if isinstance(query, kind)]


def _stored_examples(
    queries: Sequence[ask.Stored], target: CollectionRef, sources: ExampleSources
) -> list[Examples]:
    index, embedding = sources.index, sources.embedding
    ids = sorted({query.id for query in queries})
    rows = {row.id: row for row in index.get_rows(target, ids, latest=False, embedding=embedding)}
    unseen = [id_ for id_ in ids if id_ not in rows]
    if unseen:  # written within the last seconds, perhaps: "not found" must be true
        rows |= {row.id: row for row in index.get_rows(target, unseen, embedding=embedding)}
    found: dict[str, Sequence[IndexRow]] = {id_: [row] for id_, row in rows.items()}
    images = [id_ for id_ in ids if id_ not in found and image_id_of_row(id_) == id_]
    if images:  # whose rows are of views
        found |= index.get_images(target, images)
    return [
        tuple(map(_row_example, found[query.id]))
        if found.get(query.id)
        else (failed_example(Reason.NOT_FOUND, f"no image {query.id} in collection {target.name}"),)
        for query in queries
    ]


def _row_example(row: IndexRow) -> Example:
    face = place_of(row.metadata, width=row.width, height=row.height)
    return Example(
        vector=row.vector,
        location=(row.ref.bucket, row.ref.key),
        face=face,
        metadata=row.metadata,
        etag=row.ref.etag,
        quality=quality_of_face(face, row.metadata) if face else quality_of_row(row),
    )


def _object_examples(
    queries: Sequence[ask.Object], sources: ExampleSources, limits: ImageLimits
) -> list[Examples]:
    versions = [_present_version(query, sources.store) for query in queries]
    asked = [(ref, query) for ref, query in zip(versions, queries, strict=True) if isinstance(ref, ObjectRef)]
    found = _picture_examples(asked, sources.store, sources, limits)
    return [
        tuple(
            replace(example, location=(query.bucket, query.key))
            for example in _version_examples(version, found)
        )
        for query, version in zip(queries, versions, strict=True)
    ]


def _version_examples(version: ObjectRef | ImageError, found: Mapping[int, Examples]) -> Examples:
    if isinstance(version, ImageError):
        return (failed_example(version.reason, version.detail),)
    return tuple(replace(example, etag=version.etag) for example in found[id(version)])


def _present_version(query: ask.Object, store: ObjectReader) -> ObjectRef | ImageError:
    try:
        return store.stat(query.bucket, query.key)
    except ImageError as err:
        return err


def _given_examples(
    queries: Sequence[ask.Bytes], sources: ExampleSources, limits: ImageLimits
) -> list[Examples]:
    given = GivenImages([query.body for query in queries])
    found = _picture_examples([*zip(given.refs, queries, strict=True)], given, sources, limits)
    return [found[id(ref)] for ref in given.refs]


def _picture_examples(
    asked: Sequence[tuple[ObjectRef, ask.Picture]],
    store: ObjectReader,
    sources: ExampleSources,
    limits: ImageLimits,
) -> Mapping[int, Examples]:
    """By the identity, not the value, of the reference: one image may be asked for twice."""
    if not asked:
        return {}
    embedder, clock = sources.embedder(), PhaseClock()
    queries = {id(ref): query for ref, query in asked}
    meter, choice = QualityMeter(), FaceChoice(queries)
    with closing(_prepare_refs([ref for ref, _ in asked], store, sources, limits, clock)) as prepared:
        meant = choice.through(meter.through(prepared))
        outcomes = embed_all(meant, embedder, sources.concurrency.group_items, clock)
        return {
            id(outcome.ref): tuple(
                _with_what_was_seen(example, meter.of(outcome.ref), choice.passed_over(outcome.ref))
                for example in _examples(outcome, queries[id(outcome.ref)])
            )
            for outcome in outcomes
        }


def _with_what_was_seen(example: Example, of_image: ProbeQuality | None, passed_over: SeenFaces) -> Example:
    """The quality is of the face where there is one, or else of the whole picture."""
    quality = quality_of_face(example.face, example.metadata) if example.face else of_image
    return replace(example, quality=quality, passed_over=passed_over)


def _prepare_refs(
    refs: Sequence[ObjectRef],
    store: ObjectReader,
    sources: ExampleSources,
    limits: ImageLimits,
    clock: PhaseClock,
) -> Generator[Prepared | Rejected]:
    spec, finder = sources.embedder().spec, sources.finder()
    check_finder(spec, finder)
    return prepare_all(
        refs,
        store,
        spec.preprocessing,
        limits,
        clock,
        concurrency=sources.concurrency,
        finder=finder,
        decode_slots=sources.decode_slots,
    )


def find_views_of(query: ask.Picture, sources: ExampleSources, limits: ImageLimits) -> Prepared:
    """The picture of a query, and what its model looks at in it. Raises ImageError."""
    store, ref = sources.store, None
    match query:
        case ask.Object():
            ref = store.stat(query.bucket, query.key)
        case ask.Bytes():
            store = GivenImages([query.body])
            (ref,) = store.refs
        case _:
            assert_never(query)
    with closing(_prepare_refs([ref], store, sources, limits, PhaseClock())) as prepared:
        (outcome,) = prepared
    if isinstance(outcome, Rejected):
        raise ImageError(outcome.reason, outcome.detail)
    return outcome


def _examples(outcome: Embedded | Rejected, query: ask.Picture) -> Examples:
    match outcome:
        case Embedded(vectors=()):
            return (failed_example(ErrorCode.INVALID_ARGUMENT, words_for_none(query)),)
        case Embedded():
            return _of_faces(outcome) or (Example(vector=outcome.vectors[0]),)  # the best view
        case Rejected():
            return (failed_example(outcome.reason, outcome.detail),)
        case _:
            assert_never(outcome)


def _of_faces(outcome: Embedded) -> Examples:
    """None where the views are no faces."""
    known = zip(outcome.vectors, outcome.of_views or [{}] * len(outcome.vectors), strict=True)
    return tuple(
        Example(vector=vector, face=face, metadata=metadata)
        for vector, metadata in known
        if (face := place_of(metadata, width=outcome.width, height=outcome.height)) is not None
    )


def _vector_examples(
    queries: Sequence[ask.Vector], target: CollectionRef, sources: ExampleSources
) -> list[Examples]:
    if not queries:
        return []
    dim = model_of_embedding(target, sources.embedding, sources.index).dim
    return [(_vector_example(query, dim),) for query in queries]


def _vector_example(query: ask.Vector, dim: int) -> Example:
    values = np.asarray(query.values, dtype=np.float32)
    if values.shape != (dim,):
        return failed_example(
            ErrorCode.INVALID_ARGUMENT, f"a vector of {dim} numbers is expected, found shape {values.shape}"
        )
    length = float(np.linalg.norm(values.astype(np.float64)))
    if not np.isfinite(length) or length == 0:
        return failed_example(
            ErrorCode.INVALID_ARGUMENT, "a vector of finite numbers that are not all 0 is expected"
        )
    return Example(vector=(values / length).astype(np.float32))


def _person_examples(
    queries: Sequence[ask.Person], target: CollectionRef, sources: ExampleSources
) -> list[Examples]:
    if not queries:
        return []
    vectors = sources.persons([query.id for query in queries])
    return [
        (Example(vector=vectors[query.id], person=query.id),)
        if query.id in vectors
        else (
            failed_example(
                Reason.NOT_FOUND, f"no person {query.id!r} with a face in collection {target.name}"
            ),
        )
        for query in queries
    ]


def failed_example(code: Reason | ErrorCode, detail: str) -> Example:
    """Of a query that cannot be read."""
    return Example(error=f"{code}: {detail}", code=code.value)

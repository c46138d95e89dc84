"""From queries to vectors, in batches. A query that cannot be read costs nobody else's answer."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from threading import Semaphore
from typing import TypeVar, assert_never

import numpy as np

from pipeline.errors import ErrorCode, ImageError
from pipeline.ingest.embed import embed_all
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.ports import Concurrency, ImageEmbedder, ImageLimits, ObjectReader, VectorIndex, ViewFinder
from pipeline.ports.embedder import check_finder
from pipeline.search import query as ask
from pipeline.search.given import GivenImages
from pipeline.types import CollectionRef, Embedded, ObjectRef, Reason, Rejected, Vector

Q = TypeVar("Q")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExampleSources:
    """Where examples come from. `embedder` and `finder` are called only for images: it may take seconds."""

    store: ObjectReader
    index: VectorIndex
    embedder: Callable[[], ImageEmbedder]
    concurrency: Concurrency = field(default_factory=Concurrency)
    finder: Callable[[], ViewFinder | None] = lambda: None
    decode_slots: Semaphore | None = None  # see `prepare_all`


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """The vector [D] of a query, of unit length. If there is none, `error` says why.

    `location` is the bucket and key of the query's picture, where there is one.
    """

    vector: Vector | None = None
    error: str = ""
    code: str = ""  # of the error: a Reason, or an ErrorCode
    location: tuple[str, str] | None = None


def read_examples(
    queries: Sequence[ask.Query], target: CollectionRef, sources: ExampleSources, limits: ImageLimits
) -> list[Example]:
    """One example per query, in order: stored rows in one lookup, images in groups through the model."""
    stored = iter(_stored_examples(_of(queries, ask.Stored), target, sources.index))
    objects = iter(_object_examples(_of(queries, ask.Object), sources, limits))
    given = iter(_given_examples(_of(queries, ask.Bytes), sources, limits))
    vectors = iter(_vector_examples(_of(queries, ask.Vector), target, sources.index))
    examples = []
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
            case _:
                assert_never(query)
    return examples


def _of(queries: Sequence[ask.Query], kind: type[Q]) -> list[Q]:
    return [query for query in queries if isinstance(query, kind)]


def _stored_examples(
    queries: Sequence[ask.Stored], target: CollectionRef, index: VectorIndex
) -> list[Example]:
    ids = sorted({query.id for query in queries})
    rows = {row.id: row for row in index.get_rows(target, ids, latest=False)}
    unseen = [id_ for id_ in ids if id_ not in rows]
    if unseen:  # written within the last seconds, perhaps: "not found" must be true
        rows |= {row.id: row for row in index.get_rows(target, unseen)}
    return [
        Example(vector=row.vector, location=(row.ref.bucket, row.ref.key))
        if (row := rows.get(query.id))
        else _failed(Reason.NOT_FOUND, f"no image {query.id} in collection {target.name}")
        for query in queries
    ]


def _object_examples(
    queries: Sequence[ask.Object], sources: ExampleSources, limits: ImageLimits
) -> list[Example]:
    versions = [_present_version(query, sources.store) for query in queries]
    refs = [ref for ref in versions if isinstance(ref, ObjectRef)]
    outcomes = _embed_refs(refs, sources.store, sources, limits)
    examples = (
        _example(outcomes[id(version)] if isinstance(version, ObjectRef) else version) for version in versions
    )
    return [
        replace(example, location=(query.bucket, query.key))
        for query, example in zip(queries, examples, strict=True)
    ]


def _present_version(query: ask.Object, store: ObjectReader) -> ObjectRef | ImageError:
    try:
        return store.stat(query.bucket, query.key)
    except ImageError as err:
        return err


def _given_examples(
    queries: Sequence[ask.Bytes], sources: ExampleSources, limits: ImageLimits
) -> list[Example]:
    given = GivenImages([query.body for query in queries])
    outcomes = _embed_refs(given.refs, given, sources, limits)
    return [_example(outcomes[id(ref)]) for ref in given.refs]


def _embed_refs(
    refs: Sequence[ObjectRef], store: ObjectReader, sources: ExampleSources, limits: ImageLimits
) -> Mapping[int, Embedded | Rejected]:
    """Outcomes by the identity, not the value, of the reference: one image may be asked for twice."""
    if not refs:
        return {}
    embedder = sources.embedder()
    clock = PhaseClock()
    finder = sources.finder()
    check_finder(embedder.spec, finder)
    prepared = prepare_all(
        refs,
        store,
        embedder.spec.preprocessing,
        limits,
        clock,
        concurrency=sources.concurrency,
        finder=finder,
        decode_slots=sources.decode_slots,
    )
    with closing(prepared):
        outcomes = embed_all(prepared, embedder, sources.concurrency.group_items, clock)
        return {id(outcome.ref): outcome for outcome in outcomes}


def _example(outcome: Embedded | Rejected | ImageError) -> Example:
    match outcome:
        case Embedded(vectors=(first, *_)):  # the best view
            return Example(vector=first)
        case Embedded():
            return _failed(ErrorCode.INVALID_ARGUMENT, "the model finds nothing in this picture")
        case Rejected() | ImageError():
            return _failed(outcome.reason, outcome.detail)
        case _:
            assert_never(outcome)


def _vector_examples(
    queries: Sequence[ask.Vector], target: CollectionRef, index: VectorIndex
) -> list[Example]:
    if not queries:
        return []
    dim = index.model_of(target).dim
    return [_vector_example(query, dim) for query in queries]


def _vector_example(query: ask.Vector, dim: int) -> Example:
    values = np.asarray(query.values, dtype=np.float32)
    if values.shape != (dim,):
        return _failed(
            ErrorCode.INVALID_ARGUMENT, f"a vector of {dim} numbers is expected, found shape {values.shape}"
        )
    length = float(np.linalg.norm(values.astype(np.float64)))
    if not np.isfinite(length) or length == 0:
        return _failed(
            ErrorCode.INVALID_ARGUMENT, "a vector of finite numbers that are not all 0 is expected"
        )
    return Example(vector=(values / length).astype(np.float32))


def _failed(code: Reason | ErrorCode, detail: str) -> Example:
    return Example(error=f"{code}: {detail}", code=code.value)

"""From queries to hits: the same fetch, decode and embedding as ingestion, in batches."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np

from pipeline.embed import embed_all
from pipeline.errors import ImageError
from pipeline.ports import Embedder, Limits, ObjectStore, VectorIndex
from pipeline.prepare import prepare_all
from pipeline.timing import StageClock
from pipeline.types import Embedded, ObjectRef, Rejected, SearchFilter, SearchHit, Vector

QUERIES_AT_ONCE = 256  # bounds vectors in memory; more per call gains nothing
ROW_ID = re.compile(r"[0-9a-f]{32}(:[0-9]{2})?")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredQuery:
    """A row that is in the collection already: no pixels are read."""

    text: str
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectQuery:
    """An image in a bucket or folder."""

    text: str
    bucket: str
    key: str


Query = StoredQuery | ObjectQuery


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRequest:
    collection: str
    k: int = 10
    min_score: float | None = None
    where: SearchFilter = field(default_factory=SearchFilter)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchAnswer:
    """`fault` is empty, or says why this query has no hits: "not_an_image: …".

    `location` is the bucket and key of the query's picture, where there is one.
    """

    query: str
    location: tuple[str, str] | None = None
    hits: tuple[SearchHit, ...] = ()
    fault: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchDeps:
    """`embedder` is called only when a query needs the model: stored ids do not."""

    store: ObjectStore
    index: VectorIndex
    embedder: Callable[[], Embedder]


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """What a query turned out to be: a vector [D], or `fault` says why there is none."""

    vector: Vector | None = None
    fault: str = ""
    location: tuple[str, str] | None = None


def search_images(
    queries: Sequence[Query], request: SearchRequest, deps: SearchDeps, limits: Limits
) -> Iterator[SearchAnswer]:
    """One answer per query, in order. A query that cannot be read costs nobody else's answer."""
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        chunk = queries[start : start + QUERIES_AT_ONCE]
        examples = read_examples(chunk, request.collection, deps, limits)
        hits = iter(_search([e.vector for e in examples if e.vector is not None], request, deps.index))
        for query, example in zip(chunk, examples, strict=True):
            found = next(hits) if example.vector is not None else []
            yield SearchAnswer(
                query=query.text, location=example.location, hits=tuple(found), fault=example.fault
            )


def read_examples(
    queries: Sequence[Query], collection: str, deps: SearchDeps, limits: Limits
) -> list[Example]:
    """One example per query, in order: stored rows in one lookup, images in groups through the model."""
    stored = [query for query in queries if isinstance(query, StoredQuery)]
    objects = [query for query in queries if isinstance(query, ObjectQuery)]
    from_index = iter(_stored_examples(stored, collection, deps.index))
    from_objects = iter(_object_examples(objects, deps, limits))
    return [next(from_index if isinstance(query, StoredQuery) else from_objects) for query in queries]


def _stored_examples(queries: Sequence[StoredQuery], collection: str, index: VectorIndex) -> list[Example]:
    ids = sorted({query.id for query in queries})
    rows = {row.id: row for row in index.get_rows(collection, ids, latest=False)}
    unseen = [id_ for id_ in ids if id_ not in rows]
    if unseen:  # written within the last seconds, perhaps: "not found" must be true
        rows |= {row.id: row for row in index.get_rows(collection, unseen)}
    return [
        Example(vector=row.vector, location=(row.ref.bucket, row.ref.key))
        if (row := rows.get(query.id))
        else Example(fault=f"not_found: no image {query.id} in collection {collection}")
        for query in queries
    ]


def _object_examples(queries: Sequence[ObjectQuery], deps: SearchDeps, limits: Limits) -> list[Example]:
    versions = [_present_version(query, deps.store) for query in queries]
    outcomes = _embed_refs([ref for ref in versions if isinstance(ref, ObjectRef)], deps, limits)
    return [
        _example(query, outcomes[id(version)] if isinstance(version, ObjectRef) else version)
        for query, version in zip(queries, versions, strict=True)
    ]


def _present_version(query: ObjectQuery, store: ObjectStore) -> ObjectRef | ImageError:
    try:
        return store.stat(query.bucket, query.key)
    except ImageError as err:
        return err


def _embed_refs(
    refs: Sequence[ObjectRef], deps: SearchDeps, limits: Limits
) -> Mapping[int, Embedded | Rejected]:
    """Outcomes by the identity, not the value, of the reference: one image may be asked for twice."""
    if not refs:
        return {}
    embedder = deps.embedder()
    clock = StageClock()
    with closing(prepare_all(refs, deps.store, embedder.spec.preprocessing, limits, clock)) as prepared:
        outcomes = embed_all(prepared, embedder, limits.group_items, clock)
        return {id(outcome.ref): outcome for outcome in outcomes}


def _example(query: ObjectQuery, outcome: Embedded | Rejected | ImageError) -> Example:
    location = (query.bucket, query.key)
    match outcome:
        case Embedded():
            return Example(vector=outcome.vector, location=location)
        case Rejected() | ImageError():
            return Example(fault=f"{outcome.reason}: {outcome.detail}", location=location)
        case _:
            assert_never(outcome)


def _search(vectors: Sequence[Vector], request: SearchRequest, index: VectorIndex) -> list[list[SearchHit]]:
    if not vectors:
        return []
    return index.search(
        request.collection,
        np.stack(vectors),
        k=request.k,
        where=request.where,
        min_score=request.min_score,
    )

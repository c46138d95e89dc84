"""Find the images nearest to examples. The one gate to the index's search, whatever the door."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Semaphore
from typing import Literal, assert_never

import numpy as np

from pipeline.errors import ArgumentError, TargetError
from pipeline.names import check_bucket_or_folder
from pipeline.ports import Concurrency, ImageLimits, ObjectReader, ObjectStore, PersonBook, VectorIndex
from pipeline.ports.model_binding import model_of_embedding
from pipeline.search.example import Example, ExampleSources
from pipeline.search.groups import GroupBy, PersonsNearby, Ranked, best_of_images
from pipeline.search.persons import read_vectors
from pipeline.search.points import Parts, scores_of
from pipeline.search.query import Object, Query, picture_of
from pipeline.search.reading import read_queries
from pipeline.service.access import Caller
from pipeline.service.accountability import Accountability
from pipeline.service.kept_probes import KeptProbes
from pipeline.service.models import Models
from pipeline.service.probes import DigestingReader, probe_of, turn_of
from pipeline.service.search_records import Found, recorded
from pipeline.service.search_terms import check_floor, terms_of
from pipeline.service.search_values import SearchAnswer, SearchRequest, Terms
from pipeline.types import CollectionRef, IndexRow, SearchHit, Vector

__all__ = ["QUERIES_AT_ONCE", "SearchAnswer", "SearchPorts", "SearchRequest", "search_images", "sources_of"]

QUERIES_AT_ONCE = 256  # bounds vectors in memory; more per call gains nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPorts:
    store: ObjectStore
    index: VectorIndex
    answers_to: Accountability
    models: Models  # asked only when a query holds an image or words: stored ids need none
    concurrency: Concurrency = field(default_factory=Concurrency)
    probes: KeptProbes | None = None  # where a picture is kept while persons verify what it found
    decode_slots: Semaphore | None = None  # of pictures of all searches at once, as there is memory for
    persons: PersonBook | None = None  # None behind a door that knows no persons

    @property
    def known_persons(self) -> PersonBook:
        """Raises ArgumentError: this door knows none."""
        if self.persons is None:
            raise ArgumentError("persons are searched for by HTTP and by commands, and not by tasks")
        return self.persons


def search_images(
    queries: Sequence[Query], request: SearchRequest, ports: SearchPorts, limits: ImageLimits, caller: Caller
) -> Iterator[SearchAnswer]:
    """One answer per query, in order. A query that cannot be read costs nobody else's answer.

    Raises:
        ArgumentError: at once, for a name that no bucket has.
        DeniedError: at once, also for the collection and the buckets of queries.
        PolicyError: at once. The policy of the collection does not allow it.
        AuditError: a record could not be written; all else with the answer at which it is met, too.
    """
    _check_names(queries)
    terms = terms_of(queries, request, caller, ports.answers_to)
    found = _search(queries, terms, ports, limits)
    return recorded(found, queries, terms, ports.answers_to, ports.probes)


def _check_names(queries: Sequence[Query]) -> None:
    for query in queries:
        if isinstance(picture := picture_of(query), Object):
            check_bucket_or_folder(picture.bucket)


def sources_of(
    target: CollectionRef, ports: SearchPorts, reader: ObjectReader | None = None, embedding: str = ""
) -> ExampleSources:
    """Where examples for this generation come from.

    Args:
        reader: in the place of the store of the ports.
        embedding: by its name; "" is the first.
    """
    return ExampleSources(
        store=reader or ports.store,
        index=ports.index,
        embedder=lambda: ports.models.answering(target, embedding),
        concurrency=ports.concurrency,
        finder=lambda: ports.models.finding(target),
        decode_slots=ports.decode_slots,
        texts=lambda: ports.models.reading(target, embedding),
        embedding=embedding,
        persons=lambda ids: dict(read_vectors(ids, target, ports.index, ports.known_persons)),
    )


def _search(
    queries: Sequence[Query], terms: Terms, ports: SearchPorts, limits: ImageLimits
) -> Iterator[list[Found]]:
    request = terms.request
    target = ports.index.live(request.collection)
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        chunk = queries[start : start + QUERIES_AT_ONCE]
        try:
            found = _answer(chunk, target, terms, ports, limits)
        except TargetError:
            former, target = target, ports.index.live(request.collection, latest=True)
            if target == former:
                raise
            found = _answer(chunk, target, terms, ports, limits)  # another was promoted meanwhile
        yield found


def _answer(
    queries: Sequence[Query],
    target: CollectionRef,
    terms: Terms,
    ports: SearchPorts,
    limits: ImageLimits,
) -> list[Found]:
    """All by one generation: the vectors of two models cannot be compared."""
    embedding = terms.request.embedding
    model_of_embedding(target, embedding, ports.index)  # raises for one that is not there
    check_floor(target, terms, ports.answers_to)
    reader = DigestingReader(ports.store)
    started_s = time.perf_counter()
    examples = read_queries(queries, target, sources_of(target, ports, reader, embedding), limits)
    embedded_s = time.perf_counter()
    every = [example for of_one in examples for example in of_one]
    ranked = iter(_nearest(every, target, terms.request, ports))
    seconds: Mapping[Literal["embed", "search"], float] = {
        "embed": embedded_s - started_s,
        "search": time.perf_counter() - embedded_s,
    }

    def found(query: Query, example: Example) -> Found:
        of_example = next(ranked) if example.vector is not None else Ranked()
        answer = SearchAnswer(
            query=query.text,
            target=target,
            embedding=embedding,
            seconds=seconds,
            location=example.location,
            hits=of_example.hits,
            persons=of_example.persons,
            error=example.error,
            code=example.code,
            to_verify=terms.policy.verifications if terms.policy else 0,
            face=example.face,
            face_metadata=example.metadata if example.face else {},
            passed_over=example.passed_over,
        )
        probe = probe_of(query, reader.digests, example)
        return Found(query=query, probe=probe, answer=answer, details=turn_of(example))

    each = [[found(query, one) for one in of_it] for query, of_it in zip(queries, examples, strict=True)]
    return [replace(first, other_faces=tuple(others)) for first, *others in each]


def _nearest(
    examples: Sequence[Example], target: CollectionRef, request: SearchRequest, ports: SearchPorts
) -> list[Ranked]:
    """Of each example that has a vector, in order."""
    asked = [(example, example.vector) for example in examples if example.vector is not None]
    if not asked:
        return []
    ranked = _ranked(asked, target, request, ports)
    if request.with_vector:
        ranked = _with_vectors(ranked, target, request, ports.index)
    return [
        _with_parts(of_one, example.parts, target, request, ports.index) if example.parts else of_one
        for of_one, (example, _) in zip(ranked, asked, strict=True)
    ]


def _ranked(
    asked: Sequence[tuple[Example, Vector]], target: CollectionRef, request: SearchRequest, ports: SearchPorts
) -> list[Ranked]:
    if request.group_by is not GroupBy.NOTHING:
        return [_grouped(example, vector, target, request, ports) for example, vector in asked]
    vectors = [vector for _, vector in asked]
    found = _hits(vectors, target, request, ports.index, request.k, request.min_score)
    return [Ranked(hits=tuple(hits)) for hits in found]


def _with_parts(
    ranked: Ranked, parts: Parts, target: CollectionRef, request: SearchRequest, index: VectorIndex
) -> Ranked:
    """The cosine of each hit with each part of a query. One query at a time bounds the vectors in memory."""
    (seen,) = [ranked] if request.with_vector else _with_vectors([ranked], target, request, index)
    scored = [
        replace(hit, parts=scores_of(known.vector, parts)) if known.vector is not None else hit
        for hit, known in zip(ranked.hits, seen.hits, strict=True)
    ]
    return replace(ranked, hits=tuple(scored))


def _hits(
    vectors: Sequence[Vector],
    target: CollectionRef,
    request: SearchRequest,
    index: VectorIndex,
    k: int,
    min_score: float | None,
) -> list[list[SearchHit]]:
    return index.search(
        target,
        np.stack(vectors),
        k=k,
        where=request.where,
        min_score=min_score,
        embedding=request.embedding,
    )


def _grouped(
    example: Example, vector: Vector, target: CollectionRef, request: SearchRequest, ports: SearchPorts
) -> Ranked:
    def nearest(k: int, min_score: float | None) -> list[SearchHit]:
        return _hits([vector], target, request, ports.index, k, min_score)[0]

    match request.group_by:
        case GroupBy.IMAGE:
            return best_of_images(request.k, request.min_score, nearest)
        case GroupBy.PERSON:
            near = PersonsNearby(target=target, index=ports.index, book=ports.known_persons)
            return near.find(vector, request.k, request.min_score, nearest, without=example.person)
        case GroupBy.NOTHING:
            raise AssertionError("all vectors are asked for at once")
        case _:
            assert_never(request.group_by)


def _with_vectors(
    found: Sequence[Ranked], target: CollectionRef, request: SearchRequest, index: VectorIndex
) -> list[Ranked]:
    """A row that was replaced or deleted since the search has none: it would be of another picture."""
    ids = sorted({hit.id for ranked in found for hit in ranked.hits})
    seen = index.get_rows(target, ids, latest=False, embedding=request.embedding)
    rows = {(row.id, row.ref.etag): row for row in seen}
    return [
        replace(
            ranked,
            hits=tuple(replace(hit, vector=_vector_of(rows.get((hit.id, hit.etag)))) for hit in ranked.hits),
        )
        for ranked in found
    ]


def _vector_of(row: IndexRow | None) -> Vector | None:
    return row.vector if row is not None else None

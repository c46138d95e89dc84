"""Find the images nearest to examples. The one gate to the index's search, whatever the door."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Semaphore
from typing import Literal

import numpy as np

from pipeline.errors import TargetError
from pipeline.names import check_bucket_or_folder
from pipeline.ports import Concurrency, ImageLimits, ObjectReader, ObjectStore, VectorIndex
from pipeline.search.examples import Example, ExampleSources, read_examples
from pipeline.search.query import Object, Query
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
    models: Models  # asked only when a query holds an image: stored ids need none
    concurrency: Concurrency = field(default_factory=Concurrency)
    probes: KeptProbes | None = None  # where a picture is kept while persons verify what it found
    decode_slots: Semaphore | None = None  # of pictures of all searches at once, as there is memory for


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
        if isinstance(query, Object):
            check_bucket_or_folder(query.bucket)


def sources_of(
    target: CollectionRef, ports: SearchPorts, reader: ObjectReader | None = None
) -> ExampleSources:
    """Where examples for this generation come from. Args: `reader` in the place of the store of the ports."""
    return ExampleSources(
        store=reader or ports.store,
        index=ports.index,
        embedder=lambda: ports.models.answering(target),
        concurrency=ports.concurrency,
        finder=lambda: ports.models.finding(target),
        decode_slots=ports.decode_slots,
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
    check_floor(target, terms, ports.answers_to)
    reader = DigestingReader(ports.store)
    started_s = time.perf_counter()
    examples = read_examples(queries, target, sources_of(target, ports, reader), limits)
    embedded_s = time.perf_counter()
    every = [example for of_one in examples for example in of_one]
    hits = iter(_nearest(every, target, terms.request, ports.index))
    seconds: Mapping[Literal["embed", "search"], float] = {
        "embed": embedded_s - started_s,
        "search": time.perf_counter() - embedded_s,
    }

    def found(query: Query, example: Example) -> Found:
        answer = SearchAnswer(
            query=query.text,
            target=target,
            seconds=seconds,
            location=example.location,
            hits=tuple(next(hits)) if example.vector is not None else (),
            error=example.error,
            code=example.code,
            to_verify=terms.policy.verifications if terms.policy else 0,
            face=example.face,
            face_metadata=example.metadata if example.face else {},
        )
        probe = probe_of(query, reader.digests, example)
        return Found(query=query, probe=probe, answer=answer, details=turn_of(example))

    each = [[found(query, one) for one in of_it] for query, of_it in zip(queries, examples, strict=True)]
    return [replace(first, other_faces=tuple(others)) for first, *others in each]


def _nearest(
    examples: Sequence[Example], target: CollectionRef, request: SearchRequest, index: VectorIndex
) -> list[list[SearchHit]]:
    vectors = [example.vector for example in examples if example.vector is not None]
    if not vectors:
        return []
    found = index.search(
        target, np.stack(vectors), k=request.k, where=request.where, min_score=request.min_score
    )
    return _with_vectors(found, target, index) if request.with_vector else found


def _with_vectors(
    found: Sequence[Sequence[SearchHit]], target: CollectionRef, index: VectorIndex
) -> list[list[SearchHit]]:
    """A row that was replaced or deleted since the search has none: it would be of another picture."""
    ids = sorted({hit.id for hits in found for hit in hits})
    rows = {(row.id, row.ref.etag): row for row in index.get_rows(target, ids, latest=False)}
    return [[replace(hit, vector=_vector_of(rows.get((hit.id, hit.etag)))) for hit in hits] for hits in found]


def _vector_of(row: IndexRow | None) -> Vector | None:
    return row.vector if row is not None else None

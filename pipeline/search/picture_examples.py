"""From the pictures of queries to vectors, in groups through the model."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import assert_never

from pipeline.errors import ErrorCode, ImageError
from pipeline.ingest.embed import embed_all
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.ports import ImageLimits, ObjectReader
from pipeline.ports.embedder import check_finder
from pipeline.search import query as ask
from pipeline.search.chosen import FaceChoice, SeenFaces, words_for_none
from pipeline.search.example import Example, Examples, ExampleSources, failed_example
from pipeline.search.given import GivenImages
from pipeline.search.quality import QualityMeter, quality_of_face
from pipeline.types import Embedded, ObjectRef, Prepared, ProbeQuality, Rejected, place_of


def object_examples(
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


def given_examples(
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

"""From queries to vectors. The pictures of all of them go together, and so do their texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from pipeline.errors import ErrorCode
from pipeline.ports import ImageLimits
from pipeline.ports.model_binding import model_of_embedding
from pipeline.search.example import Example, Examples, ExampleSources, failed_example
from pipeline.search.examples import read_examples
from pipeline.search.points import Parts, point_of
from pipeline.search.query import Bytes, Object, Person, Query, Shown, Stored, Text, Vector, picture_of
from pipeline.search.words import embed_words, reads_no_text
from pipeline.types import CollectionRef
from pipeline.types import Vector as Point

Found = Mapping[str, Point | str]  # by text


def read_queries(
    queries: Sequence[Query], target: CollectionRef, sources: ExampleSources, limits: ImageLimits
) -> list[Examples]:
    """Of each query, in order. A query that cannot be read costs nobody else's example."""
    texts = [query for query in queries if isinstance(query, Text)]
    if texts and not model_of_embedding(target, sources.embedding, sources.index).reads_text:
        reason = reads_no_text(target, sources.index.model_of(target), sources.embedding)
        refused = (failed_example(ErrorCode.MODEL_UNUSABLE, reason),)
        others = iter(read_examples(_pictures_of(queries, of_texts=False), target, sources, limits))
        return [refused if isinstance(query, Text) else next(others) for query in queries]
    found = embed_words(texts, sources.texts()) if texts else {}
    pictures = iter(read_examples(_pictures_of(queries, of_texts=True), target, sources, limits))
    return [_examples(query, found, pictures) for query in queries]


def _pictures_of(queries: Sequence[Query], *, of_texts: bool) -> list[Shown]:
    return [
        picture
        for query in queries
        if (of_texts or not isinstance(query, Text)) and (picture := picture_of(query)) is not None
    ]


def _examples(query: Query, found: Found, pictures: Iterator[Examples]) -> Examples:
    match query:
        case Text(picture=None):
            return (_mixed(query, found, Example()),)
        case Text():
            return tuple(_mixed(query, found, example) for example in next(pictures))
        case Stored() | Object() | Bytes() | Vector() | Person():
            return next(pictures)
        case _:
            assert_never(query)


def _mixed(query: Text, found: Found, example: Example) -> Example:
    """Args: `example` is of the picture beside the words. It has no vector where there is none."""
    if example.error:
        return example
    of_text = {text: found[text] for text in (*query.prompts, *query.unwanted)}
    vectors = {text: vector for text, vector in of_text.items() if not isinstance(vector, str)}
    for reason in of_text.values():
        if isinstance(reason, str):
            return failed_example(ErrorCode.INVALID_ARGUMENT, reason)
    parts = Parts(
        texts=tuple(vectors[text] for text in query.prompts),
        unwanted=tuple(vectors[text] for text in query.unwanted),
        picture=example.vector,
    )
    point = point_of(parts, query.weights)
    if point is None:
        return failed_example(ErrorCode.INVALID_ARGUMENT, "the parts of this query cancel each other out")
    return replace(example, vector=point, parts=parts if parts.count > 1 else None)

"""From queries to vectors, in batches. A query that cannot be read costs nobody else's answer."""

from collections.abc import Sequence
from typing import TypeVar, assert_never

import numpy as np

from pipeline.errors import ErrorCode
from pipeline.ports import ImageLimits
from pipeline.ports.image_rows import image_id_of_row
from pipeline.ports.model_binding import model_of_embedding
from pipeline.search import query as ask
from pipeline.search.example import Example, Examples, ExampleSources, failed_example
from pipeline.search.picture_examples import given_examples, object_examples
from pipeline.search.quality import quality_of_face, quality_of_row
from pipeline.types import CollectionRef, IndexRow, Reason, place_of

Q = TypeVar("Q")


def read_examples(
    queries: Sequence[ask.Shown], target: CollectionRef, sources: ExampleSources, limits: ImageLimits
) -> list[Examples]:
    """Of each query, in order: stored rows in one lookup, images in groups through the model.

    A picture of faces gives one example for each of them, the largest first.
    """
    stored = iter(_stored_examples(_of(queries, ask.Stored), target, sources))
    objects = iter(object_examples(_of(queries, ask.Object), sources, limits))
    given = iter(given_examples(_of(queries, ask.Bytes), sources, limits))
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

"""A person is searched for, and found, by the mean of the faces that are theirs (decision 0130).

Nothing is kept beside the faces. So a face that was deleted, replaced or embedded by another model counts as
it is from then on.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.ports import PersonBook, VectorIndex
from pipeline.types import CollectionRef, IndexRow, PersonFace, SearchHit, Vector, place_of

PERSONS_AT_ONCE = 50  # 5,000 rows with their vectors at most


def read_faces(
    person_ids: Sequence[str],
    target: CollectionRef,
    index: VectorIndex,
    book: PersonBook,
    *,
    latest: bool = False,
) -> dict[str, list[IndexRow]]:
    """The faces of persons that are there, by person. Those without one are missing.

    Args:
        latest: see `VectorIndex.get_rows`.
    """
    found: dict[str, list[IndexRow]] = {}
    for some in _parts(person_ids):
        held = {
            face.row_id: (person_id, face)
            for person_id, faces in book.faces_of(target.name, some).items()
            for face in faces
        }
        for row in index.get_rows(target, list(held), latest=latest) if held else []:
            person_id, face = held[row.id]
            if is_still(face, row):
                found.setdefault(person_id, []).append(row)
    return found


def owners_of(
    rows: Sequence[IndexRow | SearchHit], target: CollectionRef, book: PersonBook
) -> Mapping[str, str]:
    """Whose faces these rows are, by the row's id."""
    held = book.owners(target.name, [row.id for row in rows])
    return {row.id: held[row.id][0] for row in rows if row.id in held and is_still(held[row.id][1], row)}


def is_still(face: PersonFace, row: IndexRow | SearchHit) -> bool:
    """Whether the row shows the face that was associated."""
    place = place_of(row.metadata, width=row.width, height=row.height)
    etag = row.etag if isinstance(row, SearchHit) else row.ref.etag
    return face.is_in(etag=etag, box=place.box if place else None)


def mean_vector(vectors: Sequence[Vector]) -> Vector:
    """[D], unit length. Args: `vectors`: one or more of unit length."""
    total: NDArray[np.float64] = np.sum(np.stack(vectors), axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    # Opposite faces have no mean. The first is as good as any.
    return np.asarray(total / length, dtype=np.float32) if length > 1e-6 else vectors[0]


def read_vectors(
    person_ids: Sequence[str], target: CollectionRef, index: VectorIndex, book: PersonBook
) -> Iterator[tuple[str, Vector]]:
    """Each person who has a face, and the mean of them."""
    for some in _parts(person_ids):
        for person_id, rows in read_faces(some, target, index, book).items():
            yield person_id, mean_vector([row.vector for row in rows])


def _parts(person_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (
        person_ids[start : start + PERSONS_AT_ONCE] for start in range(0, len(person_ids), PERSONS_AT_ONCE)
    )

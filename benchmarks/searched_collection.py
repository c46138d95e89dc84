"""A collection to search: rows whose vectors have neighbours, as pictures have, and the true nearest ones."""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from benchmarks.synthetic import BUCKET, DIM, free_spec
from pipeline.ports import VectorIndex
from pipeline.ports.image_rows import rows_by_image
from pipeline.types import IndexRow, ObjectRef

# Embeddings lie near a surface of far fewer directions than they have numbers. In 512 independent directions
# all rows are equally far from each other, and no graph index finds the nearest: nor would anybody ask.
DIRECTIONS = 64
NOISE = 0.05  # of the length, in all directions
ROWS_PER_UPSERT = 1_000


def draw_vectors(count: int, seed: int) -> NDArray[np.float32]:
    """[count, DIM], unit length. Rows of two seeds lie on the same surface."""
    surface = np.random.default_rng(99).standard_normal((DIRECTIONS, DIM), dtype=np.float32)
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, DIRECTIONS), dtype=np.float32) @ surface
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors += NOISE * rng.standard_normal((count, DIM), dtype=np.float32) / np.sqrt(DIM)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def row_ref(number: int) -> ObjectRef:
    return ObjectRef(
        bucket=BUCKET, key=f"2026/photo-{number:09d}.jpg", etag=f"{number:032x}", size_bytes=80_000
    )


def fill_collection(index: VectorIndex, collection: str, vectors: NDArray[np.float32]) -> list[str]:
    """Write a row for each vector and wait for the index.

    Returns:
        The ids of the rows, in the order of `vectors`.
    """
    target = index.create_collection(collection, free_spec()).ref
    indexed_at = datetime.now(UTC)
    ids = []
    for start in range(0, len(vectors), ROWS_PER_UPSERT):
        rows = [
            _row(start + place, vector, indexed_at)
            for place, vector in enumerate(vectors[start : start + ROWS_PER_UPSERT])
        ]
        index.replace_images(target, rows_by_image(rows))
        ids += [row.id for row in rows]
    index.flush(target)
    return ids


def nearest_rows(vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """[Q, k] places of the nearest rows by brute force, in no order."""
    return np.argpartition(-(queries @ vectors.T), k, axis=1)[:, :k]


def _row(number: int, vector: NDArray[np.float32], indexed_at: datetime) -> IndexRow:
    ref = row_ref(number)
    return IndexRow(id=ref.image_id, ref=ref, vector=vector, width=512, height=512, indexed_at=indexed_at)

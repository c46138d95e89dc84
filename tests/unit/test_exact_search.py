"""The search over a copy: the same answers as the memory index, and true to the sixth decimal."""

import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.adapters.milvus.lite.copy import LiteCopy
from pipeline.adapters.milvus.lite.exact_search import search_table
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import IndexRow, ModelSpec, ObjectRef, Preprocessing, SearchFilter, SearchHit, image_id_of
from tests.index_rows import put

DIM = 4
MODEL = ModelSpec(
    name="first",
    address="builtin/first",
    architecture="none",
    fingerprint="a1" * 32,
    dim=DIM,
    preprocessing=Preprocessing(resize=8, crop=8, mean=(0, 0, 0), std=(1, 1, 1)),
)
# Their cosines are far from where scores are rounded, so that float32 and float64 agree.
VECTORS = np.array(
    [[1, 0, 0, 0], [-1, 0, 0, 0], [0, 2, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 0, 0]], dtype=np.float32
)
TEXT = st.text('ab\x01\x02\x03"\\,:{}ä😀', max_size=4)


def row(key: str, vector: NDArray[np.float32], bucket: str = "b", **metadata: str) -> IndexRow:
    return IndexRow(
        id=image_id_of(bucket, key),
        ref=ObjectRef(bucket=bucket, key=key, etag="e", size_bytes=len(key)),
        vector=vector,
        width=2,
        height=3,
        indexed_at=datetime(2026, 3, 1, 1, 2, 3, 4, tzinfo=UTC),
        metadata=metadata,
    )


ROWS = st.builds(
    lambda key, vector, bucket, metadata: row(key, vector, bucket, **metadata),
    TEXT,
    st.sampled_from(list(VECTORS)),
    st.sampled_from(["b", "bb", "ä"]),
    st.dictionaries(TEXT, TEXT, max_size=2),
)
FILTERS = st.builds(
    SearchFilter,
    key_prefix=TEXT,
    bucket=st.sampled_from(["", "b", "bb"]),
    metadata=st.dictionaries(TEXT, TEXT),
)


@given(
    writes=st.lists(st.lists(ROWS, min_size=1, max_size=8, unique_by=lambda row: row.id), max_size=4),
    k=st.integers(1, 12),
    where=st.none() | FILTERS,
    min_score=st.sampled_from([None, -1.0, 0.0, 0.6, 1.0]),
    data=st.data(),
)
def test_the_answers_are_those_of_the_memory_index(
    writes: list[list[IndexRow]],
    k: int,
    where: SearchFilter | None,
    min_score: float | None,
    data: st.DataObject,
) -> None:
    memory = MemoryIndex()
    target = memory.create_collection("photos", MODEL).ref
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(LiteCopy.create(Path(folder) / "copy", DIM)) as copy,
    ):
        for rows in writes:
            copy.put(rows)
            put(memory, target, rows)
            gone = data.draw(st.lists(st.sampled_from([row.id for row in rows]), max_size=3))
            copy.delete(gone)
            memory.delete_images(target, gone)
        found = search_table(copy.table(), VECTORS[:4], k=k, where=where, min_score=min_score)
    assert found == memory.search(target, VECTORS[:4], k=k, where=where, min_score=min_score)


@pytest.mark.parametrize("part", [1.0, 0.5, 0.01])  # that the filter lets through
def test_scores_are_true_and_none_of_the_nearest_is_missing(tmp_path: Path, part: float) -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(3000, 512)).astype(np.float32)
    vectors[1::2] = vectors[::2]  # each twice, at another place of the product
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = rng.random(3000) < part
    copy = LiteCopy.create(tmp_path / "copy", 512)
    copy.put([row(f"{n}", vector, chosen=f"{chosen[n]}") for n, vector in enumerate(vectors)])
    where = None if part == 1 else SearchFilter(metadata={"chosen": "True"})
    answers = search_table(copy.table(), vectors[:20], k=10, where=where, min_score=None)
    copy.close()
    for hits, query in zip(answers, vectors[:20], strict=True):
        assert [(hit.id, hit.score) for hit in hits] == nearest(vectors, query, chosen)


def nearest(
    vectors: NDArray[np.float32], query: NDArray[np.float32], chosen: NDArray[np.bool_]
) -> list[tuple[str, float]]:
    wide = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    cosines = (wide * query / np.linalg.norm(query.astype(np.float64))).sum(axis=1)
    scored = [(image_id_of("b", f"{n}"), min(1.0, round(cosines[n], 6))) for n in np.flatnonzero(chosen)]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:10]


def test_one_query_or_many_give_the_same_scores(tmp_path: Path) -> None:
    vectors = np.random.default_rng(5).normal(size=(500, DIM)).astype(np.float32)
    copy = LiteCopy.create(tmp_path / "copy", DIM)
    copy.put([row(f"{n}", vector) for n, vector in enumerate(vectors)])
    together = search_table(copy.table(), vectors, k=7, where=None, min_score=None)
    alone: list[list[SearchHit]] = [
        search_table(copy.table(), vector[None], k=7, where=None, min_score=None)[0] for vector in vectors
    ]
    copy.close()
    assert together == alone

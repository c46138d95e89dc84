"""Exact nearest rows of a copy: one product of the matrix with the query, and careful scores for the best."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.milvus.lite.exact_filter import matching
from pipeline.adapters.milvus.lite.table import Table
from pipeline.search.ranking import SCORE_DECIMALS
from pipeline.types import SearchFilter, SearchHit

# The first scores are float32 sums, whose error depends on the order of summation and so on the row's place.
# 2e-5 is over ten times the error of 4,096 products of unit vectors, and of the rounding of scores as well.
MARGIN = 2e-5
SCORES_AT_ONCE = 2**24  # over all queries of one product: 64 MB
ROWS_AT_ONCE = 2**22  # numbers that are scored carefully in one piece: 32 MB
SPARSE = 8  # when a filter leaves less than this part, the rows are gathered; else all are multiplied


def search_table(
    table: Table,
    vectors: NDArray[np.float32],
    *,
    k: int,
    where: SearchFilter | None,
    min_score: float | None,
) -> list[list[SearchHit]]:
    """The `k` nearest rows of each vector [Q, D], best first, ties by id."""
    slots = np.flatnonzero(matching(table, where))
    if len(slots) == 0:
        return [[] for _ in vectors]
    queries = _unit(vectors)
    return [
        _best(table, query, slots, scores, k=k, min_score=min_score)
        for query, scores in zip(queries, _rough_scores(table, queries, slots), strict=True)
    ]


def _rough_scores(
    table: Table, queries: NDArray[np.float64], slots: NDArray[np.intp]
) -> Iterator[NDArray[np.float32]]:
    """[len(slots)] for each query, within `MARGIN` of the true score."""
    sparse = len(slots) * SPARSE < len(table.vectors)
    rows = table.vectors[slots] if sparse else table.vectors
    inverse_lengths = table.records["inverse_length"][slots]
    at_once = max(1, SCORES_AT_ONCE // len(rows))
    for start in range(0, len(queries), at_once):
        products = queries[start : start + at_once].astype(np.float32) @ rows.T
        for product in products:
            yield (product if sparse or len(slots) == len(rows) else product[slots]) * inverse_lengths


def _best(
    table: Table,
    query: NDArray[np.float64],
    slots: NDArray[np.intp],
    rough: NDArray[np.float32],
    *,
    k: int,
    min_score: float | None,
) -> list[SearchHit]:
    least = -2.0 if min_score is None else min_score - MARGIN
    if len(rough) > k:
        least = max(least, float(np.partition(rough, len(rough) - k)[len(rough) - k]) - MARGIN)
    candidates = slots[rough >= least]
    scores = _scores(table, query, candidates)
    if min_score is not None:
        candidates, scores = candidates[scores >= min_score], scores[scores >= min_score]
    order = np.lexsort((table.records["id"][candidates], -scores))[:k]
    return [
        table.hit(slot, score)
        for slot, score in zip(candidates[order].tolist(), scores[order].tolist(), strict=True)
    ]


def _scores(table: Table, query: NDArray[np.float64], slots: NDArray[np.intp]) -> NDArray[np.float64]:
    """[len(slots)] as they are shown: the same for equal rows, wherever they lie."""
    at_once = max(1, ROWS_AT_ONCE // len(query))
    pieces = [slots[start : start + at_once] for start in range(0, len(slots), at_once)]
    cosines = [(_unit(table.vectors[piece]) * query).sum(axis=1) for piece in pieces]
    scores: NDArray[np.float64] = np.clip(np.concatenate([[], *cosines]), -1, 1)
    return np.round(scores, SCORE_DECIMALS)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    length = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return wide / np.where(length == 0, 1, length)

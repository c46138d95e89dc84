"""The bounds of a search, and the orders of hits and versions, for every vector index."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArgumentError
from pipeline.ports import MAX_HITS
from pipeline.types import IndexedImage, ObjectRef, SearchHit

# Engines sum in different orders, so the same vector may score 0.9999999 in one segment and 1.0000001 in the
# next. Six decimals hide that, and keep the precision of float32.
SCORE_DECIMALS = 6


def to_score(cosine: float) -> float:
    """A cosine as it is shown and compared: a Python float within -1..1."""
    return round(min(1.0, max(-1.0, float(cosine))), SCORE_DECIMALS)


def best_first(hits: Iterable[SearchHit], *, k: int, min_score: float | None) -> list[SearchHit]:
    kept = (hit for hit in hits if min_score is None or hit.score >= min_score)
    return sorted(kept, key=lambda hit: (-hit.score, hit.id))[:k]


def one_of_each_image(refs: Iterable[ObjectRef]) -> Iterator[IndexedImage]:
    """Args: `refs` of rows in order of their ids, so that those of one image follow each other."""
    for _, rows in groupby(refs, key=lambda ref: (ref.bucket, ref.key)):
        first, *others = rows
        same = all(other.etag == first.etag for other in others)
        yield IndexedImage(ref=first if same else replace(first, etag=""), rows=1 + len(others))


def check_query(name: str, dim: int, vectors: NDArray[np.float32], k: int) -> None:
    """Raises ArgumentError: vectors of another length than the collection's, or k out of range."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise ArgumentError(
            f"collection {name!r} holds vectors of {dim} numbers; the query has shape {vectors.shape}"
        )
    if not 1 <= k <= MAX_HITS:
        raise ArgumentError(f"{k} hits were asked for; 1 to {MAX_HITS} are possible")

"""The point that is searched for, of the texts and the picture of a query. The one place that mixes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.search.query import Weights
from pipeline.search.ranking import to_score
from pipeline.types import PartScores, Vector

LEAST_LENGTH = 1e-4  # of a mix. What is shorter is the rounding of parts that cancel each other out


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Parts:
    """What a query is made of, each [D] of unit length."""

    texts: tuple[Vector, ...] = ()
    unwanted: tuple[Vector, ...] = ()
    picture: Vector | None = None

    @property
    def count(self) -> int:
        return len(self.texts) + len(self.unwanted) + (self.picture is not None)


def point_of(parts: Parts, weights: Weights) -> Vector | None:
    """[D], of unit length: texts and picture together, less what is not wanted. None if nothing is left.

    Texts become one direction before they are weighed, so that five texts count no more than one.
    """
    mixed = weights.text * _direction(parts.texts) - weights.unwanted * _direction(parts.unwanted)
    if parts.picture is not None:
        mixed = mixed + weights.picture * _direction([parts.picture])
    length = float(np.linalg.norm(mixed))
    return (mixed / length).astype(np.float32) if length > LEAST_LENGTH else None


def scores_of(hit: Vector, parts: Parts) -> PartScores:
    """Args: `hit` is [D], of unit length."""
    return PartScores(
        texts=tuple(_cosine(hit, vector) for vector in parts.texts),
        unwanted=tuple(_cosine(hit, vector) for vector in parts.unwanted),
        picture=None if parts.picture is None else _cosine(hit, parts.picture),
    )


def _direction(vectors: Sequence[Vector]) -> NDArray[np.float64]:
    """The mean, of unit length. 0 for none, and for vectors that cancel each other out."""
    if not vectors:
        return np.zeros(1)
    mean: NDArray[np.float64] = np.mean(np.stack(vectors), axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    return np.zeros_like(mean) if length <= LEAST_LENGTH else np.divide(mean, length)


def _cosine(one: Vector, other: Vector) -> float:
    return to_score(float(np.dot(one.astype(np.float64), other.astype(np.float64))))

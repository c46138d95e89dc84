"""All comparisons of labelled vectors with each other, counted block by block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.grid import STEPS, steps_of
from pipeline.evaluation.labelled import LabelledVectors

BLOCK_SCORES = 2_000_000  # cosines at once: with their steps and masks under 100 MB
TAIL_PAIRS = 1_000_000  # the highest impostor scores that are kept with their persons: 24 MB


@dataclass(frozen=True, kw_only=True, slots=True)
class ImpostorTail:
    """The highest scores of two different persons, falling. `persons` is [K, 2]."""

    scores: NDArray[np.float64]
    persons: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparisons:
    """Each pair of images is compared once. Histograms are [STEPS + 1]."""

    genuine: NDArray[np.int64]
    impostor: NDArray[np.int64]
    tail: ImpostorTail


@dataclass(frozen=True, kw_only=True, slots=True)
class ResampledShares:
    """[T, B], in each resample of persons, the share of comparisons at or above each threshold."""

    genuine: NDArray[np.float64]
    impostor: NDArray[np.float64]


def compare_all(
    labelled: LabelledVectors, *, block_scores: int = BLOCK_SCORES, tail_pairs: int = TAIL_PAIRS
) -> Comparisons:
    genuine, impostor = (np.zeros(STEPS + 1, dtype=np.int64) for _ in range(2))
    tail = _Tail(tail_pairs)
    columns = np.arange(len(labelled))
    for rows, scores in _blocks(labelled.vectors, block_scores):
        later = columns[None, :] > rows[:, None]  # else each pair would be counted twice
        same = labelled.persons[rows][:, None] == labelled.persons[None, :]
        steps = steps_of(scores)
        genuine += np.bincount(steps[later & same], minlength=STEPS + 1)
        others = later & ~same
        impostor += np.bincount(steps[others], minlength=STEPS + 1)
        tail.add(rows, scores, others, labelled.persons)
    return Comparisons(genuine=genuine, impostor=impostor, tail=tail.highest())


def resample(
    labelled: LabelledVectors,
    thresholds: Sequence[int],
    weights: NDArray[np.float32],
    *,
    block_scores: int = BLOCK_SCORES,
) -> ResampledShares:
    """What the shares would have been with other persons of the same kind.

    A person who is drawn twice is not compared with themself: their comparisons of one image with another
    count twice, and their comparisons with others count by the product of both weights.

    Args:
        thresholds: steps of the grid, T of them.
        weights: [B, P], see `draw_weights`.
    """
    genuine = np.zeros((len(thresholds), len(labelled.names)))  # by person
    impostor = np.zeros((len(thresholds), len(weights)))
    if not thresholds:
        return ResampledShares(genuine=np.zeros_like(impostor), impostor=impostor)
    for rows, scores in _blocks(labelled.vectors, block_scores):
        steps = steps_of(scores)
        steps[np.arange(len(rows)), rows] = -1  # an image is not compared with itself
        reached = [steps >= threshold for threshold in thresholds]
        genuine += [_count_genuine(matches, rows, labelled) for matches in reached]
        impostor += _weigh_impostors(reached, rows, labelled, weights)
    exact = weights.astype(np.float64)
    images = labelled.images_of_persons().astype(np.float64)
    all_genuine = exact @ (images * (images - 1))
    all_impostor = (exact @ images) ** 2 - exact**2 @ images**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return ResampledShares(genuine=genuine @ exact.T / all_genuine, impostor=impostor / all_impostor)


def _blocks(
    vectors: NDArray[np.float32], block_scores: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Rows, and their cosines with all others."""
    height = max(1, block_scores // max(1, len(vectors)))
    for start in range(0, len(vectors), height):
        rows = np.arange(start, min(start + height, len(vectors)))
        yield rows, vectors[rows] @ vectors.T


def _count_genuine(
    reached: NDArray[np.bool_], rows: NDArray[np.int64], labelled: LabelledVectors
) -> NDArray[np.float64]:
    """[P], comparisons of `rows` with other images of the same person."""
    persons = labelled.persons[rows]
    same = persons[:, None] == labelled.persons[None, :]
    counts = np.bincount(persons, (reached & same).sum(axis=1), minlength=len(labelled.names))
    return counts.astype(np.float64)


def _weigh_impostors(
    reached: Sequence[NDArray[np.bool_]],
    rows: NDArray[np.int64],
    labelled: LabelledVectors,
    weights: NDArray[np.float32],
) -> NDArray[np.float64]:
    """[T, B], sums of w[p] w[q] over the images of `rows` (of p) and all others (of q), where p is not q."""
    persons = labelled.persons[rows]
    counts = np.stack([_count_others(matches, persons, labelled) for matches in reached])
    of_all = counts.reshape(-1, counts.shape[2]) @ weights.T  # one product, since it reads all weights
    of_all = of_all.reshape(*counts.shape[:2], -1)
    of_rows = weights[:, np.unique(persons)]
    weighed: NDArray[np.float64] = np.einsum("bp,tpb->tb", of_rows, of_all, dtype=np.float64)
    return weighed


def _count_others(
    reached: NDArray[np.bool_], persons: NDArray[np.int64], labelled: LabelledVectors
) -> NDArray[np.float32]:
    """[persons of the rows, P], comparisons of the rows of a person with the images of another."""
    counts = _by_person(reached, labelled.persons, axis=1)
    counts[np.arange(len(persons)), persons] = 0
    return _by_person(counts, persons, axis=0)


def _by_person(
    values: NDArray[np.bool_] | NDArray[np.float32], persons: NDArray[np.int64], *, axis: int
) -> NDArray[np.float32]:
    starts = np.flatnonzero(np.diff(persons, prepend=-1))
    return np.add.reduceat(values, starts, axis=axis, dtype=np.float32)


class _Tail:
    """The highest impostor scores so far."""

    def __init__(self, pairs: int) -> None:
        self._pairs = pairs
        self._scores = np.zeros(0)
        self._persons = np.zeros((0, 2), dtype=np.int64)
        self._floor = -np.inf

    def add(
        self,
        rows: NDArray[np.int64],
        scores: NDArray[np.float32],
        others: NDArray[np.bool_],
        persons: NDArray[np.int64],
    ) -> None:
        row, column = np.nonzero(others & (scores > self._floor))
        self._scores = np.concatenate([self._scores, scores[row, column].astype(np.float64)])
        pairs = np.stack([persons[rows[row]], persons[column]], axis=1)
        self._persons = np.concatenate([self._persons, pairs])
        if len(self._scores) > self._pairs:
            kept = np.argpartition(-self._scores, self._pairs - 1)[: self._pairs]
            self._scores, self._persons = self._scores[kept], self._persons[kept]
            self._floor = float(self._scores.min())

    def highest(self) -> ImpostorTail:
        order = np.argsort(-self._scores, kind="stable")
        return ImpostorTail(scores=self._scores[order], persons=self._persons[order])

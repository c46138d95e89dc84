"""How well images of a class, or copies of a picture, find each other, leaving one out."""

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.comparisons import Comparisons
from pipeline.evaluation.error_rates import Retrieval
from pipeline.evaluation.grid import counts_from
from pipeline.evaluation.labelled import LabelledVectors

BLOCK_SCORES = 4_000_000  # cosines at once


def measure_retrieval(labelled: LabelledVectors, comparisons: Comparisons) -> Retrieval | None:
    """Each image asks for the others of its label. None when no image has others.

    Args:
        comparisons: those of `labelled`.

    An image whose label nobody else has only answers. Of equal scores, the first row comes first.
    """
    marks = []
    height = max(1, BLOCK_SCORES // max(1, len(labelled)))
    for start in range(0, len(labelled), height):
        scores = labelled.vectors[start : start + height] @ labelled.vectors.T
        for row, of_row in enumerate(scores, start):
            order = np.argsort(-of_row, kind="stable")
            ranking = labelled.persons[order[order != row]] == labelled.persons[row]
            if ranking.any():
                marks.append((ranking[0], ranking[:5].any(), average_precision(ranking)))
    if not marks:
        return None
    at_1, at_5, precision = np.mean(np.array(marks, dtype=np.float64), axis=0)
    return Retrieval(
        queries=len(marks),
        recall_at_1=float(at_1),
        recall_at_5=float(at_5),
        mean_average_precision=float(precision),
        micro_average_precision=micro_average_precision(comparisons),
    )


def average_precision(ranking: NDArray[np.bool_]) -> float:
    """Of one ranking, best first, that says which places are right. At least one is."""
    ranks = np.flatnonzero(ranking) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def micro_average_precision(comparisons: Comparisons) -> float:
    """Of one ranking of all pairs of images. A pair of one label is right, and at least one is.

    Copies are found with one threshold for all pictures, and this says how well one can serve. Scores of one
    step of the grid count as equal.
    """
    right, wrong = counts_from(comparisons.genuine), counts_from(comparisons.impostor)
    precision = right / np.maximum(right + wrong, 1)
    return float((precision * comparisons.genuine).sum() / right[0])

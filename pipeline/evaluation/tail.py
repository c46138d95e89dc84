"""The high end of impostor scores: thresholds of false match rates, measured or extrapolated."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.comparisons import ImpostorTail
from pipeline.evaluation.grid import RESOLUTION
from pipeline.evaluation.labelled import LabelledVectors

FEWEST_ERRORS = 30  # with fewer, a rate is off by more than 30 % in one of ten measurements (rule of 30)
FEWEST_TAIL = 50  # scores that the shape of a tail is taken from
TAIL_SHARE = 0.05  # of all impostor scores: what lies beyond follows the law of tails well enough
MOST_TAIL = 20_000  # more make the fit no better


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """`low` and `high` hold the threshold that other persons of the same kind would have given."""

    cosine: float
    low: float
    high: float
    is_extrapolated: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Tail:
    """Impostor scores from `start` on, falling, each with its weight, among comparisons of weight `total`."""

    scores: NDArray[np.float64]
    weights: NDArray[np.float64]
    total: float
    start: float

    def threshold_at(self, fmr: float, *, is_extrapolated: bool) -> float:
        if is_extrapolated:
            return self._extrapolated(fmr)
        return self._measured(fmr)

    def _measured(self, fmr: float) -> float:
        """The lowest score at or above which there is not more than `fmr`."""
        reached = np.cumsum(self.weights) / self.total
        place = int(np.searchsorted(reached, fmr, side="right"))  # the first that is one too many
        return float(self.scores[place - 1]) if place else min(1.0, float(self.scores[0]) + RESOLUTION)

    def _extrapolated(self, fmr: float) -> float:
        """By a generalised Pareto distribution, fitted with probability-weighted moments."""
        excess = (self.scores - self.start)[::-1]
        weights = self.weights[::-1]
        mass = weights.sum()
        if mass <= 0 or self.total <= 0:
            return 1.0
        above = 1 - (np.cumsum(weights) - weights / 2) / mass
        mean = float(weights @ excess / mass)
        moment = float(weights @ (excess * above) / mass)
        if mean <= 2 * moment or mean <= 0:  # no spread, or one that no such distribution has
            return float(self.scores[0])
        shape = 2 - mean / (mean - 2 * moment)
        scale = 2 * mean * moment / (mean - 2 * moment)
        ratio = mass / self.total / fmr
        beyond = np.log(ratio) if abs(shape) < 1e-9 else (ratio**shape - 1) / shape
        return float(np.clip(self.start + scale * beyond, -1, 1))


def find_threshold(
    labelled: LabelledVectors, tail: ImpostorTail, weights: NDArray[np.float32], *, fmr: float, impostor: int
) -> Threshold | None:
    """The cosine at which the share `fmr` of comparisons of two persons is a false match.

    Args:
        weights: [B, P], resamples of persons.
        impostor: how many comparisons of two persons there are.

    Returns:
        None with too few comparisons even for a guess, or if so many are false matches that the tail ends
        before.
    """
    is_extrapolated = fmr * impostor < FEWEST_ERRORS
    wanted = min(impostor * TAIL_SHARE, MOST_TAIL) if is_extrapolated else 2 * fmr * impostor
    used = min(len(tail.scores), max(FEWEST_TAIL, int(wanted)))
    if used < max(FEWEST_TAIL, fmr * impostor):
        return None
    scores, persons = tail.scores[:used], tail.persons[:used]
    images = labelled.images_of_persons().astype(np.float64)

    def threshold_in(resample: NDArray[np.float64]) -> float:
        of_persons = resample * images
        total = float(of_persons.sum() ** 2 - of_persons @ of_persons) / 2
        pairs = resample[persons[:, 0]] * resample[persons[:, 1]]
        part = Tail(scores=scores, weights=pairs, total=total, start=float(scores[-1]))
        return part.threshold_at(fmr, is_extrapolated=is_extrapolated)

    cosine = threshold_in(np.ones(len(images)))
    replicates = [threshold_in(row) for row in weights.astype(np.float64)]
    low, high = np.quantile(replicates, [0.025, 0.975])
    return Threshold(
        cosine=cosine,
        low=min(float(low), cosine),
        high=max(float(high), cosine),
        is_extrapolated=is_extrapolated,
    )

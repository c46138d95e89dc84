"""Errors of 1:1 comparisons: false matches and false non-matches at thresholds, with intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.comparisons import Comparisons, compare_all, resample
from pipeline.evaluation.error_rates import CurvePoint, ErrorsAt, Rate, TrueAcceptance, Verification
from pipeline.evaluation.grid import STEPS, counts_from, step_above, threshold_of
from pipeline.evaluation.labelled import LabelledVectors
from pipeline.evaluation.rates import bootstrapped_rate, independent_rate
from pipeline.evaluation.resampling import draw_weights

FARS = (1e-2, 1e-3, 1e-4, 1e-5)
CURVE_POINTS = 500  # more than a plot can show

Similarity = Callable[[float], float | None]  # of a cosine, 0..100, or None without a calibration


def no_similarity(_cosine: float) -> None:
    return None


def measure_verification(
    labelled: LabelledVectors,
    comparisons: Comparisons,
    *,
    at: Sequence[float] = (),
    seed: int = 0,
    similarity: Similarity = no_similarity,
) -> Verification:
    """Measure at the thresholds that FARS give, and at others.

    Args:
        comparisons: those of `labelled`.
        at: cosines that are measured whatever their errors.
    """
    shares = _Shares.of(comparisons)
    steps_at_fars = [shares.step_at_fmr(far) for far in FARS]
    known = {step for step in steps_at_fars if step is not None}
    steps = sorted({step_above(cosine) for cosine in at} | known)
    errors = dict(zip(steps, _errors_at(labelled, shares, steps, seed, similarity), strict=True))
    return Verification(
        genuine=shares.genuine_count,
        impostor=shares.impostor_count,
        equal_error_rate=shares.equal_error_rate(),
        thresholds=[errors[step] for step in steps],
        tar_at_far=[
            _acceptance(far, None if step is None else errors[step])
            for far, step in zip(FARS, steps_at_fars, strict=True)
        ],
        curve=shares.curve(),
    )


def errors_at(
    labelled: LabelledVectors,
    thresholds: Sequence[float],
    *,
    seed: int = 0,
    similarity: Similarity = no_similarity,
) -> list[ErrorsAt]:
    """The errors at some cosines alone."""
    steps = [step_above(threshold) for threshold in thresholds]
    return _errors_at(labelled, _Shares.of(compare_all(labelled)), steps, seed, similarity)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shares:
    """How many comparisons are at or above each step: [STEPS + 1]."""

    genuine: NDArray[np.int64]
    impostor: NDArray[np.int64]

    @classmethod
    def of(cls, comparisons: Comparisons) -> "_Shares":
        return cls(genuine=counts_from(comparisons.genuine), impostor=counts_from(comparisons.impostor))

    @property
    def genuine_count(self) -> int:
        return int(self.genuine[0])

    @property
    def impostor_count(self) -> int:
        return int(self.impostor[0])

    def fmr(self) -> NDArray[np.float64]:
        return self.impostor / max(self.impostor_count, 1)

    def fnmr(self) -> NDArray[np.float64]:
        return (self.genuine_count - self.genuine) / max(self.genuine_count, 1)

    def step_at_fmr(self, far: float) -> int | None:
        """The lowest step whose FMR is not above `far`. None if too few comparisons can tell.

        Where even a cosine of 1 is reached by more impostors, it is the last step.
        """
        if self.impostor_count < needed_comparisons(far):
            return None
        return min(int(np.sum(self.fmr() > far)), STEPS)

    def equal_error_rate(self) -> float | None:
        if not self.genuine_count or not self.impostor_count:
            return None
        fmr, fnmr = self.fmr(), self.fnmr()
        nearest = int(np.argmin(np.abs(fmr - fnmr)))
        return float((fmr[nearest] + fnmr[nearest]) / 2)

    def curve(self) -> list[CurvePoint]:
        """Falling FMR and rising FNMR, at thresholds where one of them changes."""
        fmr, fnmr = self.fmr(), self.fnmr()
        changed = np.flatnonzero((np.diff(fmr, append=-1) != 0) | (np.diff(fnmr, append=-1) != 0))
        if len(changed) > CURVE_POINTS:
            changed = changed[self._shown(fmr[changed], fnmr[changed])]
        return [
            CurvePoint(threshold=threshold_of(step), fmr=float(fmr[step]), fnmr=float(fnmr[step]))
            for step in changed.tolist()
        ]

    def _shown(self, fmr: NDArray[np.float64], fnmr: NDArray[np.float64]) -> NDArray[np.int64]:
        """Places from end to end, half of them where one error is small: logarithmic axes show these."""
        quarter, last = CURVE_POINTS // 4, len(fmr) - 1
        few_matches = np.geomspace(1 / max(self.impostor_count, 1), 1, quarter)
        few_misses = np.geomspace(1 / max(self.genuine_count, 1), 1, quarter)
        places = [
            np.linspace(0, last, 2 * quarter).astype(np.int64),
            np.searchsorted(-fmr, -few_matches),
            np.searchsorted(fnmr, few_misses),
        ]
        return np.unique(np.clip(np.concatenate(places), 0, last))


def needed_comparisons(far: float) -> int:
    """Of different persons, to measure `far` at all, by the rule of three: none wrong among 3 / far."""
    return math.ceil(3 / far - 1e-6)  # 3 / 1e-5 is a hair more than 300,000 in floats


def _errors_at(
    labelled: LabelledVectors, shares: _Shares, steps: Sequence[int], seed: int, similarity: Similarity
) -> list[ErrorsAt]:
    persons = len(labelled.names)
    resampled = resample(labelled, steps, draw_weights(persons, seed))
    images = labelled.images_of_persons()
    with_others = int(np.sum(images > 1))
    found = []
    for place, step in enumerate(steps):
        false_matches = int(shares.impostor[step])
        fmr = bootstrapped_rate(
            false_matches, shares.impostor_count, resampled.impostor[place], units=persons // 2
        )
        misses = shares.genuine_count - int(shares.genuine[step])
        fnmr = (
            independent_rate(misses, shares.genuine_count)
            if images.size and images.max() <= 2  # each person has one comparison, or none
            else bootstrapped_rate(
                misses, shares.genuine_count, 1 - resampled.genuine[place], units=with_others
            )
        )
        cosine = threshold_of(step)
        found.append(ErrorsAt(threshold=cosine, similarity=similarity(cosine), fmr=fmr, fnmr=fnmr))
    return found


def _acceptance(far: float, at: ErrorsAt | None) -> TrueAcceptance:
    return TrueAcceptance(
        far=far,
        is_measurable=at is not None,
        needed_comparisons=needed_comparisons(far),
        at=at,
        tar=None if at is None else _complement(at.fnmr),
    )


def _complement(rate: Rate) -> float | None:
    return None if rate.estimate is None else 1 - rate.estimate

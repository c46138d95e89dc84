"""Suggest a floor of the score for a wanted rate of false positives in a gallery of a given size."""

import math

from pipeline.evaluation.comparisons import Comparisons
from pipeline.evaluation.error_rates import FloorSuggestion
from pipeline.evaluation.grid import step_above, threshold_of
from pipeline.evaluation.labelled import LabelledVectors
from pipeline.evaluation.rates import measurable_share
from pipeline.evaluation.resampling import draw_weights
from pipeline.evaluation.tail import Threshold, find_threshold


def suggest_floor(
    labelled: LabelledVectors, comparisons: Comparisons, *, fpir: float, gallery_size: int, seed: int = 0
) -> FloorSuggestion | None:
    """Returns None when there are too few comparisons of two persons."""
    impostor = int(comparisons.impostor.sum())
    fmr = fmr_for(fpir, gallery_size)
    weights = draw_weights(len(labelled.names), seed)
    found = find_threshold(labelled, comparisons.tail, weights, fmr=fmr, impostor=impostor)
    if found is None:
        return None
    measurable = min(1.0, measurable_share(impostor))
    return FloorSuggestion(
        fpir=fpir,
        gallery_size=gallery_size,
        needed_fmr=fmr,
        measurable_fmr=measurable,
        is_extrapolated=found.is_extrapolated,
        floor=round_up(found.cosine),
        low=-round_up(-found.low),
        high=round_up(found.high),
        words=_words(found, fpir, gallery_size, fmr, measurable, impostor),
    )


def fmr_for(fpir: float, gallery_size: int) -> float:
    """The false match rate of one comparison that gives this FPIR over a gallery of independent images.

    Images that resemble each other, or persons who resemble many, make the FPIR lower than this says.
    """
    return -math.expm1(math.log1p(-fpir) / gallery_size)


def round_up(cosine: float) -> float:
    """To the grid: a floor that is rounded down would let through more than it was measured with."""
    return threshold_of(step_above(cosine))


def _words(
    found: Threshold, fpir: float, gallery_size: int, fmr: float, measurable: float, impostor: int
) -> str:
    aim = f"FPIR {fpir:g} in a gallery of {gallery_size} images needs an FMR of {fmr:.2g}"
    if not found.is_extrapolated:
        return f"{aim}. It was measured on {impostor} comparisons of different persons."
    return (
        f"{aim}. This is an EXTRAPOLATION: {impostor} comparisons of different persons can tell an FMR down "
        f"to {measurable:.2g}. The floor follows from a model of the highest scores. Take the upper end of "
        "the interval, and measure again with more persons."
    )

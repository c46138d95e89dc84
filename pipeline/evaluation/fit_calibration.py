"""Fit the curve of similarity to labelled comparisons."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArgumentError
from pipeline.evaluation.calibration import Calibration, CalibrationData, make_calibration
from pipeline.evaluation.comparisons import Comparisons
from pipeline.evaluation.error_rates import ErrorsAt, ModelName
from pipeline.evaluation.grid import RESOLUTION, STEPS
from pipeline.evaluation.labelled import LabelledVectors
from pipeline.evaluation.verification import errors_at

FEWEST_PERSONS = 30  # with two images each: fewer say little about the next person
KNOT_SIMILARITIES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.9)
MEASURED_SIMILARITIES = (50.0, 80.0, 90.0, 95.0, 99.0)  # 80 and 99 are the ones that people set
NEEDED_SIMILARITY = 99  # a calibration that cannot say this is of no use to a policy
METHOD = (
    "logistic curve of the cosine; genuine and impostor comparisons weigh the same; Platt's targets; "
    "straight between knots"
)
_KNOT_DIGITS = 6
_ITERATIONS = 100
_EDGE = 1e-3  # a knot that is nearer to the end of the curve would make it nearly upright


def fit_calibration(
    labelled: LabelledVectors,
    comparisons: Comparisons,
    *,
    model: ModelName,
    description: str,
    made_at: str,
    seed: int = 0,
) -> Calibration:
    """Similarity S says: of all comparisons with this score, S in 100 are of one person, if comparisons of
    one person and of two are equally frequent.

    Args:
        comparisons: those of `labelled`.

    Raises:
        ArgumentError: too few persons, or their scores do not tell persons apart well enough.
    """
    with_others = int(np.sum(labelled.images_of_persons() > 1))
    if with_others < FEWEST_PERSONS or len(labelled.names) < FEWEST_PERSONS:
        raise ArgumentError(
            f"a calibration needs {FEWEST_PERSONS} persons with two images or more; found {with_others}"
        )
    knots = knots_of(*fit_logistic(comparisons.genuine, comparisons.impostor))

    def calibrate(errors: Sequence[ErrorsAt]) -> Calibration:
        data = CalibrationData(
            description=description,
            persons=len(labelled.names),
            images=len(labelled),
            genuine=int(comparisons.genuine.sum()),
            impostor=int(comparisons.impostor.sum()),
            errors=errors,
        )
        return make_calibration(model=model, made_at=made_at, method=METHOD, knots=knots, data=data)

    curve = calibrate([])
    cosines = [curve.cosine_of(similarity) for similarity in MEASURED_SIMILARITIES]
    measured = errors_at(labelled, cosines, seed=seed)
    return calibrate(
        [
            replace(errors, similarity=similarity)
            for errors, similarity in zip(measured, MEASURED_SIMILARITIES, strict=True)
        ]
    )


def fit_logistic(genuine: NDArray[np.int64], impostor: NDArray[np.int64]) -> tuple[float, float]:
    """Slope and offset of the log odds of a genuine comparison, by Newton's method.

    Args:
        genuine, impostor: histograms of scores, [STEPS + 1]. Both kinds get the same weight.

    Raises:
        ArgumentError: a higher score does not speak for one person.
    """
    cosines = (np.arange(STEPS + 1) + 0.5) * RESOLUTION - 1
    count, others = int(genuine.sum()), int(impostor.sum())
    weight = genuine / count + impostor / others
    # Platt's targets: of persons apart from each other, a curve through 0 and 1 would be infinitely steep.
    goal = (genuine / count * (count + 1) / (count + 2) + impostor / others / (others + 2)) / np.where(
        weight > 0, weight, 1
    )
    used = weight > 0
    cosines, weight, goal = cosines[used], weight[used], goal[used]
    inputs = np.stack([cosines, np.ones_like(cosines)], axis=1)
    found = np.zeros(2)
    loss = _loss(inputs @ found, goal, weight)
    for _ in range(_ITERATIONS):
        chance = 1 / (1 + np.exp(-inputs @ found))
        gradient = inputs.T @ (weight * (chance - goal))
        curvature = (inputs * (weight * chance * (1 - chance))[:, None]).T @ inputs
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        length = 1.0
        while (shorter := _loss(inputs @ (found - length * step), goal, weight)) > loss and length > 1e-9:
            length /= 2  # else a first step from far away overshoots for ever
        found, loss = found - length * step, min(shorter, loss)
        if np.abs(step).max() < 1e-10 * (1 + np.abs(found).max()):
            break
    slope, offset = float(found[0]), float(found[1])
    if slope <= 0:
        raise ArgumentError("no calibration: images of one person do not score higher than those of two")
    return slope, offset


def knots_of(slope: float, offset: float) -> list[tuple[float, float]]:
    """Raises ArgumentError: no score is as sure as a policy may ask for."""
    knots = [(-1.0, 0.0)]
    for similarity in KNOT_SIMILARITIES:
        odds = math.log(similarity / (100 - similarity))
        cosine = round((odds - offset) / slope, _KNOT_DIGITS)
        if -1 + _EDGE < cosine < 1 - _EDGE and cosine > knots[-1][0]:
            knots.append((cosine, float(similarity)))
    if not any(similarity >= NEEDED_SIMILARITY for _, similarity in knots):
        at_best = 100 / (1 + math.exp(-slope - offset))
        raise ArgumentError(
            f"no calibration: even a cosine of 1 says one person with {at_best:.1f} in 100 alone, and "
            f"{NEEDED_SIMILARITY} are needed. The scores of one person and of two overlap too much"
        )
    return [*knots, (1.0, 100.0)]


def _loss(log_odds: NDArray[np.float64], goal: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    return float(weight @ (np.logaddexp(0, log_odds) - goal * log_odds))

"""A share of trials that went wrong, and an interval that holds the true share."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.error_rates import Rate

CONFIDENCE = 0.95
_BISECTIONS = 80  # halves the interval to less than a float can tell


def independent_rate(errors: int, trials: int) -> Rate:
    """Of trials that have nothing to do with each other, with the interval of Clopper and Pearson."""
    return _rate(errors, trials, clopper_pearson(errors, trials), "clopper_pearson")


def bootstrapped_rate(errors: int, trials: int, replicates: NDArray[np.float64], units: int) -> Rate:
    """Of trials that share persons.

    Args:
        replicates: [B], the share in each resample of persons. NaN where it had no trials.
        units: how many of the trials share no person. Where all trials ended alike, each resample does, too,
            and says nothing. The interval is then the one of this many independent trials.
    """
    if not trials or 0 < errors < trials:
        known = replicates[np.isfinite(replicates)]
        if not known.size:
            return _rate(errors, trials, (0.0, 1.0), "none")
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(known, [tail, 1 - tail])
        return _rate(errors, trials, (float(low), float(high)), "person_bootstrap")
    of_units = clopper_pearson(units if errors else 0, units)
    return _rate(errors, trials, of_units, "clopper_pearson_units")


def clopper_pearson(errors: int, trials: int) -> tuple[float, float]:
    """The exact interval of a binomial share: at least CONFIDENCE of such intervals hold the true one."""
    if not trials:
        return 0.0, 1.0
    tail = (1 - CONFIDENCE) / 2
    low = high = None
    if errors == 0:
        low = 0.0
    if errors == trials:
        high = 1.0
    if low is None:
        low = _solve(lambda share: beta_share(share, errors, trials - errors + 1), tail)
    if high is None:
        high = _solve(lambda share: beta_share(share, errors + 1, trials - errors), 1 - tail)
    return low, high


def measurable_share(trials: int) -> float:
    """The smallest share that this many trials can tell: without an error, 3 / trials is its upper end."""
    return 3 / trials if trials else math.inf


def beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for 0 <= x <= 1 and positive a and b."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast
        return front * _beta_fraction(x, a, b) / a
    return 1 - front * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of I_x(a, b), from its front to its back (Lentz's way)."""
    tiny = 1e-300  # in the place of a zero, which could not be divided by
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 10_000):  # some times the root of a or b: enough for a hundred million trials
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d, tiny)
            c = _not_zero(1 + term / c, tiny)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _not_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny


def _solve(rising: Callable[[float], float], goal: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < goal else (low, middle)
    return (low + high) / 2


def _rate(errors: int, trials: int, interval: tuple[float, float], method: str) -> Rate:
    if not trials:
        return Rate(errors=0, trials=0, estimate=None, low=None, high=None, method="none")
    estimate = errors / trials
    return Rate(
        errors=errors,
        trials=trials,
        estimate=estimate,
        low=min(interval[0], estimate),  # a resampled interval may lie beside its estimate
        high=max(interval[1], estimate),
        method=method,
    )

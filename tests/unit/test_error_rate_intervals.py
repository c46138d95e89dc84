"""Intervals of shares: against exact sums, and against worlds whose true share is known."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.comparisons import compare_all
from pipeline.evaluation.labelled import LabelledVectors, label_vectors
from pipeline.evaluation.rates import (
    bootstrapped_rate,
    clopper_pearson,
    independent_rate,
    measurable_share,
)
from pipeline.evaluation.verification import errors_at


def binomial_tail(errors: int, trials: int, share: float) -> float:
    """The chance of at least this many errors, summed exactly."""
    p = Fraction(share)
    return float(sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(errors, trials + 1)))


@pytest.mark.parametrize(("errors", "trials"), [(1, 10), (5, 10), (9, 10), (3, 57), (40, 90)])
def test_at_the_ends_of_an_exact_interval_the_errors_are_as_unlikely_as_it_says(
    errors: int, trials: int
) -> None:
    low, high = clopper_pearson(errors, trials)
    assert binomial_tail(errors, trials, low) == pytest.approx(0.025, rel=1e-9)
    assert 1 - binomial_tail(errors + 1, trials, high) == pytest.approx(0.025, rel=1e-9)


def test_without_errors_the_exact_interval_ends_where_its_formula_says() -> None:
    assert clopper_pearson(0, 20) == pytest.approx((0, 1 - 0.025 ** (1 / 20)))
    assert clopper_pearson(20, 20) == pytest.approx((0.025 ** (1 / 20), 1))


def test_the_exact_interval_of_many_trials_is_that_of_a_normal_distribution() -> None:
    trials, share = 10**8, 0.25
    margin = 1.959964 * (share * (1 - share) / trials) ** 0.5
    low, high = clopper_pearson(trials // 4, trials)
    assert (share - low) / margin == pytest.approx(1, abs=1e-3)
    assert (high - share) / margin == pytest.approx(1, abs=1e-3)


@given(st.integers(0, 5000), st.integers(1, 5000))
def test_the_exact_interval_holds_its_estimate(errors: int, trials: int) -> None:
    rate = independent_rate(min(errors, trials), trials)
    assert rate.low is not None
    assert rate.high is not None
    assert rate.estimate is not None
    assert 0 <= rate.low <= rate.estimate <= rate.high <= 1


def test_a_share_of_nothing_is_not_known() -> None:
    rate = bootstrapped_rate(0, 0, np.full(9, np.nan), units=0)
    assert (rate.estimate, rate.low, rate.high, rate.method) == (None, None, None, "none")


def test_without_an_error_the_interval_is_that_of_the_trials_that_share_no_person() -> None:
    """A bootstrap of nothing but right answers would be sure that there is no error, ever."""
    rate = bootstrapped_rate(0, 4950, np.zeros(9), units=50)
    assert rate.high == pytest.approx(clopper_pearson(0, 50)[1])
    assert rate.method == "clopper_pearson_units"


def test_the_rule_of_three_says_what_can_be_measured() -> None:
    assert measurable_share(3000) == pytest.approx(1e-3)
    assert clopper_pearson(0, 3000)[1] / measurable_share(3000) == pytest.approx(1.23, abs=0.01)
    assert measurable_share(0) == float("inf")


def look_alikes(seed: int, persons: int) -> LabelledVectors:
    """Two images of each. Some persons are of a kind whose members look much alike, others are not."""
    generator = np.random.default_rng(seed)
    kinds = (generator.random((persons, 1)) < 0.3) * np.eye(1, 32)
    own = kinds + 0.25 * generator.standard_normal((persons, 32))
    images = np.repeat(own, 2, axis=0) + 0.08 * generator.standard_normal((2 * persons, 32))
    return label_vectors(list(images.astype(np.float32)), [f"p{n // 2:04d}" for n in range(2 * persons)])


def test_intervals_over_persons_hold_the_true_rate_where_intervals_over_comparisons_do_not() -> None:
    """40 worlds of 30 persons each. An interval over comparisons takes 1,740 of them for independent."""
    threshold, worlds = 0.3, 40
    truth = errors_at(look_alikes(10_000, 400), [threshold])[0].fmr.estimate
    assert truth is not None
    by_persons = by_comparisons = 0
    for seed in range(worlds):
        rate = errors_at(look_alikes(seed, 30), [threshold])[0].fmr
        low, high = clopper_pearson(rate.errors, rate.trials)
        assert rate.low is not None
        assert rate.high is not None
        by_persons += rate.low <= truth <= rate.high
        by_comparisons += low <= truth <= high
    assert by_persons >= 0.85 * worlds
    assert by_comparisons <= 0.6 * worlds


def test_the_histograms_hold_each_comparison_once() -> None:
    compared = compare_all(look_alikes(1, 20))
    assert compared.genuine.sum() == 20
    assert compared.impostor.sum() == 40 * 39 // 2 - 20

"""Errors of 1:1 comparisons: by hand, by looking at every pair, and by what must always hold."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.comparisons import compare_all, resample
from pipeline.evaluation.error_rates import Verification
from pipeline.evaluation.grid import RESOLUTION, STEPS, step_above, steps_of, threshold_of
from pipeline.evaluation.labelled import LabelledVectors
from pipeline.evaluation.resampling import draw_weights, replicates_for
from pipeline.evaluation.verification import errors_at, measure_verification, needed_comparisons
from tests.unit.evaluation_worlds import at_angles, crowd, pair_scores, shuffled


def verify(labelled: LabelledVectors, *at: float) -> Verification:
    return measure_verification(labelled, compare_all(labelled), at=at)


def test_errors_at_a_threshold_are_those_counted_by_hand() -> None:
    """Genuine: a-a 10, b-b 40 degrees. Impostor: 20, 60, 10, 50. Cosine 0.9 is 25.8 degrees."""
    [found] = verify(at_angles([0, 10, 20, 60], ["a", "a", "b", "b"]), 0.9).thresholds
    assert (found.fnmr.errors, found.fnmr.trials) == (1, 2)
    assert (found.fmr.errors, found.fmr.trials) == (2, 4)
    assert found.fnmr.method == "clopper_pearson"  # each person has one comparison
    assert found.fmr.method == "person_bootstrap"  # and all of these share persons


def test_a_score_at_the_threshold_is_a_match() -> None:
    found = verify(at_angles([0, 60, 180], ["a", "a", "b"]), 0.5, 0.5001)
    assert [errors.fnmr.errors for errors in found.thresholds] == [0, 1]


@given(st.floats(-1, 1), st.integers(0, STEPS))
def test_the_grid_agrees_with_its_thresholds(score: float, step: int) -> None:
    assert step_above(threshold_of(step)) == step
    assert steps_of(np.array([threshold_of(step)]))[0] == step
    [reached] = steps_of(np.array([score]))
    assert threshold_of(reached) - 1e-7 <= score < threshold_of(reached) + RESOLUTION


@pytest.mark.parametrize("block_scores", [1, 100, 2_000_000])
def test_counts_are_those_of_all_pairs_whatever_the_size_of_a_block(block_scores: int) -> None:
    labelled, at = crowd(1, persons=15), (-0.5, 0.0, 0.3, 0.6, 0.9)
    genuine, impostor = pair_scores(labelled)
    compared = compare_all(labelled, block_scores=block_scores)
    for errors in measure_verification(labelled, compared, at=at).thresholds:
        assert errors.fmr.errors == np.sum(impostor >= errors.threshold)
        assert errors.fnmr.errors == np.sum(genuine < errors.threshold)


@pytest.mark.parametrize("block_scores", [100, 2_000_000])
def test_a_resample_is_what_its_persons_would_have_given(block_scores: int) -> None:
    """Against vectors that stand in the set as often as their person was drawn."""
    labelled, step = crowd(2, persons=6), step_above(0.2)
    weights = draw_weights(6, seed=3)[:4]
    found = resample(labelled, [step], weights, block_scores=block_scores)
    for place, row in enumerate(weights.astype(int)):
        genuine, impostor = [], []
        for one in range(len(labelled)):
            for other in range(one):
                persons = labelled.persons[[one, other]]
                score = labelled.vectors[one] @ labelled.vectors[other]
                if persons[0] == persons[1]:
                    genuine += [score] * row[persons[0]]
                else:
                    impostor += [score] * (row[persons[0]] * row[persons[1]])
        assert found.genuine[0, place] == pytest.approx(np.mean(np.array(genuine) >= 0.2))
        assert found.impostor[0, place] == pytest.approx(np.mean(np.array(impostor) >= 0.2))


def test_the_highest_impostors_are_kept_with_their_persons() -> None:
    labelled = crowd(3, persons=20)
    tail = compare_all(labelled, block_scores=300, tail_pairs=40).tail
    _, impostor = pair_scores(labelled)
    assert tail.scores == pytest.approx(np.sort(impostor)[::-1][:40], abs=1e-6)
    first = labelled.vectors[labelled.persons == tail.persons[0, 0]]
    second = labelled.vectors[labelled.persons == tail.persons[0, 1]]
    assert (first @ second.T).max() == pytest.approx(tail.scores[0], abs=1e-6)


def test_the_threshold_of_a_far_is_the_lowest_that_keeps_it() -> None:
    labelled = crowd(4, persons=60)
    _, impostor = pair_scores(labelled)
    at_first = verify(labelled).tar_at_far[0]
    assert at_first.far == 0.01
    assert at_first.at is not None
    threshold = at_first.at.threshold
    assert np.mean(impostor >= threshold) <= 0.01 < np.mean(impostor >= threshold - 2 * RESOLUTION)
    assert at_first.tar == pytest.approx(1 - (at_first.at.fnmr.estimate or 0))


def test_a_far_that_too_few_comparisons_can_tell_is_not_stated() -> None:
    found = verify(crowd(5, persons=40))  # 7,020 comparisons of two persons
    assert [each.is_measurable for each in found.tar_at_far] == [True, True, False, False]
    assert [each.needed_comparisons for each in found.tar_at_far] == [300, 3000, 30_000, 300_000]
    assert found.tar_at_far[2].at is None
    assert found.tar_at_far[2].tar is None
    assert needed_comparisons(1e-5) == 300_000


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(2, 25), st.integers(1, 4), st.floats(0.05, 2))
def test_curves_fall_and_rise_and_intervals_hold_their_estimates(
    seed: int, persons: int, images: int, noise: float
) -> None:
    found = verify(crowd(seed, persons=persons, images=images, noise=noise), 0.1, 0.5)
    fmr, fnmr = ([getattr(point, name) for point in found.curve] for name in ("fmr", "fnmr"))
    assert fmr == sorted(fmr, reverse=True)
    assert fnmr == sorted(fnmr)
    assert len(found.curve) <= 500
    for errors in found.thresholds:
        for rate in (errors.fmr, errors.fnmr):
            if rate.estimate is not None:
                assert 0 <= (rate.low or 0) <= rate.estimate <= (rate.high or 0) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_neither_the_order_of_images_nor_the_names_of_persons_matter(seed: int) -> None:
    labelled = crowd(6, persons=12)
    here, there = verify(labelled, 0.2, 0.6), verify(shuffled(labelled, seed), 0.2, 0.6)
    assert [point.fmr for point in here.curve] == [point.fmr for point in there.curve]
    assert here.equal_error_rate == there.equal_error_rate
    for one, other in zip(here.thresholds, there.thresholds, strict=True):
        assert (one.fmr.errors, one.fnmr.errors) == (other.fmr.errors, other.fnmr.errors)


def test_the_same_seed_gives_the_same_interval() -> None:
    labelled = crowd(7, persons=12)
    [first], [again] = (errors_at(labelled, [0.2], seed=1) for _ in range(2))
    [other] = errors_at(labelled, [0.2], seed=2)
    assert first == again
    assert dataclasses.replace(first, fmr=other.fmr, fnmr=other.fnmr) == other
    assert first.fmr.high != other.fmr.high


def test_replicates_of_many_persons_fit_into_memory_and_time() -> None:
    assert [replicates_for(persons) for persons in (0, 100, 8000, 10**6)] == [1000, 1000, 625, 200]
    assert draw_weights(7, 0).sum(axis=1).tolist() == [7] * 1000


def test_nobody_twice_and_nobody_else_are_measured_without_a_fault() -> None:
    alone = verify(at_angles([0], ["a"]), 0.5)
    assert (alone.genuine, alone.impostor, alone.equal_error_rate) == (0, 0, None)
    assert alone.thresholds[0].fmr.estimate is None
    assert verify(at_angles([0], ["a"])).thresholds == []
    once_each = verify(at_angles([0, 90], ["a", "b"]), 0.5)
    assert once_each.thresholds[0].fnmr.estimate is None
    assert once_each.thresholds[0].fmr.estimate == 0


def test_a_long_curve_keeps_its_ends_where_errors_are_rare() -> None:
    """28,440 comparisons change the FMR at thousands of thresholds, and plots look at the rarest errors."""
    found = verify(crowd(8, persons=80))
    assert 400 < len(found.curve) <= 500
    shares = np.array([point.fmr for point in found.curve])
    for wanted in np.geomspace(1 / found.impostor, 1, 40):
        assert np.min(np.abs(np.log2(shares[shares > 0] / wanted))) < 0.5
    assert found.curve[0].fmr == 1
    assert found.curve[-1].fnmr > 0.99

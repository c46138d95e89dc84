"""A floor for a wanted rate of false positives: measured where it can be, and else extrapolated in words."""

import numpy as np
import pytest

from pipeline.evaluation.comparisons import compare_all
from pipeline.evaluation.error_rates import FloorSuggestion
from pipeline.evaluation.floor import fmr_for, suggest_floor
from pipeline.evaluation.grid import RESOLUTION
from pipeline.evaluation.labelled import LabelledVectors, label_vectors
from pipeline.evaluation.rates import beta_share
from tests.unit.evaluation_worlds import at_angles, crowd, pair_scores


def suggest(labelled: LabelledVectors, *, fpir: float, gallery_size: int) -> FloorSuggestion:
    found = suggest_floor(labelled, compare_all(labelled), fpir=fpir, gallery_size=gallery_size)
    assert found is not None
    return found


def independent_directions(seed: int, count: int) -> LabelledVectors:
    """Nobody looks like anybody: the cosines of 9 dimensions follow a law that is known."""
    vectors = np.random.default_rng(seed).standard_normal((count, 9))
    return label_vectors(list(vectors), [f"p{n:04d}" for n in range(count)])


@pytest.mark.parametrize("gallery_size", [1, 10, 10_000])
def test_that_many_comparisons_with_this_fmr_give_the_wanted_fpir(gallery_size: int) -> None:
    assert 1 - (1 - fmr_for(0.01, gallery_size)) ** gallery_size == pytest.approx(0.01)


def test_a_floor_that_can_be_measured_lets_through_what_was_wanted() -> None:
    labelled = crowd(1, persons=60)
    _, impostor = pair_scores(labelled)
    found = suggest(labelled, fpir=0.02, gallery_size=1)
    assert not found.is_extrapolated
    assert np.mean(impostor >= found.floor) <= 0.02
    last_let_through = np.sort(impostor)[::-1][int(0.02 * len(impostor)) - 1]
    assert 0 <= found.floor - last_let_through <= RESOLUTION
    assert found.low <= found.floor <= found.high
    assert "EXTRAPOLATION" not in found.words


@pytest.mark.parametrize("seed", range(5))
def test_an_extrapolated_floor_is_near_the_true_one(seed: int) -> None:
    """7,140 comparisons for an FMR of 1e-4."""
    found = suggest(independent_directions(seed, 120), fpir=0.01, gallery_size=100)
    assert found.is_extrapolated
    assert found.needed_fmr == pytest.approx(1e-4, rel=0.01)
    assert chance_of_cosine(found.low) >= 1e-4 >= chance_of_cosine(found.high)
    assert 2e-6 <= chance_of_cosine(found.floor) <= 1e-3
    assert "EXTRAPOLATION: 7140 comparisons" in found.words
    assert "0.00042" in found.words  # 3 / 7140


def chance_of_cosine(cosine: float) -> float:
    """Of two independent directions in 9 dimensions to be this near or nearer."""
    return beta_share(1 - cosine**2, 4, 0.5) / 2


def test_a_rarer_false_positive_needs_a_higher_floor() -> None:
    labelled = crowd(2, persons=60)
    floors = [suggest(labelled, fpir=0.01, gallery_size=size).floor for size in (1, 10, 1000, 100_000)]
    assert floors == sorted(floors)
    assert floors[-1] <= 1


def test_few_comparisons_give_no_floor() -> None:
    labelled = at_angles([0, 10, 20], ["a", "b", "c"])
    assert suggest_floor(labelled, compare_all(labelled), fpir=0.01, gallery_size=10) is None

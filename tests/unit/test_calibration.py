"""Similarity 0 to 100: the order of scores never changes, thresholds come back, documents are checked."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ArgumentError, ModelMismatchError
from pipeline.evaluation.calibration import (
    Calibration,
    CalibrationData,
    calibration_json,
    make_calibration,
    read_calibration,
    version_of,
)
from pipeline.evaluation.comparisons import compare_all
from pipeline.evaluation.error_rates import ModelName
from pipeline.evaluation.fit_calibration import fit_calibration, fit_logistic, knots_of
from pipeline.evaluation.grid import STEPS
from pipeline.evaluation.labelled import LabelledVectors
from pipeline.evaluation.verification import errors_at
from tests.unit.evaluation_worlds import at_angles, crowd

MODEL = ModelName(name="m", address="m.toml", architecture="a", fingerprint="f0" * 32)
NO_DATA = CalibrationData(description="", persons=0, images=0, genuine=0, impostor=0, errors=[])
KNOTS = [(-1.0, 0.0), (0.2, 1.0), (0.4, 50.0), (0.5, 80.0), (0.65, 99.0), (1.0, 100.0)]


def curve(knots: list[tuple[float, float]] | None = None) -> Calibration:
    return make_calibration(model=MODEL, made_at="now", method="m", knots=knots or KNOTS, data=NO_DATA)


def fit(labelled: LabelledVectors) -> Calibration:
    return fit_calibration(
        labelled, compare_all(labelled), model=MODEL, description="people", made_at="2026-11-27T12:00:00Z"
    )


def test_between_knots_the_curve_is_straight() -> None:
    assert curve().similarity_of(0.45) == pytest.approx(65)
    assert [curve().similarity_of(cosine) for cosine, _ in KNOTS] == [similarity for _, similarity in KNOTS]
    assert curve().cosine_of(80) == 0.5
    assert curve().cosine_of(65) == pytest.approx(0.45)


steep = curve(knots_of(60.0, -25.0))
NEIGHBOURS = 2.0**-24  # how near to each other two cosines can be just below 1, as the model gives them


@given(st.integers(-(2**24), 2**24), st.integers(-(2**24), 2**24))
def test_a_higher_cosine_has_a_higher_similarity_always(one: int, other: int) -> None:
    for calibration in (curve(), steep):
        similarities = calibration.similarities_of(np.array([one, other]) * NEIGHBOURS)
        assert np.sign(similarities[0] - similarities[1]) == np.sign(one - other)
        assert np.all((similarities >= 0) & (similarities <= 100))


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_however_near_a_higher_cosine_has_no_lower_similarity(one: float, other: float) -> None:
    for calibration in (curve(), steep):
        low, high = calibration.similarities_of(np.array(sorted([one, other])))
        assert low <= high


@pytest.mark.parametrize("calibration", [curve(), steep])
def test_neighbouring_scores_around_every_knot_keep_their_order(calibration: Calibration) -> None:
    for cosine, _ in calibration.knots[1:-1]:
        near = [np.float32(cosine)]
        for _ in range(3):
            near.insert(0, np.nextafter(near[0], np.float32(-1)))
            near.append(np.nextafter(near[-1], np.float32(1)))
        assert np.all(np.diff(calibration.similarities_of(np.array(near))) > 0)


@given(st.floats(0, 100))
def test_a_threshold_comes_back(similarity: float) -> None:
    assert curve().similarity_of(curve().cosine_of(similarity)) == pytest.approx(similarity, abs=1e-9)


def test_what_rounding_puts_beyond_the_ends_is_at_the_ends() -> None:
    assert curve().similarities_of(np.array([1.0000001, -1.0000001])).tolist() == [100, 0]


@pytest.mark.parametrize("similarity", [-0.1, 100.1, float("nan")])
def test_a_similarity_that_is_none_is_refused(similarity: float) -> None:
    with pytest.raises(ArgumentError, match="is not from 0 to 100"):
        curve().cosine_of(similarity)


@pytest.mark.parametrize(
    "knots",
    [
        [],
        [(-1.0, 0.0)],
        [(-1.0, 0.0), (0.9, 100.0)],
        [(-1.0, 0.0), (0.5, 50.0), (0.5, 60.0), (1.0, 100.0)],
        [(-1.0, 0.0), (0.5, 60.0), (0.6, 60.0), (1.0, 100.0)],
        [(-1.0, 0.0), (0.5, 60.0), (0.4, 70.0), (1.0, 100.0)],
        [(-1.0, 0.0), (float("nan"), 60.0), (1.0, 100.0)],
    ],
)
def test_knots_that_do_not_rise_from_end_to_end_are_refused(knots: list[tuple[float, float]]) -> None:
    with pytest.raises(ArgumentError, match="the knots do not"):
        make_calibration(model=MODEL, made_at="now", method="m", knots=knots, data=NO_DATA)


def test_the_version_names_the_model_and_the_curve_alone() -> None:
    again = replace(curve(), made_at="later", method="other")
    assert curve().version == again.version == version_of(MODEL.fingerprint, KNOTS)
    assert curve().version.startswith("f0f0f0f0-")
    moved = [(-1.0, 0.0), (0.2, 1.0), (0.4, 50.0), (0.5, 80.0), (0.66, 99.0), (1.0, 100.0)]
    assert curve(moved).version != curve().version
    assert version_of("0e" * 32, KNOTS)[9:] != curve().version[9:]


def test_a_calibration_of_another_model_is_refused() -> None:
    curve().check_model("m", MODEL.fingerprint)
    with pytest.raises(
        ModelMismatchError, match=r"of model m \(f0f0f0f0\), and this is model n \(0e0e0e0e\)"
    ):
        curve().check_model("n", "0e" * 32)


def test_what_is_written_is_read_back() -> None:
    fitted = fit(crowd(1))
    text = json.dumps(calibration_json(fitted))
    assert calibration_json(read_calibration(text, of="c.json")) == json.loads(text) | {"knots": fitted.knots}
    assert read_calibration(text, of="c.json").similarity_of(0.3) == fitted.similarity_of(0.3)


def changed(**fields: Any) -> str:
    return json.dumps({**calibration_json(curve()), **fields})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "c.json: this is not JSON"),
        ("[]", "c.json: this is no calibration"),
        (changed(format="pictor.calibration/2"), "c.json: this is no calibration"),
        (changed(knots=[[-1, 0], [0.5, 60], [1, 100]]), "c.json: the version is f0f0f0f0-"),
        (changed(knots=[[-1, 0], [1, 0]]), "c.json: the knots do not"),
        (changed(knots=[[-1, 0, 3]]), r"c.json: knots\.0"),
        (changed(model="m"), "c.json: model: "),
    ],
)
def test_a_document_that_is_none_or_was_changed_is_refused(text: str, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        read_calibration(text, of="c.json")


@pytest.mark.parametrize("seed", range(3))
def test_a_similarity_is_the_share_of_one_person_if_both_kinds_are_equally_frequent(seed: int) -> None:
    """Scores of two bell curves around 0.2 and 0.5: the share follows from their ratio."""
    generator = np.random.default_rng(seed)
    genuine, impostor = (
        np.histogram(generator.normal(mean, 0.08, 200_000), bins=STEPS + 1, range=(-1, 1.0001))[0]
        for mean in (0.5, 0.2)
    )
    calibration = curve(knots_of(*fit_logistic(genuine, 10 * impostor)))
    for cosine in (0.3, 0.35, 0.4):
        odds = np.exp((cosine - 0.35) * 0.3 / 0.08**2)
        assert calibration.similarity_of(cosine) == pytest.approx(100 * odds / (1 + odds), abs=2)


def test_the_errors_beside_each_level_are_those_at_its_cosine() -> None:
    labelled = crowd(2)
    fitted = fit(labelled)
    by_similarity = {errors.similarity: errors for errors in fitted.data.errors}
    assert list(by_similarity) == [50, 80, 90, 95, 99]
    [at_99] = errors_at(labelled, [fitted.cosine_of(99)])
    assert by_similarity[99].fmr == at_99.fmr
    false_matches = [errors.fmr.errors for errors in fitted.data.errors]
    assert false_matches == sorted(false_matches, reverse=True)
    assert false_matches[0] > 0
    assert (fitted.data.persons, fitted.data.images, fitted.data.description) == (40, 120, "people")


def test_persons_far_apart_give_a_curve_that_is_not_infinitely_steep() -> None:
    fitted = fit(crowd(3, noise=0.05, dim=64))
    assert 0.3 < fitted.cosine_of(80) < fitted.cosine_of(99) < 1
    assert fitted.cosine_of(99) - fitted.cosine_of(80) > 0.01


def test_few_persons_are_too_few_for_a_calibration() -> None:
    with pytest.raises(ArgumentError, match="needs 30 persons with two images or more; found 2"):
        fit(at_angles([0, 1, 50, 51, 90], ["a", "a", "b", "b", "c"]))


def test_scores_that_do_not_tell_persons_apart_give_no_calibration() -> None:
    with pytest.raises(ArgumentError, match="overlap too much"):
        fit(crowd(4, noise=3.0))


def test_scores_that_tell_persons_apart_the_wrong_way_give_no_calibration() -> None:
    high, low = (np.bincount([step], minlength=STEPS + 1) * 50 for step in (15_000, 10_000))
    with pytest.raises(ArgumentError, match="do not score higher"):
        fit_logistic(low, high)

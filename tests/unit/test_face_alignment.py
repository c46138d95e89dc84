"""Aligning a face by five points. Each case has an answer in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.adapters.models.faces.alignment import (
    ARCFACE,
    Points,
    Similarity,
    cut_face,
    fit_similarity,
    shrink,
    template_of,
)
from pipeline.types import Pixels

ANGLES = st.floats(-math.pi, math.pi)
SCALES = st.floats(0.05, 40)
SHIFTS = st.floats(-5000, 5000)


def similarity(angle: float, scale: float, x: float = 0.0, y: float = 0.0) -> Similarity:
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    return Similarity(np.array([[cosine, -sine], [sine, cosine]]), np.array([x, y]))


@given(angle=ANGLES, scale=SCALES, x=SHIFTS, y=SHIFTS)
def test_points_that_were_turned_scaled_and_shifted_are_brought_back(
    angle: float, scale: float, x: float, y: float
) -> None:
    moved = similarity(angle, scale, x, y).apply(ARCFACE)
    back = fit_similarity(moved, ARCFACE)
    assert back is not None
    assert np.allclose(back.apply(moved), ARCFACE, atol=1e-6)
    assert back.scale == pytest.approx(1 / scale)


@given(
    numbers=st.lists(st.integers(-50, 50), min_size=10, max_size=10),
    angle=ANGLES,
    stretch=st.floats(0.9, 1.1),
)
def test_no_similarity_near_the_answer_is_better(numbers: list[int], angle: float, stretch: float) -> None:
    source: Points = ARCFACE + np.array(numbers, np.float64).reshape(5, 2) / 5
    best = fit_similarity(source, ARCFACE)
    assert best is not None
    other = Similarity(similarity(angle / 20, stretch).matrix @ best.matrix, best.shift)
    centred = ARCFACE.mean(axis=0) - other.apply(source).mean(axis=0)  # the best shift of the other one
    error = np.square(best.apply(source) - ARCFACE).sum()
    assert error <= np.square(other.apply(source) + centred - ARCFACE).sum() + 1e-9


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    mirrored = ARCFACE * [-1, 1]
    found = fit_similarity(mirrored, ARCFACE)
    assert found is not None
    assert np.linalg.det(found.matrix) > 0


@pytest.mark.parametrize("points", [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.full((5, 2), np.inf)])
def test_points_that_give_no_direction_give_no_similarity(points: Points) -> None:
    assert fit_similarity(points, ARCFACE) is None


def test_the_template_keeps_its_place_in_crops_of_any_side() -> None:
    assert np.allclose(template_of(112), ARCFACE)
    assert np.allclose((template_of(224) + 0.5) / 224, (ARCFACE + 0.5) / 112)


def ramp(height: int, width: int, x: float, y: float) -> Pixels:
    """Rises by x to the right and by y downwards, in each channel another way."""
    rows, columns = np.mgrid[:height, :width]
    plane = x * columns + y * rows
    return np.stack([plane, 255 - plane, np.full_like(plane, 7)], axis=2).round().astype(np.uint8)


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2, math.pi / 2])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7, 2.5, 6.0])
def test_a_crop_shows_what_lies_under_it(angle: float, scale: float) -> None:
    """Between the pixels of a plane that rises evenly, the value is known: also of an average of them."""
    back = similarity(angle, scale)
    middle = back.matrix @ np.array([15.5, 15.5])
    back = Similarity(back.matrix, np.array([200.0, 180.0]) - middle)
    crop = cut_face(ramp(360, 400, 0.25, 0.375), back.inverse(), 32)
    x, y = np.meshgrid(np.arange(32), np.arange(32))
    under = back.apply(np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float64)).reshape(32, 32, 2)
    expected = under @ np.array([0.25, 0.375])
    assert np.abs(crop[0] - expected).max() <= 1.5
    assert np.abs(crop[1] - (255 - expected)).max() <= 1.5
    assert (crop[2] == 7).all()


def test_one_to_one_it_is_the_picture_itself() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 48, 3)).astype(np.uint8)
    crop = cut_face(rgb, similarity(0, 1, -8, -16), 32)
    assert np.array_equal(crop, rgb[16:48, 8:40].transpose(2, 0, 1))


def test_what_lies_outside_of_the_picture_is_black() -> None:
    white = np.full((40, 40, 3), 255, np.uint8)
    crop = cut_face(white, similarity(0, 1, 16, 0), 32)
    assert (crop[:, :, :15].max(), crop[:, :, 17:].min()) == (0, 255)
    assert cut_face(white, similarity(0, 1, 500, 500), 32).max() == 0


@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.4, 0.7), (-1.1, 1.9), (2.8, 0.3)])
def test_a_crop_is_what_pillow_makes_of_it_to_one_level(angle: float, scale: float) -> None:
    """Fingerprints go on from crops that Pillow made. The face lies half outside."""
    rgb = np.random.default_rng(2).integers(0, 256, (70, 50, 3)).astype(np.uint8)
    back = similarity(angle, scale, 20.3, 30.6)
    (a, b), (c, d) = back.matrix.tolist()
    x, y = (back.shift + 0.5 - back.matrix.sum(axis=1) / 2).tolist()  # its first corner is at 0
    bilinear = Image.Resampling.BILINEAR
    made = Image.fromarray(rgb).transform((64, 64), Image.Transform.AFFINE, (a, b, x, c, d, y), bilinear)
    crop = cut_face(rgb, back.inverse(), 64)
    assert np.abs(crop.astype(int) - np.asarray(made).transpose(2, 0, 1)).max() <= 1
    assert crop.max(axis=0).min() == 0, "a part of it is outside"


def test_a_face_of_many_pixels_is_averaged_and_not_sampled() -> None:
    checks = (np.indices((900, 900)).sum(axis=0) % 2 * 255).astype(np.uint8)
    crop = cut_face(np.dstack([checks] * 3), similarity(0, 32 / 900), 32)
    inner = crop[:, 1:-1, 1:-1].astype(int)
    assert np.abs(inner - 127).max() <= 2


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_shrinking_strip_by_strip_is_shrinking(factor: int) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (50, 31, 3)).astype(np.uint8)
    whole = shrink(rgb, factor)
    assert np.array_equal(shrink(rgb, factor, strip_px=4 * 31), whole)
    assert np.abs(whole - means(rgb, factor)).max() <= 1, "Pillow rounds"


def means(rgb: Pixels, factor: int) -> NDArray[np.float64]:
    rows, columns = (range(0, length, factor) for length in rgb.shape[:2])
    made = [
        [rgb[row : row + factor, column : column + factor].mean(axis=(0, 1)) for column in columns]
        for row in rows
    ]
    return np.array(made)

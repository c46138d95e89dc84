"""How good a picture of a face is, on faces whose answer is known."""

import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.adapters.models.faces.alignment import ARCFACE, Points
from pipeline.adapters.models.faces.quality import HEAD, pose_of
from pipeline.image.quality import brightness, grey_of, sharpness
from pipeline.types import Pixels, split_metadata, view_metadata
from pipeline.types.views import Box, Face, View


def seen(yaw: float, pitch: float, roll: float, *, scale: float = 3.0) -> Points:
    """The points of a common head that looks there, degrees, from a camera far away."""
    y, p, r = map(math.radians, (yaw, pitch, roll))
    turn = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    nod = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    lean = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return np.asarray((HEAD @ (lean @ turn @ nod).T * scale)[:, :2] + [400, 300])


def test_who_looks_into_the_camera_has_no_angles() -> None:
    pose = pose_of(ARCFACE)
    assert max(abs(pose.yaw), abs(pose.pitch), abs(pose.roll)) < 3


@pytest.mark.parametrize("yaw", [-50, -15, 0, 30])
@pytest.mark.parametrize("pitch", [-25, 0, 20])
def test_a_common_head_is_told_exactly(yaw: float, pitch: float) -> None:
    pose = pose_of(seen(yaw, pitch, 0))
    assert pose.yaw == pytest.approx(yaw, abs=0.1)
    assert pose.pitch == pytest.approx(pitch, abs=0.1)


@pytest.mark.parametrize("roll", [-80, -20, 35, 120])
def test_a_head_that_leans_is_told_by_its_roll_alone(roll: float) -> None:
    pose = pose_of(seen(0, 0, roll))
    assert (pose.yaw, pose.pitch) == pytest.approx((0, 0), abs=0.1)
    assert pose.roll == pytest.approx(roll, abs=0.1)


def test_signs_are_those_of_the_picture() -> None:
    to_the_right = ARCFACE.copy()
    to_the_right[2, 0] += 8  # the tip of the nose
    upwards = ARCFACE.copy()
    upwards[2, 1] -= 8
    assert pose_of(to_the_right).yaw > 10
    assert pose_of(upwards).pitch > 10


def noise() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)


def planes(image: Image.Image) -> Pixels:
    return np.asarray(image).transpose(2, 0, 1)


def test_sharpness_falls_with_each_blur() -> None:
    image = Image.fromarray(noise())
    found = [sharpness(grey_of(planes(image.filter(ImageFilter.GaussianBlur(px))))) for px in (0, 1, 2, 4, 8)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 95
    assert found[-1] < 20
    assert sharpness(grey_of(np.full((3, 112, 112), 90, np.uint8))) == 0


@pytest.mark.parametrize(("level", "expected"), [(0, 0.0), (51, 20.0), (255, 100.0)])
def test_brightness_is_the_mean_in_percent(level: int, expected: float) -> None:
    assert brightness(grey_of(np.full((3, 112, 112), level, np.uint8))) == pytest.approx(expected)


def test_brightness_weighs_colours_as_the_eye_does() -> None:
    green, blue = np.zeros((2, 3, 8, 8), np.uint8)
    green[1], blue[2] = 255, 255
    assert brightness(grey_of(green)) == pytest.approx(71.52)
    assert brightness(grey_of(blue)) == pytest.approx(7.22)


FACE = Face(
    points=((10.0, 10.0), (40.0, 50.0), (25.0, 40.0), (15.0, 60.0), (35.0, 61.25)),
    confidence=0.98765,
    sharpness=7.26,
    brightness=100.0,
    yaw=-12.34,
    pitch=5.0,
    roll=0.0,
)


def test_a_row_says_it_in_texts_that_can_be_compared() -> None:
    view = View(pixels=np.zeros((3, 1, 1), np.uint8), box=Box(left=1, top=2, width=30, height=40), face=FACE)
    made = view_metadata(view)
    assert made == {
        "face_box": "1,2,30,40",
        "face_points": "10.0,10.0 40.0,50.0 25.0,40.0 15.0,60.0 35.0,61.2",
        "face_confidence": "0.988",
        "face_eyes_px": "00050.0",
        "face_sharpness": "007.3",
        "face_brightness": "100.0",
        "face_yaw": "-12.3",
        "face_pitch": "5.0",
        "face_roll": "0.0",
        "face_turn": "013.3",
    }
    assert made["face_sharpness"] < "070.0" < made["face_brightness"]
    assert split_metadata({"camera": "7", **made}) == ({"camera": "7"}, made)
    assert view_metadata(View(pixels=view.pixels)) == {}


def test_a_face_in_a_larger_picture_has_larger_distances() -> None:
    scaled = FACE.scaled(2, 2)
    assert scaled.eyes_px == 2 * FACE.eyes_px
    assert scaled.points[0] == (20.5, 20.5), "the first pixel's centre is at 0, its corner at -0.5"
    assert (scaled.yaw, scaled.confidence) == (FACE.yaw, FACE.confidence)

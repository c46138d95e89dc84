"""Cuts a face out of a picture so that its five points come to lie where the embedder expects them.

The similarity (rotation, scale, shift, no mirror) with the least squared distance is that of Umeyama, "Least-
squares estimation of transformation parameters between two point patterns", PAMI 13 (1991). In the
plane a rotation with a scale is one complex number, and it is found by a linear regression.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from pipeline.types import Pixels

Points = NDArray[np.float64]  # [5, 2], x and y in px. The centre of the first pixel is (0, 0)

# Of a crop of 112 px, as ArcFace and its kin were trained: eye, eye, nose, corners of the mouth. The left one
# in the picture comes first.
ARCFACE: Points = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
ARCFACE_SIDE_PX = 112
FLOAT_NOISE = 0.003  # levels: 6.9999 is meant to be 7
MIN_SHRINK = 2  # source pixels for each of the crop, from which they are averaged and not picked


class Similarity(NamedTuple):
    """Maps a point p to `matrix @ p + shift`."""

    matrix: NDArray[np.float64]  # [2, 2], a rotation times a scale
    shift: NDArray[np.float64]  # [2]

    @property
    def scale(self) -> float:
        return math.sqrt(max(0.0, float(np.linalg.det(self.matrix))))

    def inverse(self) -> "Similarity":
        matrix = np.linalg.inv(self.matrix)
        return Similarity(np.asarray(matrix, np.float64), -matrix @ self.shift)

    def apply(self, points: Points) -> Points:
        return points @ self.matrix.T + self.shift


def template_of(side_px: int) -> Points:
    """Where the five points lie in a crop of this side."""
    return (ARCFACE + 0.5) * (side_px / ARCFACE_SIDE_PX) - 0.5


def fit_similarity(source: Points, target: Points) -> Similarity | None:
    """The best similarity from one set of points to the other. None where all of `source` are one point."""
    if not np.isfinite(source).all():
        return None
    numbers, wanted = source @ _AS_COMPLEX, target @ _AS_COMPLEX
    mean, wanted_mean = numbers.mean(), wanted.mean()
    centred = numbers - mean
    spread = float(np.vdot(centred, centred).real)
    if spread < 1e-6 * len(source):
        return None
    turn = complex(np.vdot(centred, wanted - wanted_mean)) / spread
    if abs(turn) <= 1e-6:
        return None
    shift = complex(wanted_mean) - turn * complex(mean)
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return Similarity(matrix, np.array([shift.real, shift.imag]))


_AS_COMPLEX = np.array([1, 1j])


def cut_face(rgb: Pixels, to_crop: Similarity, side_px: int) -> Pixels:
    """The crop [3, side, side] of a picture [H, W, 3]. What lies outside of the picture is black.

    Pixels are averaged in squares before they are picked from, so that a face of a thousand pixels is not
    sampled at every ninth of them.
    """
    back = to_crop.inverse()
    left, top, right, bottom = _part(back, side_px, rgb.shape[1], rgb.shape[0])
    if left >= right or top >= bottom:
        return np.zeros((3, side_px, side_px), np.uint8)
    factor = max(1, min(int(back.scale), right - left, bottom - top)) if back.scale >= MIN_SHRINK else 1
    part = shrink(rgb[top:bottom, left:right], factor)
    # A pixel of the reduced part has its centre in the middle of the square that it was averaged from.
    begin = (back.shift + 0.5 - [left, top]) / factor - 0.5
    return _pick(part, Similarity(back.matrix / factor, begin), side_px)


def _pick(part: Pixels, to_part: Similarity, side_px: int) -> Pixels:
    """The crop, each value from the four pixels around its place. Args: `to_part` maps from the crop."""
    places = _places(to_part, side_px, part.shape[1], part.shape[0])
    planes = part.transpose(2, 0, 1).astype(np.float32)  # by numpy, which starts no threads for it
    picked = functional.grid_sample(
        torch.from_numpy(planes[None]),
        torch.from_numpy(places[None]),
        padding_mode="border",
        align_corners=False,
    )
    crop: Pixels = (picked[0].numpy() + FLOAT_NOISE).astype(np.uint8)  # the fraction is cut off
    if np.abs(places[[0, 0, -1, -1], [0, -1, 0, -1]]).max() > 1:  # a corner
        crop[:, (np.abs(places) > 1).any(axis=2)] = 0
    return crop


def _places(to_part: Similarity, side_px: int, width: int, height: int) -> NDArray[np.float32]:
    """[S, S, 2]: where each pixel of the crop lies in the part, whose outer edges are at -1 and 1."""
    steps = np.arange(side_px)
    places = np.empty((side_px, side_px, 2), np.float32)
    for axis, size in enumerate((width, height)):
        along, down = (to_part.matrix[axis] * (2 / size)).tolist()
        begin = (float(to_part.shift[axis]) + 0.5) * (2 / size) - 1
        of_rows, of_columns = (down * steps).astype(np.float32), (along * steps + begin).astype(np.float32)
        np.add(of_rows[:, None], of_columns, out=places[:, :, axis])
    return places


def _part(back: Similarity, side_px: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The rectangle of the picture that the crop shows, with a margin to pick from."""
    end = side_px - 0.5
    corners = back.apply(np.array([[-0.5, -0.5], [end, -0.5], [-0.5, end], [end, end]]))
    margin = 2 * max(1.0, back.scale)
    (low_x, low_y), (high_x, high_y) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    left, top = (int(min(max(low - margin, 0), most)) for low, most in ((low_x, width), (low_y, height)))
    right, bottom = (
        math.ceil(min(max(high + margin, 0), most)) for high, most in ((high_x, width), (high_y, height))
    )
    return left, top, right, bottom


STRIP_PX = 1 << 20  # 4 MB as Pillow has it. A copy of a whole picture would stand beside the picture


def shrink(rgb: Pixels, factor: int, *, strip_px: int = STRIP_PX) -> Pixels:
    """The averages of squares of `factor` px, strip by strip. Those at the end may be of fewer pixels."""
    if factor == 1:
        return np.ascontiguousarray(rgb)
    height, width = rgb.shape[:2]
    small = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    rows = factor * max(1, strip_px // (width * factor))
    for row in range(0, height, rows):
        strip = Image.fromarray(np.ascontiguousarray(rgb[row : row + rows])).reduce(factor)
        small[row // factor : row // factor + strip.height] = np.asarray(strip)
    return small

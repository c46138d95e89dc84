"""Cuts a face out of a picture so that its five points come to lie where the embedder expects them.

The similarity (rotation, scale, shift, no mirror) with the least squared distance is that of Umeyama, "Least-
squares estimation of transformation parameters between two point patterns", PAMI 13 (1991).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.types import Pixels

Points = NDArray[np.float64]  # [5, 2], x and y in px. The centre of the first pixel is (0, 0)

# Of a crop of 112 px, as ArcFace and its kin were trained: eye, eye, nose, corners of the mouth. The left one
# in the picture comes first.
ARCFACE: Points = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
ARCFACE_SIDE_PX = 112
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
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred, wanted = source - source_mean, target - target_mean
    variance = float((centred**2).sum()) / len(source)
    if variance < 1e-6:
        return None
    u, stretch, vt = np.linalg.svd(wanted.T @ centred / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])  # never a mirror
    matrix = (u * signs) @ vt * (float(stretch @ signs) / variance)
    if np.linalg.det(matrix) <= 1e-12:
        return None
    return Similarity(matrix, target_mean - matrix @ source_mean)


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
    a, b, c, d = (back.matrix / factor).ravel().tolist()
    # Pillow's coordinates begin at the corner of the first pixel, half a pixel before its centre.
    x = (back.shift[0] + 0.5 - left) / factor - (a + b) / 2
    y = (back.shift[1] + 0.5 - top) / factor - (c + d) / 2
    crop = Image.fromarray(part).transform(
        (side_px, side_px),
        Image.Transform.AFFINE,
        (a, b, float(x), c, d, float(y)),
        Image.Resampling.BILINEAR,
    )
    return np.ascontiguousarray(np.asarray(crop).transpose(2, 0, 1))


def _part(back: Similarity, side_px: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The rectangle of the picture that the crop shows, with a margin to pick from."""
    corners = np.array([[0, 0], [side_px, 0], [0, side_px], [side_px, side_px]], np.float64) - 0.5
    there = back.apply(corners)
    margin = 2 * max(1.0, back.scale)
    low, high = there.min(axis=0) - margin, there.max(axis=0) + margin
    left, top = (int(np.clip(value, 0, most)) for value, most in zip(low, (width, height), strict=True))
    right, bottom = (
        math.ceil(np.clip(value, 0, most)) for value, most in zip(high, (width, height), strict=True)
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

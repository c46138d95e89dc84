"""Where a detector looks: at the whole picture, made small, and at tiles of it where faces may be small."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.adapters.models.faces.alignment import shrink
from pipeline.types import Pixels

SEEN_PX = 20  # the width of a face that a detector finds surely
MAX_TILES = 24  # of one picture: a second or two of one core
OVERLAP = 0.2  # of a tile's side. A face in the overlap is whole in one of the two


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A part of a picture, px. `inner` says which of its sides lie inside of the picture: left, top, …"""

    left: int
    top: int
    right: int
    bottom: int
    inner: tuple[bool, bool, bool, bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The size that the picture is made for a look, and the tiles of it that are looked at."""

    width: int
    height: int
    tiles: tuple[Tile, ...]


def plan_looks(width: int, height: int, *, side_px: int, min_face_px: int) -> Iterator[Look]:
    """The whole first. Then tiles, if faces of `min_face_px` would be too small in it.

    Args:
        width, height: of the picture, px.
        side_px: the longer side of what the detector sees at once.
    """
    whole = min(1.0, side_px / max(width, height))
    yield _look(width, height, whole, side_px)
    scale = min(1.0, SEEN_PX / min_face_px)
    if scale <= whole:
        return
    while (tiles := _tile_count(width, height, scale, side_px)) > MAX_TILES:
        scale *= 0.9
    if tiles > 1:
        yield _look(width, height, scale, side_px)


def _tile_count(width: int, height: int, scale: float, side_px: int) -> int:
    return math.prod(_cut_count(length, side_px) for length in _scaled(width, height, scale))


def _scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    return max(1, round(width * scale)), max(1, round(height * scale))


def _look(width: int, height: int, scale: float, side_px: int) -> Look:
    small = _scaled(width, height, scale)
    columns, rows = (_cuts(length, side_px) for length in small)
    tiles = [
        Tile(
            left=left,
            top=top,
            right=right,
            bottom=bottom,
            inner=(left > 0, top > 0, right < small[0], bottom < small[1]),
        )
        for top, bottom in rows
        for left, right in columns
    ]
    return Look(width=small[0], height=small[1], tiles=tuple(tiles))


def _cuts(length: int, side_px: int) -> list[tuple[int, int]]:
    """Pieces of one size that cover a side evenly and overlap."""
    count = _cut_count(length, side_px)
    if count == 1:
        return [(0, length)]
    starts = [round(number * (length - side_px) / (count - 1)) for number in range(count)]
    return [(start, start + side_px) for start in starts]


def _cut_count(length: int, side_px: int) -> int:
    return 1 + max(0, -(-(length - side_px) // round(side_px * (1 - OVERLAP))))


def make_small(rgb: Pixels, width: int, height: int) -> Pixels:
    """The picture at this size: averages of squares first, then what is left between their pixels."""
    factor = max(1, min(rgb.shape[1] // width, rgb.shape[0] // height))
    small = shrink(rgb, factor)
    if small.shape[:2] == (height, width):
        return small
    resized = Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)

"""Every colour mode becomes RGB, strip by strip, so that a large image is never held twice.

- Transparent pixels are laid over white, before the reduction, so that colours hidden under full transparency
  cannot bleed in.
- 16-bit grey keeps its upper byte, 12-bit grey its upper eight bits.
- Signed integers, integers of 32 bits and floats have no agreed range: the smallest finite value becomes 0,
  the largest 255.
- CMYK and YCCK go the way Pillow takes them, Adobe's inverted inks included.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from pipeline.image.decode.item_transforms import Box
from pipeline.image.decode.levels import Levels
from pipeline.types import Pixels

STRIP_PX = 1 << 19  # 2 MiB as RGBA: small beside any budget, large enough that Python's share vanishes
_MAY_HOLD_ALPHA = frozenset({"1", "L", "P", "RGB", "LA", "PA", "RGBA", "RGBa"})


@dataclass(frozen=True, slots=True)
class _Range:
    low: float
    high: float


def read_strips(
    image: Image.Image, levels: Levels, *, factor: int, window: Box, filled: Box | None = None
) -> Pixels:
    """A loaded image as RGB, reduced by a whole factor.

    Args:
        window: the part to read.
        filled: outside of it every pixel is transparent, whatever it holds. None is everywhere.

    Returns:
        [H // factor, W // factor, 3], of the window. Pixels left over at its edges are cut evenly from both.
    """
    left, top, right, bottom = window
    width, height = (right - left) // factor, (bottom - top) // factor
    left, top = left + (right - left) % factor // 2, top + (bottom - top) % factor // 2
    value_range = _find_range(image, levels) if levels.stretched else None
    rgb = np.empty((height, width, 3), dtype=np.uint8)
    rows = max(1, STRIP_PX // (width * factor * factor))
    for row in range(0, height, rows):
        stop = min(row + rows, height)
        box = (left, top + row * factor, left + width * factor, top + stop * factor)
        strip = _to_rgb(image.crop(box), levels, value_range)
        if filled is not None:
            strip = _keep(strip, box, filled)
        rgb[row:stop] = np.asarray(strip.reduce(factor) if factor > 1 else strip)
    return rgb


def _to_rgb(strip: Image.Image, levels: Levels, value_range: _Range | None) -> Image.Image:
    rgb = _as_decoded(strip, levels, value_range)
    return ImageChops.invert(rgb) if levels.white_is_zero else rgb


def _as_decoded(strip: Image.Image, levels: Levels, value_range: _Range | None) -> Image.Image:
    if value_range is not None:
        return _stretch(_values(strip, levels), value_range)
    if strip.mode.startswith("I;16"):
        return _narrow(strip, levels)
    if strip.mode == "La":
        strip = strip.convert("LA")  # the grey was multiplied with its alpha
    if strip.mode in _MAY_HOLD_ALPHA and strip.has_transparency_data:
        rgba = strip.convert("RGBA")
        white = Image.new("RGB", strip.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return strip.convert("RGB")


def _keep(strip: Image.Image, box: Box, filled: Box) -> Image.Image:
    """White outside the filled part. `box` is where the strip lies in the image."""
    left, top = max(box[0], filled[0]), max(box[1], filled[1])
    right, bottom = min(box[2], filled[2]), min(box[3], filled[3])
    white = Image.new("RGB", strip.size, "white")
    if left < right and top < bottom:
        part = strip.crop((left - box[0], top - box[1], right - box[0], bottom - box[1]))
        white.paste(part, (left - box[0], top - box[1]))
    return white


def _narrow(strip: Image.Image, levels: Levels) -> Image.Image:
    values = np.asarray(strip)
    grey = (values >> (levels.bits_of_16 - 8)).astype(np.uint8)
    key = strip.info.get("transparency")  # PNG: this one value is transparent
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey).convert("RGB")


def _stretch(values: NDArray[np.float64], value_range: _Range) -> Image.Image:
    span = value_range.high - value_range.low
    finite = np.nan_to_num(values, nan=value_range.low, posinf=value_range.high, neginf=value_range.low)
    grey = (finite - value_range.low) * (255 / span if span > 0 else 0)
    return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")


def _find_range(image: Image.Image, levels: Levels) -> _Range:
    lows, highs = [], []
    for box in _row_boxes(image):
        values = _values(image.crop(box), levels)
        values = values[np.isfinite(values)]
        if values.size:
            lows.append(float(values.min()))
            highs.append(float(values.max()))
    return _Range(min(lows, default=0.0), max(highs, default=0.0))


def _row_boxes(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    rows = max(1, STRIP_PX // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _values(strip: Image.Image, levels: Levels) -> NDArray[np.float64]:
    stored = np.asarray(strip).view(levels.stretched or np.uint8)
    with np.errstate(invalid="ignore"):  # a signalling NaN may be among them
        return stored.astype(np.float64)  # a 32-bit span overflows 32-bit arithmetic

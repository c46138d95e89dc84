"""Colours of an embedded ICC profile become sRGB, the space that models were trained in.

littlecms does it, on pixels that are reduced already. A profile that is damaged, that does not fit its
picture or that is sRGB under another name changes nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from math import prod

import numpy as np
from PIL import Image, ImageCms

from pipeline.types import Pixels

MAX_PROFILE_BYTES = 4 * 2**20  # those of printing presses have 2 MB. Larger ones are left out
MAX_TAGS = 100  # real ones have some twenty
SAME_WITHIN = 2  # levels of 255: profiles called sRGB are within 1, the next space is 40 away

_KEPT = 8  # transforms, each up to a megabyte; building one costs 2 to 30 ms
_HEADER_BYTES = 128
_CLASSES = frozenset({b"mntr", b"scnr", b"prtr", b"spac"})  # monitor, camera, printer, space
_GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B", "I;16L", "I;16N"})
_RGB_MODES = _GREY_MODES | {"P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"}
_SPACES = {b"RGB ": ("RGB", _RGB_MODES), b"GRAY": ("L", _GREY_MODES), b"CMYK": ("CMYK", frozenset({"CMYK"}))}
_UNCHECKED_TABLES = frozenset({b"mpet"})  # rare, and made of parts that would all have to be checked
_STRIP_PX = 1 << 17  # 64 rows of 2048 px; those of a narrow picture may be millions


@dataclass(frozen=True, slots=True)
class Conversion:
    """From the colours of one profile to sRGB. Safe to share between threads."""

    mode: str  # of the input: RGB, L or CMYK
    transform: ImageCms.ImageCmsTransform

    def convert(self, rgb: Pixels) -> Pixels:
        """[H, W, 3] in, of a picture of grey or colours. The same shape out."""
        converted = np.empty(rgb.shape, np.uint8)
        rows = max(1, _STRIP_PX // max(1, rgb.shape[1]))
        for row in range(0, len(rgb), rows):
            strip = rgb[row : row + rows]
            image = Image.fromarray(np.ascontiguousarray(strip[..., 0] if self.mode == "L" else strip))
            converted[row : row + rows] = np.asarray(self.transform.apply(image))
        return converted

    def convert_planes(self, planes: Pixels) -> Pixels:
        """[3, H, W] in and out, contiguous."""
        return np.ascontiguousarray(self.convert(planes.transpose(1, 2, 0)).transpose(2, 0, 1))

    def read_inks(self, image: Image.Image, *, factor: int) -> Pixels:
        """A loaded CMYK image as sRGB, reduced by a whole factor before its colours are converted."""
        width, height = image.width // factor, image.height // factor
        left, top = image.width % factor // 2, image.height % factor // 2
        rgb = np.empty((height, width, 3), np.uint8)
        rows = max(1, _STRIP_PX // max(1, width * factor * factor))
        for row in range(0, height, rows):
            stop = min(row + rows, height)
            strip = image.crop((left, top + row * factor, left + width * factor, top + stop * factor))
            rgb[row:stop] = np.asarray(self.transform.apply(strip.reduce(factor)))
        return rgb


def find_conversion(profile: object, image_mode: str) -> Conversion | None:
    """None where the colours are to be taken as sRGB.

    Args:
        profile: the bytes that the file has in the place of one.
        image_mode: Pillow's, of the decoded picture.
    """
    if not isinstance(profile, bytes) or not _HEADER_BYTES < len(profile) <= MAX_PROFILE_BYTES:
        return None
    mode, image_modes = _SPACES.get(profile[16:20], ("", frozenset()))
    return _build(profile, mode) if image_mode in image_modes else None


@lru_cache(maxsize=_KEPT)
def _build(profile: bytes, mode: str) -> Conversion | None:
    if not _is_harmless(profile):
        return None
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
        conversion = Conversion(mode, transform)
        return None if _is_srgb(conversion) else conversion
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _is_srgb(conversion: Conversion) -> bool:
    if conversion.mode == "CMYK":
        return False
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    if conversion.mode == "L":
        samples = np.tile(levels[:, None, None], (1, 1, 3))
    else:
        samples = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    return int(np.abs(conversion.convert(samples).astype(int) - samples).max()) <= SAME_WITHIN


def _is_harmless(profile: bytes) -> bool:
    """Whether tables are as long as they say: littlecms allocates and clears them before it reads them."""
    if profile[36:40] != b"acsp" or profile[12:16] not in _CLASSES:
        return False
    try:
        return all(_table_fits(tag) for tag in _tags(profile))
    except (struct.error, IndexError, ValueError):
        return False


def _tags(profile: bytes) -> Iterator[memoryview]:
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    if count > MAX_TAGS:
        raise ValueError(f"{count} tags")
    for number in range(count):
        _, offset, size = struct.unpack_from(">4sII", profile, _HEADER_BYTES + 4 + 12 * number)
        if offset + size > len(profile):
            raise ValueError(f"a tag of {size} bytes at {offset}")
        yield memoryview(profile)[offset : offset + size]  # tags may share their bytes: none is copied


def _table_fits(tag: memoryview) -> bool:
    kind = bytes(tag[:4])
    if kind in _UNCHECKED_TABLES:
        return False
    if kind in (b"mft1", b"mft2"):  # samples of one or two bytes
        inputs, outputs, grid = tag[8], tag[9], tag[10]
        size = grid**inputs * outputs * int(kind[3:])
        return inputs <= 4 and size <= len(tag)
    if kind in (b"mAB ", b"mBA "):
        inputs, outputs = tag[8], tag[9]
        table: int = struct.unpack_from(">I", tag, 24)[0]
        return table == 0 or prod(tag[table : table + inputs]) * outputs * tag[table + 16] <= len(tag)
    return True

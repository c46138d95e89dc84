"""A JPEG without its end marker is whole when nothing that could follow changes a pixel of it.

Decoders cannot tell. Given an end, libjpeg fills up the missing part and tells nobody. So the picture is
decoded twice, with different data in the place of the end. Where a bit is missing it is taken from these, and
the pictures differ.
"""

import hashlib
from collections.abc import Callable
from io import BytesIO
from random import Random

from PIL import Image
from PIL.ImageFile import ImageFile

from pipeline.errors import ImageError
from pipeline.image.decode.jpeg_scans import END
from pipeline.types import Pixels, Reason

_FILLER_BYTES = 1024  # many blocks of a scan; enough to tell a large picture scaled to an eighth
_ZEROS = bytes(_FILLER_BYTES)
# From its first bit on unlike the other. No FF, which would begin a marker.
_NOISE = b"\xaa" + bytes(Random(1).choices(range(0xFF), k=_FILLER_BYTES - 1))  # noqa: S311 - no secret


def decode_without_end(stripped: bytes, read: Callable[[ImageFile], Pixels]) -> Pixels:
    """Decode a JPEG whose end marker is missing.

    Args:
        read: pixels of an opened picture.

    Raises:
        ImageError: truncated.
    """
    digest = _digest(read(_open(stripped + _NOISE + END)))
    rgb = read(_open(stripped + _ZEROS + END))  # one after the other: only one of them in memory
    if _digest(rgb) != digest:
        raise ImageError(Reason.TRUNCATED, "the data ends before the picture does")
    return rgb


def _open(body: bytes) -> ImageFile:
    return Image.open(BytesIO(body), formats=["JPEG"])


def _digest(rgb: Pixels) -> bytes:
    return hashlib.blake2b(rgb.data).digest()

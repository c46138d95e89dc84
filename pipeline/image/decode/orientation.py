"""Which way up. Only the one EXIF tag is read: parsing all of a hostile EXIF block costs memory and time."""

import re
import struct

import numpy as np

from pipeline.types import Pixels

_ORIENTATION = 0x0112
_INTEGER_TYPES = {3: "H", 4: "I"}  # SHORT, as the standard says, and LONG, as some write
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])")


def find_orientation(exif: object, xmp: object) -> int:
    """EXIF orientation, 1 to 8; 1 when there is none or it makes no sense.

    Damaged metadata is no reason to lose a picture, so nothing is raised. XMP speaks where EXIF is silent.
    """
    return choose_orientation(_read_exif(exif) if isinstance(exif, bytes) else None, xmp)


def choose_orientation(tag: int | None, xmp: object) -> int:
    """Between the EXIF or TIFF tag, if there is one, and XMP: the tag decides, even when it says 1."""
    found = tag
    if found is None and isinstance(xmp, bytes):
        match = _XMP_ORIENTATION.search(xmp)
        found = int(match[1]) if match else None
    return found if found is not None and 1 <= found <= 8 else 1


def _read_exif(exif: bytes) -> int | None:
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for offset in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, offset)
            if tag == _ORIENTATION and kind in _INTEGER_TYPES:
                return int(struct.unpack_from(order + _INTEGER_TYPES[kind], tiff, offset + 8)[0])
    except struct.error:  # the block ends within the directory
        pass
    return None


def turn_upright(rgb: Pixels, orientation: int) -> Pixels:
    """Undo the camera's turn. [H, W, 3] in, [H', W', 3] contiguous out."""
    if orientation >= 5:  # stored with rows and columns exchanged
        rgb = rgb.transpose(1, 0, 2)
    # After the exchange, the remaining mirrors: 6 and 8 are quarter turns, 5 and 7 reflections.
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    return np.ascontiguousarray(rgb)

"""The boxes that AVIF and HEIF files are made of (ISO base media file format)."""

import struct
from collections.abc import Iterator

from pipeline.errors import ImageError
from pipeline.types import Reason

MAX_BOXES = (
    4096  # beside each other; real files have some ten. What is not walked to the end could hide a frame
)


def iter_boxes(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each box, one after the other.

    Raises:
        ImageError: decode_error, for more than MAX_BOXES.
    """
    offset = 0
    for _ in range(MAX_BOXES):
        if offset + 8 > len(view):
            return
        size, kind = struct.unpack_from(">I4s", view, offset)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", view, offset + 8)
            head = 16
        end = len(view) if size == 0 else offset + size
        if end < offset + head:
            return
        yield kind, view[offset + head : end]
        offset = end
    raise ImageError(Reason.DECODE_ERROR, f"more than {MAX_BOXES} boxes beside each other")

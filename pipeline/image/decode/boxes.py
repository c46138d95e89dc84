"""The boxes that AVIF and HEIF files are made of (ISO base media file format)."""

import struct
from collections.abc import Iterator
from typing import TypeVar

from pipeline.errors import ImageError
from pipeline.image.decode.work import Work
from pipeline.types import Reason

MAX_BOXES = 4096  # beside each other. Real files have some ten. An unread part could hide a frame


T = TypeVar("T")


def iter_boxes(view: memoryview, work: Work) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each box, one after the other.

    Raises:
        ImageError: decode_error, for more than MAX_BOXES, or more than `work` allows.
    """
    offset = 0
    for _ in range(MAX_BOXES):
        if offset + 8 > len(view):
            return
        work.step()
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


def find_boxes(view: memoryview, path: tuple[bytes, ...], work: Work) -> Iterator[memoryview]:
    """The content of every box at the end of a path of kinds. Raises as `iter_boxes` does."""
    for kind, content in iter_boxes(view, work):
        if kind == path[0]:
            inside = content[4:] if kind == b"meta" else content  # a full box: version and flags come first
            yield from find_boxes(inside, path[1:], work) if path[1:] else (inside,)


def until_cut_off(parts: Iterator[T]) -> Iterator[T]:
    """The boxes of one directory, as far as it goes. Boxes beside it are then looked at all the same."""
    try:
        yield from parts
    except (struct.error, IndexError):
        return

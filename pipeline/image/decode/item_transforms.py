"""How the container of an AVIF wants its picture shown: clean aperture, turn and mirror.

Decoders leave the clean aperture (`clap`) to their callers. The three are applied in the order in which the
file lists them; whatever makes no sense is left out, as browsers do.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import ImageError
from pipeline.image.decode.boxes import iter_boxes
from pipeline.image.decode.orientation import turn_upright
from pipeline.image.decode.work import Work
from pipeline.types import Reason

Box = tuple[int, int, int, int]  # left, top, right, bottom, px
Property = tuple[bytes, memoryview]

_TRACK_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_PICTURES = frozenset({b"av01", b"grid"})
_FOLDED = frozenset({b"irot", b"imir", b"clap"})
_FOLD_STEPS = 64  # a turn is tried on a small picture; a file has one of each
_VISUAL_ENTRY_BYTES = 78  # the fixed part of a sample entry, before its own boxes
_CHECKER = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)  # no turn of it is itself


@dataclass(frozen=True, kw_only=True, slots=True)
class Transforms:
    window: Box | None = None  # the part of the stored picture that is shown; None is all of it
    orientation: int = 1  # as EXIF counts, to be undone after the cut


def read_transforms(body: bytes, size: tuple[int, int], work: Work) -> Transforms:
    """The steps to show a stored picture of this width and height, px."""
    try:
        properties = list(_properties(memoryview(body), work))
    except (struct.error, IndexError):  # ends within its directory: the decoder has the say
        return Transforms()
    return _fold(properties, size, work)


def check_kind(body: bytes, work: Work) -> None:
    """Raises ImageError(unsupported_format) when the picture of an AVIF is neither AV1 nor tiles of it."""
    view = memoryview(body)
    try:
        kind = b"av01" if _is_sequence(view) else _primary_kind(view, work)
    except (struct.error, IndexError):  # ends within its directory: the decoder has the say
        return
    if kind not in _PICTURES:
        raise ImageError(Reason.UNSUPPORTED_FORMAT, f"an AVIF whose picture is of the kind {kind.decode()!r}")


def _primary_kind(view: memoryview, work: Work) -> bytes:
    """Four letters; `av01` where the directory does not tell."""
    for kind, meta in iter_boxes(view, work):
        if kind != b"meta":
            continue
        boxes = dict(iter_boxes(meta[4:], work))
        primary = _primary_item(boxes.get(b"pitm", meta[:0]))
        listed = boxes.get(b"iinf", meta[:0])
        for _, entry in iter_boxes(listed[6 if listed[0] == 0 else 8 :], work):
            version = entry[0]
            wide = 4 if version >= 3 else 2
            if version >= 2 and int.from_bytes(entry[4 : 4 + wide], "big") == primary:
                found = bytes(entry[6 + wide : 10 + wide])
                return found if found.isalnum() and found.isascii() else b"av01"
    return b"av01"


def _fold(properties: Sequence[Property], size: tuple[int, int], work: Work) -> Transforms:
    window: Box = (0, 0, *size)
    orientation = 1
    for kind, content in properties:
        if kind in _FOLDED:
            work.step(_FOLD_STEPS)
        if kind == b"irot" and content:
            turned = np.rot90(turn_upright(_CHECKER, orientation), content[0] & 3)  # anticlockwise
            orientation = _orientation_of(turned)
        elif kind == b"imir" and content:
            mirrored = np.flip(turn_upright(_CHECKER, orientation), content[0] & 1)  # 0: top and bottom
            orientation = _orientation_of(mirrored)
        elif kind == b"clap" and len(content) >= 32:
            window = _cut(window, orientation, content)
    return Transforms(window=None if window == (0, 0, *size) else window, orientation=orientation)


def _orientation_of(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
    return next(n for n in range(1, 9) if np.array_equal(turn_upright(_CHECKER, n), picture))


def _cut(window: Box, orientation: int, clap: memoryview) -> Box:
    """The window within a window. The outer one where the aperture lies outside or is empty."""
    numbers = struct.unpack_from(">IIIIiIiI", clap)
    if 0 in numbers[1::2]:
        return window
    wide, high, right_by, down_by = (n / d for n, d in zip(numbers[::2], numbers[1::2], strict=True))
    width, height = window[2] - window[0], window[3] - window[1]
    if orientation >= 5:
        width, height = height, width
    # The offsets are from the middle of the picture to the middle of the aperture.
    left = round((width - 1) / 2 + right_by - (wide - 1) / 2)
    top = round((height - 1) / 2 + down_by - (high - 1) / 2)
    cut = left, top, left + round(wide), top + round(high)
    if not (0 <= left < cut[2] <= width and 0 <= top < cut[3] <= height):
        return window
    left, top, right, bottom = _as_stored(cut, orientation, width, height)
    return window[0] + left, window[1] + top, window[0] + right, window[1] + bottom


def _as_stored(box: Box, orientation: int, width: int, height: int) -> Box:
    """A box of the upright picture of this size, as a box of the stored one: `turn_upright` backwards."""
    left, top, right, bottom = box
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)


def _properties(view: memoryview, work: Work) -> Iterator[Property]:
    """Those of the picture that decoders show: the track's in a sequence, else the primary item's."""
    if _is_sequence(view):
        yield from _of_track(view, work)
        return
    for kind, meta in iter_boxes(view, work):
        if kind == b"meta":
            yield from _of_primary_item(meta[4:], work)  # a full box: version and flags come first
            return


def _is_sequence(view: memoryview) -> bool:
    return bytes(view[8:12]) == b"avis"


def _primary_item(box: memoryview) -> int:
    return int.from_bytes(box[4 : 8 if box[0] else 6], "big")


def _of_track(view: memoryview, work: Work) -> Iterator[Property]:
    for name in _TRACK_PATH:
        found = next((content for kind, content in iter_boxes(view, work) if kind == name), None)
        if found is None:
            return
        view = found
    for _, entry in iter_boxes(view[8:], work):
        yield from iter_boxes(entry[_VISUAL_ENTRY_BYTES:], work)
        return


def _of_primary_item(meta: memoryview, work: Work) -> Iterator[Property]:
    boxes = dict(iter_boxes(meta, work))
    inside = dict(iter_boxes(boxes.get(b"iprp", meta[:0]), work))
    item = _primary_item(boxes.get(b"pitm", meta[:0]))
    properties = list(iter_boxes(inside.get(b"ipco", meta[:0]), work))
    for number in _associated(inside.get(b"ipma", meta[:0]), item, work):
        if 1 <= number <= len(properties):
            yield properties[number - 1]


def _associated(ipma: memoryview, wanted: int, work: Work) -> Iterator[int]:
    """Numbers of an item's properties, from 1, in the file's order."""
    wide_item, wide_index = ipma[0] >= 1, ipma[3] & 1
    (entries,) = struct.unpack_from(">I", ipma, 4)
    at = 8
    for _ in range(entries):
        work.step()
        (item,) = struct.unpack_from(">I" if wide_item else ">H", ipma, at)
        at += 4 if wide_item else 2
        count, at = ipma[at], at + 1
        if item == wanted:
            for place in range(at, at + count * (1 + wide_index), 1 + wide_index):
                yield struct.unpack_from(">H", ipma, place)[0] & 0x7FFF if wide_index else ipma[place] & 0x7F
            return
        at += count * (1 + wide_index)

"""The frames of the HEVC streams inside a HEIF file, which the container's header need not tell truly.

The decoder makes the frame that a stream announces and compares it with the container afterwards. So the
parameter sets are read: those of every decoder configuration (`hvcC`), and those inside the items. A picture
of tiles is as large as its own small descriptor says.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.errors import ImageError
from pipeline.image.decode.av1_frame import iter_streams
from pipeline.image.decode.boxes import find_boxes, iter_boxes, until_cut_off
from pipeline.image.decode.tile_work import check_tiles
from pipeline.image.decode.work import Work
from pipeline.types import Reason

MAX_UNITS = 8192  # of one item; a tile has some five
MAX_PICTURES = 16  # of one item; a still picture has one

_PARAMETER_SET = 33
_FIRST_OF_NO_SLICE = 32  # kinds of units below are slices of a picture
_SET_STEPS = 16  # a parameter set is read bit by bit
_HEAD_BYTES = 256  # of a parameter set; its size stands among the first hundred
_CONFIGURATION_BYTES = 22  # the fixed part of a decoder configuration
_PROFILE_BITS, _LEVEL_BITS = 88, 8  # of a layer
_GRID = {8: ">HH", 12: ">II"}  # length of a descriptor of tiles, and how it holds width and height
# Kinds of items that could make a large picture of few bytes, and that no phone writes.
_REFUSED_ITEMS = {
    b"iovl": "laid over each other",
    b"tili": "in tiles of the newer kind",
    b"unci": "not compressed",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Frames:
    """The largest of all that a file announces."""

    px: int = 0
    is_444: bool = False  # colours are stored for each pixel
    is_deep: bool = False  # more than 8 bits


def read_frames(body: bytes, work: Work) -> Frames:
    """
    Raises:
        ImageError: unsupported_format for kinds of pictures that no phone writes, or decode_error for
            directories of absurd size, and for tiles that are together far larger than their picture.
    """
    view = memoryview(body)
    _check_items(view, work)
    largest_px, is_444, is_deep = 0, False, False
    for unit in _parameter_sets(view, body, work):
        work.step(_SET_STEPS)
        width, height, chroma, bits = _read_parameter_set(bytes(unit[:_HEAD_BYTES]))
        largest_px = max(largest_px, width * height)
        is_444, is_deep = is_444 or chroma >= 2, is_deep or bits > 8
    check_tiles(view, largest_px, work)
    return Frames(px=max(largest_px, _largest_grid_px(body, work)), is_444=is_444, is_deep=is_deep)


def _check_items(view: memoryview, work: Work) -> None:
    for items in until_cut_off(find_boxes(view, (b"meta", b"iinf"), work)):
        work.read(len(items))
        listed = bytes(items)
        for kind, words in _REFUSED_ITEMS.items():
            if kind in listed:
                raise ImageError(Reason.UNSUPPORTED_FORMAT, f"a HEIF whose pictures are {words}")


def _largest_grid_px(body: bytes, work: Work) -> int:
    sizes = [
        struct.unpack_from(_GRID[len(stream)], stream, 4)
        for stream, _ in iter_streams(body, work)
        if len(stream) in _GRID and stream[0] == 0
    ]
    return max((width * height for width, height in sizes), default=0)


def _parameter_sets(view: memoryview, body: bytes, work: Work) -> Iterator[memoryview]:
    lengths = {4}
    for configuration in _configurations(view, work):
        lengths.add((configuration[21] & 3) + 1)
        units = until_cut_off(_configured_units(configuration, work))
        yield from (unit for unit in units if _is_parameter_set(unit))
    for stream, picture_bytes in iter_streams(body, work):
        for length in lengths:
            units = _stream_units(stream, picture_bytes, length, work)
            yield from (unit for unit in units if _is_parameter_set(unit))


def _configurations(view: memoryview, work: Work) -> Iterator[memoryview]:
    for properties in until_cut_off(find_boxes(view, (b"meta", b"iprp", b"ipco"), work)):
        for kind, content in until_cut_off(iter_boxes(properties, work)):
            if kind == b"hvcC" and len(content) > _CONFIGURATION_BYTES:
                yield content


def _configured_units(configuration: memoryview, work: Work) -> Iterator[memoryview]:
    at = _CONFIGURATION_BYTES + 1
    for _ in range(configuration[_CONFIGURATION_BYTES]):
        (count,) = struct.unpack_from(">H", configuration, at + 1)
        at += 3
        for _ in range(count):
            work.step()
            (size,) = struct.unpack_from(">H", configuration, at)
            yield configuration[at + 2 : at + 2 + size]
            at += 2 + size


def _stream_units(
    stream: memoryview, picture_bytes: int, length_bytes: int, work: Work
) -> Iterator[memoryview]:
    at = pictures = 0
    for _ in range(MAX_UNITS):
        if at + length_bytes > len(stream):
            return
        work.step()
        size = int.from_bytes(stream[at : at + length_bytes], "big")
        at += length_bytes
        unit = stream[at : at + size]
        pictures += _begins_picture(unit) and at < picture_bytes
        if pictures > MAX_PICTURES:
            raise ImageError(Reason.DECODE_ERROR, f"HEIF with more than {MAX_PICTURES} pictures in one item")
        yield unit
        at += size
    raise ImageError(Reason.DECODE_ERROR, f"HEIF with more than {MAX_UNITS} units in one stream")


def _begins_picture(unit: memoryview) -> bool:
    """Whether it is a slice, and the first of its picture."""
    return len(unit) > 2 and unit[0] >> 1 & 63 < _FIRST_OF_NO_SLICE and unit[2] >= 0x80


def _is_parameter_set(unit: memoryview) -> bool:
    return len(unit) > 2 and unit[0] >> 1 & 63 == _PARAMETER_SET


class _Bits:
    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "big")
        self._left = 8 * len(content)

    def take(self, count: int) -> int:
        """Zero past the end."""
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else 0
        return shifted & ((1 << count) - 1)

    def take_number(self) -> int:
        """A number with its length in leading zeros: ue(v)."""
        zeros = next((n for n in range(32) if self.take(1)), 0)
        return (1 << zeros) - 1 + self.take(zeros)


def _read_parameter_set(unit: bytes) -> tuple[int, int, int, int]:
    """Width, height, kind of chroma (3 is 4:4:4) and bits of luma. HEVC specification, 7.3.2.2."""
    bits = _Bits(unit[2:].replace(b"\0\0\3", b"\0\0"))  # a 3 keeps zeros from looking like a start code
    bits.take(4)
    sub_layers = bits.take(3)
    bits.take(1 + _PROFILE_BITS + _LEVEL_BITS)
    if sub_layers:
        present = [(bits.take(1), bits.take(1)) for _ in range(sub_layers)]
        bits.take(2 * (8 - sub_layers))
        for has_profile, has_level in present:
            bits.take(_PROFILE_BITS * has_profile + _LEVEL_BITS * has_level)
    bits.take_number()  # its own number
    chroma = bits.take_number()
    if chroma == 3:
        bits.take(1)
    width, height = bits.take_number(), bits.take_number()
    if bits.take(1):  # a window of the frame
        for _ in range(4):
            bits.take_number()
    return width, height, chroma, 8 + bits.take_number()

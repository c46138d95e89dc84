"""The size of the AV1 frames inside an AVIF file, which the container's header need not tell truly.

A kilobyte of AVIF can say 64x64 in its boxes and hold a frame of 268 Mpx: the decoder makes the frame first
and compares afterwards. So the stream's own sequence headers are read: in every item (`iloc`), and at the
chunks of every track (`stco`), the two places where decoders look.
"""

import struct
from collections.abc import Iterator

from pipeline.errors import ImageError
from pipeline.image.decode.boxes import iter_boxes
from pipeline.types import Reason

# Over these a file is refused: what is not walked to the end could hide a frame behind what is.
MAX_ITEMS = 4096  # a grid of a hundred tiles is a large one
MAX_EXTENTS = 4096  # pieces of one item; real items have one
MAX_UNITS = 8192  # of one item or sample; AV1 allows 4096 tiles in a frame

_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_SEQUENCE_HEADER = 1


def largest_frame_px(body: bytes) -> int:
    """Width times height of the largest frame announced; 0 when none is found.

    Raises:
        ImageError: decode_error, for directories of absurd size.
    """
    sizes = (size for stream in iter_streams(body) for size in _frame_sizes(stream))
    return max((width * height for width, height in sizes), default=0)


def iter_streams(body: bytes) -> Iterator[memoryview]:
    """The content of every item of an AVIF or HEIF file, and from where each track's samples begin."""
    view = memoryview(body)
    try:
        for kind, box in iter_boxes(view):
            if kind == b"meta":
                yield from _items(view, box[4:])  # a full box: version and flags come first
            elif kind == b"moov":
                yield from _first_samples(view, box)
    except (struct.error, IndexError):  # ends within its directory: the decoder will say so
        return


def _first_samples(view: memoryview, container: memoryview) -> Iterator[memoryview]:
    for kind, box in iter_boxes(container):
        if kind in _CONTAINERS:
            yield from _first_samples(view, box)
        elif kind in (b"stco", b"co64") and len(box) >= 16:
            (offset,) = struct.unpack_from(">I" if kind == b"stco" else ">Q", box, 8)
            yield view[offset:]


def _items(view: memoryview, meta: memoryview) -> Iterator[memoryview]:
    boxes = dict(iter_boxes(meta))
    inside = boxes.get(b"idat", view[:0])
    joined_bytes = 0
    for in_file, extents in _locations(boxes.get(b"iloc", view[:0])):
        opened = view if in_file else inside
        parts = [opened[start : start + size] if size else opened[start:] for start, size in extents]
        if len(parts) == 1:
            yield parts[0]
            continue
        joined_bytes += sum(len(part) for part in parts)
        if joined_bytes > len(view):
            raise _absurd("items that overlap")
        yield memoryview(b"".join(parts))


def _locations(iloc: memoryview) -> Iterator[tuple[bool, list[tuple[int, int]]]]:
    """For each item: whether it lies in the file (else in `idat`), and offset and size of its extents."""
    version, sizes = iloc[0], (iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4, iloc[5] & 15 if iloc[0] else 0)
    offset_size, length_size, base_size, index_size = sizes
    at = 6
    wide = 4 if version == 2 else 2
    items, at = _number(iloc, at, wide)
    if items > MAX_ITEMS:
        raise _absurd(f"{items} items, over {MAX_ITEMS}")
    for _ in range(items):
        at += wide
        method = 0
        if version:
            method, at = _number(iloc, at, 2)
        base, at = _number(iloc, at + 2, base_size)
        count, at = _number(iloc, at, 2)
        if count > MAX_EXTENTS:
            raise _absurd(f"an item in {count} pieces, over {MAX_EXTENTS}")
        extents = []
        for _ in range(count):
            offset, at = _number(iloc, at + index_size, offset_size)
            size, at = _number(iloc, at, length_size)
            extents.append((base + offset, size))
        if extents:
            yield method & 15 == 0, extents


def _number(view: memoryview, at: int, size: int) -> tuple[int, int]:
    if at + size > len(view):
        raise IndexError
    return int.from_bytes(view[at : at + size], "big"), at + size


def _frame_sizes(stream: memoryview) -> Iterator[tuple[int, int]]:
    """From every sequence header among the first units of a stream."""
    at = 0
    for _ in range(MAX_UNITS):
        if at >= len(stream):
            return
        head = stream[at]
        at += 2 if head & 4 else 1
        size = len(stream) - at
        if head & 2:
            size, at = _leb128(stream, at)
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            yield _read_sequence_header(bytes(stream[at : at + min(size, 512)]))
        at += size
    raise _absurd(f"more than {MAX_UNITS} units in one AV1 stream")


def _leb128(stream: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for position, byte in enumerate(stream[at : at + 8]):
        value |= (byte & 127) << (7 * position)
        if byte < 128:
            return value, at + position + 1
    return len(stream), at


class _Bits:
    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "big")
        self._left = 8 * len(content)

    def take(self, count: int) -> int:
        """Zero past the end."""
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else 0
        return shifted & ((1 << count) - 1)


def _read_sequence_header(content: bytes) -> tuple[int, int]:
    """AV1 specification, 5.5.1: everything before the size has to be walked through bit by bit."""
    bits = _Bits(content)
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced header
        bits.take(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):  # equal interval: a number with its length in leading zeros
            zeros = next((n for n in range(32) if bits.take(1)), 32)
            bits.take(zeros if zeros < 32 else 0)
        if bits.take(1):  # decoder model
            delay_bits = bits.take(5) + 1
            bits.take(42)
    has_display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:  # level 4.0 and up: a tier follows
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if has_display_delay and bits.take(1):
            bits.take(4)


def _absurd(what: str) -> ImageError:
    return ImageError(Reason.DECODE_ERROR, f"AVIF with {what}")

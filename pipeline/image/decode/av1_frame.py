"""The size of the AV1 frames inside an AVIF file, which the container's header need not tell truly.

A kilobyte of AVIF can say 64x64 in its boxes and hold a frame of 268 Mpx: the decoder makes the frame first
and compares afterwards. So the stream's own sequence headers are read: in every item (`iloc`), and at the
chunks of every track (`stco`), the two places where decoders look.
"""

import struct
from collections.abc import Iterator

from pipeline.errors import ImageError
from pipeline.image.decode.boxes import find_boxes, iter_boxes, until_cut_off
from pipeline.image.decode.work import Work
from pipeline.types import Reason

# Over these a file is refused, because an unread part could hide a second frame.
MAX_ITEMS = 4096  # a grid of a hundred tiles is a large one
MAX_EXTENTS = 4096  # pieces of one item; real items have one
MAX_UNITS = 8192  # of one item or sample; AV1 allows 4096 tiles in a frame
MAX_FRAMES = 16  # of one picture: all are decoded to show the last. Pictures in layers have four

_SAMPLE_TABLES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_CHUNK_OFFSETS = {b"stco": ">I", b"co64": ">Q"}
_SEQUENCE_HEADER = 1
_FRAMES = frozenset({3, 6})  # a frame's header, and a header with its frame
_HEADER_STEPS = 16  # a sequence header is read bit by bit


def largest_frame_px(body: bytes, work: Work) -> int:
    """Width times height of the largest frame announced; 0 when none is found.

    Raises:
        ImageError: decode_error, for directories of absurd size and pictures of absurdly many frames.
    """
    sizes = (
        size
        for stream, picture_bytes in iter_streams(body, work)
        for size in _frame_sizes(stream, picture_bytes, work)
    )
    return max((width * height for width, height in sizes), default=0)


def iter_streams(body: bytes, work: Work) -> Iterator[tuple[memoryview, int]]:
    """The content of every item of an AVIF or HEIF file, and from where each track's samples begin.

    Beside it stands how many bytes of it are one picture.
    """
    view = memoryview(body)
    for meta in until_cut_off(find_boxes(view, (b"meta",), work)):
        yield from ((item, len(item)) for item in until_cut_off(_items(view, meta, work)))
    for table in until_cut_off(find_boxes(view, _SAMPLE_TABLES, work)):
        yield from until_cut_off(_first_samples(view, table, work))


def _first_samples(view: memoryview, table: memoryview, work: Work) -> Iterator[tuple[memoryview, int]]:
    boxes = list(iter_boxes(table, work))
    first_bytes = max((_first_size(box) for kind, box in boxes if kind == b"stsz"), default=len(view))
    for kind, box in boxes:
        letter = _CHUNK_OFFSETS.get(kind)
        if letter and len(box) >= 8 + struct.calcsize(letter):  # shorter: a track without samples
            (offset,) = struct.unpack_from(letter, box, 8)
            yield view[offset:], first_bytes


def _first_size(stsz: memoryview) -> int:
    """Bytes of a track's first sample: the same for all, or the first of a list."""
    same_for_all: int = struct.unpack_from(">I", stsz, 4)[0]
    return same_for_all or int(struct.unpack_from(">I", stsz, 12)[0])


def _items(view: memoryview, meta: memoryview, work: Work) -> Iterator[memoryview]:
    boxes = dict(iter_boxes(meta, work))
    inside = boxes.get(b"idat", view[:0])
    joined_bytes = 0
    for in_file, extents in _locations(boxes.get(b"iloc", view[:0]), work):
        opened = view if in_file else inside
        parts = [opened[start : start + size] if size else opened[start:] for start, size in extents]
        if len(parts) == 1:
            yield parts[0]
            continue
        joined_bytes += sum(len(part) for part in parts)
        if joined_bytes > len(view):
            raise _absurd("items that overlap")
        work.read(joined_bytes)
        yield memoryview(b"".join(parts))


def _locations(iloc: memoryview, work: Work) -> Iterator[tuple[bool, list[tuple[int, int]]]]:
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
        work.step(1 + count)
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


def _frame_sizes(stream: memoryview, picture_bytes: int, work: Work) -> Iterator[tuple[int, int]]:
    """From every sequence header among the first units of a stream."""
    at = frames = 0
    for _ in range(MAX_UNITS):
        if at >= len(stream):
            return
        work.step()
        kind = stream[at] >> 3 & 15
        frames += kind in _FRAMES and at < picture_bytes
        if frames > MAX_FRAMES:
            raise _absurd(f"more than {MAX_FRAMES} frames in one picture")
        content, at = _next_unit(stream, at)
        if kind == _SEQUENCE_HEADER:
            work.step(_HEADER_STEPS)
            yield _read_sequence_header(bytes(content[:512]))
    raise _absurd(f"more than {MAX_UNITS} units in one AV1 stream")


def _next_unit(stream: memoryview, at: int) -> tuple[memoryview, int]:
    """The contents of a unit, and where the next one begins."""
    head = stream[at]
    at += 2 if head & 4 else 1
    size = len(stream) - at
    if head & 2:
        size, at = _leb128(stream, at)
    return stream[at : at + max(size, 0)], at + size


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

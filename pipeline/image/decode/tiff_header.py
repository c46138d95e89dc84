"""The first directory of a TIFF file, as numbers. Little is read of it, whatever the file says it holds.

Pillow keeps a Python object for each value of each tag, thirty to a hundred times its bytes in the file, and
takes some tags otherwise than libtiff does. Here only the tags that decide about pixels are read.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from pipeline.errors import ImageError
from pipeline.image.decode.work import Work
from pipeline.types import Reason

MAX_TIFF_VALUES = 131_072  # offset and length of 65,536 strips
MAX_TIFF_ENTRIES = 4_096  # tags of one directory; real ones have some twenty
MAX_PAGES = 32  # directories that are looked at beside the first

# Types of values: size in bytes, and the letter of `struct` where it is an integer.
_TYPE_BYTES = dict(
    zip((*range(1, 14), 16, 17, 18), (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 8, 8, 8), strict=True)
)
_INTEGER_LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_BYTE_TYPES = frozenset({1, 2, 6, 7})


class Tag(IntEnum):
    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    PLANAR_CONFIGURATION = 284
    PREDICTOR = 317
    COLOUR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    SUB_DIRECTORIES = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    XMP = 700
    ICC_PROFILE = 34675
    DNG_VERSION = 50706


@dataclass(frozen=True, slots=True)
class Entry:
    kind: int
    count: int
    offset: int  # of the value, in the file


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One directory: its entries, and where the next one is."""

    body: bytes
    order: str  # "<" or ">"
    entries: Mapping[int, Entry]
    next_offset: int = 0  # 0: there is none

    def numbers(self, tag: Tag) -> tuple[int, ...]:
        """All integers of one tag. () when it is missing, of another type, too long, or cut off."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _INTEGER_LETTERS or entry.count > MAX_TIFF_VALUES:
            return ()
        try:
            layout = f"{self.order}{entry.count}{_INTEGER_LETTERS[entry.kind]}"
            return struct.unpack_from(layout, self.body, entry.offset)
        except struct.error:
            return ()

    def number(self, tag: Tag, default: int) -> int:
        """The first integer of a tag, where `numbers` would give any."""
        entry = self.entries.get(tag)
        if entry is None or entry.count <= 1 or entry.kind not in _INTEGER_LETTERS:
            return next(iter(self.numbers(tag)), default)
        is_whole = entry.offset + entry.count * _TYPE_BYTES[entry.kind] <= len(self.body)
        if entry.count > MAX_TIFF_VALUES or not is_whole:
            return default
        return int(struct.unpack_from(self.order + _INTEGER_LETTERS[entry.kind], self.body, entry.offset)[0])

    def content(self, tag: Tag, *, max_bytes: int) -> bytes | None:
        """The value of a tag of bytes. None when it is missing or larger than that."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _BYTE_TYPES or entry.count > max_bytes:
            return None
        return self.body[entry.offset : entry.offset + entry.count]

    @property
    def size(self) -> tuple[int, int]:
        return self.number(Tag.WIDTH, 0), self.number(Tag.HEIGHT, 0)


def read_first_page(body: bytes, work: Work) -> Page:
    """Raises ImageError: truncated, or decode_error for a page without a size or with too many values."""
    order, big = _layout(body)
    try:
        (offset,) = struct.unpack_from(order + ("Q" if big else "I"), body, 8 if big else 4)
        tags = _count_tags(body, order, big, offset)
        if tags > MAX_TIFF_ENTRIES:
            raise ImageError(Reason.DECODE_ERROR, f"{tags} TIFF tags, over {MAX_TIFF_ENTRIES}")
        page = _read_page(body, order, big, offset, work)
    except struct.error:
        raise ImageError(Reason.TRUNCATED, "the data ends before the first TIFF directory does") from None
    if min(page.size) < 1:
        raise ImageError(Reason.DECODE_ERROR, "a TIFF page of {}x{} px".format(*page.size))
    values = sum(
        entry.count
        for tag, entry in page.entries.items()
        if entry.kind not in _BYTE_TYPES and tag != Tag.COLOUR_MAP  # its size is judged by the bits a sample
    )
    if values > MAX_TIFF_VALUES:
        raise ImageError(Reason.DECODE_ERROR, f"more than {MAX_TIFF_VALUES} TIFF values")
    return page


def other_pages(first: Page, work: Work) -> Iterator[Page]:
    """The directories inside the first one, then those behind it. Unreadable ones are left out.

    Raises:
        ImageError: decode_error, for more tags than `work` allows.
    """
    order, big = _layout(first.body)
    pending = [*first.numbers(Tag.SUB_DIRECTORIES)[:MAX_PAGES], first.next_offset]
    seen = {0}
    while pending and len(seen) <= MAX_PAGES:
        offset = pending.pop(0)
        if offset in seen:
            continue
        seen.add(offset)
        try:
            if _count_tags(first.body, order, big, offset) > MAX_TIFF_ENTRIES:
                continue
            page = _read_page(first.body, order, big, offset, work)
        except struct.error:
            continue
        pending.append(page.next_offset)
        yield page


def _layout(body: bytes) -> tuple[str, bool]:
    """Byte order, and whether this is BigTIFF."""
    return "<" if body[:2] == b"II" else ">", b"+" in body[2:4]


def _count_tags(body: bytes, order: str, big: bool, start: int) -> int:
    return int(struct.unpack_from(order + ("Q" if big else "H"), body, start)[0])


def _read_page(body: bytes, order: str, big: bool, start: int, work: Work) -> Page:
    counter, word = (order + "Q", order + "Q") if big else (order + "H", order + "I")
    entry_format, inline_bytes = (order + "HHQQ", 8) if big else (order + "HHII", 4)
    count = _count_tags(body, order, big, start)
    start += struct.calcsize(counter)
    entry_bytes = struct.calcsize(entry_format)
    work.step(min(count, max(0, len(body) - start) // entry_bytes))
    entries: dict[int, Entry] = {}
    for at in range(start, start + count * entry_bytes, entry_bytes):
        tag, kind, values, offset = struct.unpack_from(entry_format, body, at)
        if values * _TYPE_BYTES.get(kind, 1) <= inline_bytes:
            offset = at + entry_bytes - inline_bytes
        entries.setdefault(tag, Entry(kind, values, offset))  # of two, libtiff takes the first
    try:
        (next_offset,) = struct.unpack_from(word, body, start + count * entry_bytes)
    except struct.error:  # some writers leave it out
        next_offset = 0
    return Page(body=body, order=order, entries=entries, next_offset=next_offset)

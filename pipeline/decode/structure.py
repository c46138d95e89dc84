"""Files whose directories alone would cost more than their pixels.

Pillow keeps Python objects for each PNG chunk and each TIFF value, thirty to a hundred times their bytes in
the file. These checks read lengths and counts only. (JPEG has `jpeg_header`; the other formats hold nothing
that grows.)
"""

import struct
from collections.abc import Iterator

from pipeline.errors import ImageError
from pipeline.types import Reason

MAX_PNG_CHUNKS = 65_536  # 64 MiB of the 1 KiB chunks of the most timid encoder
MAX_TIFF_VALUES = 131_072  # offset and length of 65,536 strips
MAX_TIFF_ENTRIES = 4_096  # tags of one directory; real ones have some twenty

_POINTERS = frozenset({34665, 34853, 40965})  # EXIF, GPS, interoperability: Pillow reads them when it loads
_BYTE_TYPES = frozenset({1, 2, 6, 7})  # kept as bytes; all others become one object a value


def check_structure(format_name: str, body: bytes) -> None:
    """Raises ImageError(decode_error) when the file is made to exhaust its reader."""
    match format_name:
        case "PNG":
            _check_png(body)
        case "TIFF":
            _check_tiff(body)


def _check_png(body: bytes) -> None:
    offset = 8
    for _ in range(MAX_PNG_CHUNKS):
        if offset + 8 > len(body) or body.startswith(b"IEND", offset + 4):
            return
        offset += 12 + int.from_bytes(body[offset : offset + 4], "big")
    raise ImageError(Reason.DECODE_ERROR, f"more than {MAX_PNG_CHUNKS} PNG chunks")


def _check_tiff(body: bytes) -> None:
    values = 0
    pending: list[int | None] = [None]  # None is the first directory
    seen: set[int | None] = set()
    while pending:
        start = pending.pop()
        if start in seen:
            continue
        seen.add(start)
        for tag, kind, count, value in _read_directory(body, start):
            if tag in _POINTERS:
                pending.append(value)
            if kind not in _BYTE_TYPES:
                values += count
            if values > MAX_TIFF_VALUES:
                raise ImageError(Reason.DECODE_ERROR, f"more than {MAX_TIFF_VALUES} TIFF values")


def _read_directory(body: bytes, start: int | None) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, count and value-or-offset of each entry. A directory that is cut off just ends."""
    order = "<" if body[:2] == b"II" else ">"
    big = b"+" in body[2:4]
    word, entry_format = ("Q", "HHQQ") if big else ("I", "HHII")
    try:
        if start is None:
            (start,) = struct.unpack_from(order + word, body, 8 if big else 4)
        (entries,) = struct.unpack_from(order + ("Q" if big else "H"), body, start)
        if entries > MAX_TIFF_ENTRIES:
            raise ImageError(Reason.DECODE_ERROR, f"{entries} TIFF tags, over {MAX_TIFF_ENTRIES}")
        start += 8 if big else 2
        for number in range(entries):
            yield struct.unpack_from(
                order + entry_format, body, start + number * struct.calcsize(order + entry_format)
            )
    except struct.error:
        return

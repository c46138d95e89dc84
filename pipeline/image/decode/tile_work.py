"""How many pixels the tiles of a HEIF make together, which may be far more than its picture has.

A picture of tiles names its tiles, and may name one again and again. Decoders decode it each time. libheif
takes up to 1,000 names: two kilobytes that say 64x64 can make it decode 12,000 Mpx.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence

from pipeline.errors import ImageError
from pipeline.image.decode.boxes import find_boxes, iter_boxes, until_cut_off
from pipeline.image.decode.work import Work
from pipeline.types import Reason

MAX_TILED_PX = 1_000_000_000  # up to 10 s of a core. The largest phones have 192 tiles of 512x512, 50 Mpx
MAX_DEPTH = 4  # of pictures made of pictures; a phone's is a grid within a tone map


def check_tiles(view: memoryview, tile_px: int, work: Work) -> None:
    """
    Args:
        tile_px: of the largest frame that the file announces.

    Raises:
        ImageError: decode_error.
    """
    references = _read_references(view, work)
    known: dict[int, int] = {}
    for item in references:
        px = tile_px * _count_tiles(item, references, known, depth=0)
        if px > MAX_TILED_PX:
            raise ImageError(
                Reason.DECODE_ERROR, f"tiles of up to {px} px together are over the {MAX_TILED_PX} px to read"
            )


def _count_tiles(
    item: int, references: Mapping[int, Sequence[int]], known: dict[int, int], *, depth: int
) -> int:
    if item not in references:
        return 1
    if depth > MAX_DEPTH:
        raise ImageError(Reason.DECODE_ERROR, f"a HEIF of pictures within pictures, over {MAX_DEPTH} deep")
    if item not in known:
        known[item] = sum(_count_tiles(part, references, known, depth=depth + 1) for part in references[item])
    return known[item]


def _read_references(view: memoryview, work: Work) -> dict[int, list[int]]:
    """For each picture made of others, these others, as often as it names them."""
    found: dict[int, list[int]] = {}
    for listed in until_cut_off(find_boxes(view, (b"meta", b"iref"), work)):
        for item, parts in until_cut_off(_read_parts(listed, work)):
            found.setdefault(item, []).extend(parts)
    return found


def _read_parts(listed: memoryview, work: Work) -> Iterator[tuple[int, tuple[int, ...]]]:
    letter = "I" if listed[0] else "H"
    start = struct.calcsize(f">{letter}H")
    for kind, content in iter_boxes(listed[4:], work):
        if kind == b"dimg":
            item, count = struct.unpack_from(f">{letter}H", content)
            work.step(count)
            yield item, struct.unpack_from(f">{count}{letter}", content, start)

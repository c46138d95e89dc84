"""The cost of decoding the strips or tiles of a TIFF, told from their directory before it starts.

The directory says where each of them lies. Nothing keeps it from naming the same megabytes for all.
"""

from pipeline.errors import ImageError
from pipeline.image.decode.jpeg_header import MAX_SCANNED_PX
from pipeline.image.decode.tiff_header import Page, Tag
from pipeline.image.decode.tiff_variant import TiffVariant
from pipeline.image.decode.variants import Compression
from pipeline.image.decode.work import Work
from pipeline.types import Reason

# Of the file and of the pixels. Some programs write too large sizes, or share empty tiles.
READS_OF_A_BYTE = 4
_SCAN = b"\xff\xda"


def check_units(page: Page, variant: TiffVariant, work: Work) -> None:
    """Raises ImageError(decode_error) for strips that overlap too much, or of too many scans."""
    units = _find_units(page)
    work.step(len(units))
    if variant.compression is Compression.NONE:
        return  # read row by row, whatever their sizes are said to be
    unit_bytes = sum(stop - start for start, stop in units)
    width, height = page.size
    px_bytes = max(-(-variant.bits // 8) * len(variant.stored), 4)
    most = READS_OF_A_BYTE * (len(page.body) + width * height * px_bytes)
    if unit_bytes > most:
        raise ImageError(
            Reason.DECODE_ERROR,
            f"TIFF strips or tiles of {unit_bytes} bytes in {len(page.body)} bytes, over {most}",
        )
    if variant.compression is Compression.JPEG:
        _check_scans(page, units)


def _find_units(page: Page) -> list[tuple[int, int]]:
    """Start and stop of each, within the file."""
    tiled = Tag.TILE_OFFSETS in page.entries
    starts = page.numbers(Tag.TILE_OFFSETS if tiled else Tag.STRIP_OFFSETS)
    sizes = page.numbers(Tag.TILE_BYTE_COUNTS if tiled else Tag.STRIP_BYTE_COUNTS)
    end = len(page.body)
    return [
        (start, max(start, min(start + size, end)))
        for start, size in zip(starts, sizes, strict=False)
        if start >= 0
    ]


def _check_scans(page: Page, units: list[tuple[int, int]]) -> None:
    width, height = page.size
    if Tag.TILE_OFFSETS in page.entries:
        unit_px = page.number(Tag.TILE_WIDTH, width) * page.number(Tag.TILE_HEIGHT, height)
    else:
        unit_px = width * min(page.number(Tag.ROWS_PER_STRIP, height), height)
    scans = sum(page.body.count(_SCAN, start, stop) for start, stop in units)
    if scans * unit_px > MAX_SCANNED_PX:
        raise ImageError(
            Reason.DECODE_ERROR,
            f"{scans} scans of strips or tiles of {unit_px} px are over {MAX_SCANNED_PX} px to read",
        )

"""Pixels of a TIFF page of a known variant, through the codecs of Pillow and libtiff.

Pillow's own reader guesses the kind of samples, turns some images but not their size, and fails on planes
of 16 bits and on compressed numbers in the other byte order. This one is told.
"""

from io import BytesIO
from typing import Any

from PIL import Image, ImageFile, ImagePalette

from pipeline.errors import ImageError
from pipeline.image.decode.camera_raw import check_is_picture
from pipeline.image.decode.orientation import choose_orientation
from pipeline.image.decode.tiff_header import Page, Tag, read_first_page
from pipeline.image.decode.tiff_units import check_units
from pipeline.image.decode.tiff_variant import TiffVariant, recognise_tiff
from pipeline.image.decode.variants import Compression, SampleFormat
from pipeline.image.decode.work import Work
from pipeline.types import Reason

MAX_PROFILE_BYTES = 4 * 2**20  # an ICC profile or XMP; those of printers have 3 MB

# Pillow's modes and names of stored samples. {} stands for the byte order: see `_unpack_name`.
_GREY = {
    (SampleFormat.UNSIGNED, 1): ("1", "1"),
    (SampleFormat.UNSIGNED, 2): ("L", "L;2"),
    (SampleFormat.UNSIGNED, 4): ("L", "L;4"),
    (SampleFormat.UNSIGNED, 8): ("L", "L"),
    (SampleFormat.UNSIGNED, 12): ("I;16", "I;12"),
    (SampleFormat.UNSIGNED, 16): ("I;16", "I;16{}"),
    (SampleFormat.UNSIGNED, 32): ("I", "I;32{}"),
    (SampleFormat.SIGNED, 8): ("L", "L"),
    (SampleFormat.SIGNED, 16): ("I", "I;16{}S"),
    (SampleFormat.SIGNED, 32): ("I", "I;32{}S"),
    (SampleFormat.FLOAT, 32): ("F", "F;32{}F"),
    (SampleFormat.FLOAT, 64): ("F", "F;64{}F"),
}
_MODES = {"RGBa": "RGBA", "YCbCr": "RGB"}  # Pillow divides by alpha, libtiff converts; else the samples' name


def open_tiff(body: bytes, work: Work) -> "TiffPixels":
    """The first page, not decoded yet.

    Raises:
        ImageError: unsupported_format, truncated or decode_error.
    """
    page = read_first_page(body, work)
    check_is_picture(page, work)
    variant = recognise_tiff(page)
    check_units(page, variant, work)
    return TiffPixels(page, variant)


class TiffPixels(ImageFile.ImageFile):
    format = "TIFF"

    def __init__(self, page: Page, variant: TiffVariant) -> None:
        self.page = page
        self.variant = variant
        super().__init__(BytesIO(page.body))

    def read_orientation(self) -> int:
        return choose_orientation(self.page.number(Tag.ORIENTATION, 0) or None, self.info.get("xmp"))

    def _open(self) -> None:
        self._size = self.page.size
        self._mode, layout = _find_mode(self.variant)
        if _needs_libtiff(self.page, self.variant):
            name = _unpack_name(self._mode, layout, "N")
            self.tile = [ImageFile._Tile("libtiff", (0, 0, *self._size), 0, (name, 0, 0))]
        else:
            self.tile = _raw_tiles(self.page, self.variant, _unpack_name(self._mode, layout, self.page.order))
        if self._mode in ("P", "PA"):
            self.palette = _read_palette(self.page, self.variant.bits)
        self.info.update(_read_profiles(self.page))

    def load(self) -> Any:
        if not self.tile or self.tile[0].codec_name != "libtiff":
            return super().load()
        _, extents, _, args = self.tile[0]
        self.load_prepare()
        decoder = Image._getdecoder(self.mode, "libtiff", args)
        decoder.setimage(self.im, extents)
        _, error = decoder.decode(self.page.body)
        self.tile = []
        if error < 0:
            raise OSError("image file is truncated" if _is_cut_off(self.page) else "damaged strips or tiles")
        return Image.Image.load(self)


def _find_mode(variant: TiffVariant) -> tuple[str, str]:
    """Pillow's mode and its name for the stored samples."""
    stored = variant.stored.rstrip("X")
    if stored == "L":
        mode, layout = _GREY[variant.sample_format, variant.bits]
        return mode, "LX" if variant.stored == "LX" and not variant.planar else layout
    mode = _MODES.get(stored, stored)
    if stored == "YCbCr":
        # Of JPEG, libjpeg makes RGB; of the rest, libtiff makes RGBA.
        return mode, "RGB" if variant.compression is Compression.JPEG else "RGBX"
    name = stored if variant.planar else variant.stored
    match variant.bits:
        case 8:
            return mode, name
        case 16:
            return mode, name + ";16{}"
        case bits:
            return mode, f"{name};{bits}"  # palettes


def _unpack_name(mode: str, layout: str, order: str) -> str:
    """libtiff gives samples in the order of this machine ("N"). Raw ones are in that of the file."""
    little = "" if mode in ("I;16", "I", "F") else "L"
    return layout.format({"<": little, ">": "B", "N": "N"}[order])


def _needs_libtiff(page: Page, variant: TiffVariant) -> bool:
    return (
        variant.compression is not Compression.NONE
        or variant.planar
        or variant.stored == "YCbCr"  # colours may be stored once for several pixels
        or page.number(Tag.FILL_ORDER, 1) != 1
    )


def _raw_tiles(page: Page, variant: TiffVariant, layout: str) -> list[ImageFile._Tile]:
    width, height = page.size
    if Tag.TILE_OFFSETS in page.entries:
        offsets = page.numbers(Tag.TILE_OFFSETS)
        across, down = page.number(Tag.TILE_WIDTH, 0), page.number(Tag.TILE_HEIGHT, 0)
    else:
        offsets = page.numbers(Tag.STRIP_OFFSETS)
        across, down = width, min(page.number(Tag.ROWS_PER_STRIP, height), height)
    if across < 1 or down < 1 or len(offsets) < -(-width // across) * -(-height // down):
        raise ImageError(
            Reason.DECODE_ERROR, f"{len(offsets)} strips or tiles do not make {width}x{height} px"
        )
    row_bytes = -(-across * variant.bits * variant.samples_in_unit // 8)
    corners = ((x, y) for y in range(0, height, down) for x in range(0, width, across))
    return [
        ImageFile._Tile(
            "raw", (x, y, min(x + across, width), min(y + down, height)), offset, (layout, row_bytes, 1)
        )
        for (x, y), offset in zip(corners, offsets, strict=False)
    ]


def _read_palette(page: Page, bits: int) -> ImagePalette.ImagePalette:
    values = page.numbers(Tag.COLOUR_MAP)
    if len(values) != 3 << bits:
        raise ImageError(Reason.DECODE_ERROR, f"a ColorMap of {len(values)} values, {3 << bits} are needed")
    # Old programs wrote 0..255 where the standard says 0..65535. libtiff knows such maps, too.
    shift = 8 if max(values) > 0xFF else 0
    return ImagePalette.raw("RGB;L", bytes(value >> shift & 0xFF for value in values))


def _read_profiles(page: Page) -> dict[str, bytes]:
    found = {
        "icc_profile": page.content(Tag.ICC_PROFILE, max_bytes=MAX_PROFILE_BYTES),
        "xmp": page.content(Tag.XMP, max_bytes=MAX_PROFILE_BYTES),
    }
    return {name: content for name, content in found.items() if content is not None}


def _is_cut_off(page: Page) -> bool:
    for starts, lengths in (
        (Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS),
        (Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS),
    ):
        ends = map(sum, zip(page.numbers(starts), page.numbers(lengths), strict=False))
        if any(end > len(page.body) for end in ends):
            return True
    return False

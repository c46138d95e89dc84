"""The one place that says which variants of TIFF and PNG become right pixels. All others are refused by name.

A variant is on the list when tests have written it with one program, read it with another, and found Pictor's
pixels within 2 of 255: `test_tiff_variants.py`, `test_tiff_pages.py` and `test_png_variants.py`. What Pillow
can open is no measure, because it reads some variants without an error and with wrong pixels.
"""

from enum import IntEnum
from typing import Literal

from pipeline.errors import ImageError
from pipeline.types import Reason


class Photometric(IntEnum):
    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    CMYK = 5
    YCBCR = 6
    LAB = 8


class Compression(IntEnum):
    NONE = 1
    CCITT_RLE = 2
    CCITT_FAX3 = 3
    CCITT_FAX4 = 4
    LZW = 5
    OLD_JPEG = 6
    JPEG = 7
    ADOBE_DEFLATE = 8
    PACKBITS = 32773
    DEFLATE = 32946
    LZMA = 34925
    ZSTD = 50000


class SampleFormat(IntEnum):
    UNSIGNED = 1
    SIGNED = 2
    FLOAT = 3


CCITT = frozenset({Compression.CCITT_RLE, Compression.CCITT_FAX3, Compression.CCITT_FAX4})
JPEG = frozenset({Compression.JPEG, Compression.OLD_JPEG})
WITH_PREDICTOR = frozenset(
    {Compression.LZW, Compression.ADOBE_DEFLATE, Compression.DEFLATE, Compression.LZMA, Compression.ZSTD}
)
CHANNELS = {Photometric.RGB: 3, Photometric.YCBCR: 3, Photometric.LAB: 3, Photometric.CMYK: 4}  # else 1
BASES = {
    Photometric.RGB: "RGB",
    Photometric.YCBCR: "YCbCr",
    Photometric.LAB: "LAB",
    Photometric.CMYK: "CMYK",
    Photometric.PALETTE: "P",
}
COLOURS = {"L": "grey", "P": "palette", "RGB": "RGB", "CMYK": "CMYK", "YCbCr": "YCbCr", "LAB": "CIELAB"}
# Kinds of extra samples: not said, the alpha that colours were multiplied with, alpha. 999 is Corel's.
EXTRA = {0: "X", 1: "a", 2: "A", 999: "A"}

# Bits a sample by PNG's colour type: grey, RGB, palette, grey with alpha, RGB with alpha. All may be
# interlaced. Grey and RGB may have a transparent colour, and palettes an alpha for each of theirs.
PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}

# The samples that TIFF stores for each pixel, by sample format and bits a sample. L is grey, P a palette's
# index, A alpha, "a" the alpha of colours that were multiplied with it, and X a sample that is left out.
STORED: dict[tuple[SampleFormat, int], frozenset[str]] = {
    (SampleFormat.UNSIGNED, 1): frozenset({"L", "P"}),
    (SampleFormat.UNSIGNED, 2): frozenset({"L", "P"}),
    (SampleFormat.UNSIGNED, 4): frozenset({"L", "P"}),
    (SampleFormat.UNSIGNED, 8): frozenset({
        "L", "LX", "LA", "La", "P", "PX", "PA", "CMYK", "CMYKX", "CMYKXX", "YCbCr", "LAB",
        "RGB", "RGBX", "RGBXX", "RGBXXX", "RGBA", "RGBAX", "RGBAXX", "RGBa", "RGBaX", "RGBaXX",
    }),
    (SampleFormat.UNSIGNED, 12): frozenset({"L"}),
    (SampleFormat.UNSIGNED, 16): frozenset({"L", "RGB", "RGBX", "RGBA", "RGBa", "CMYK"}),
    (SampleFormat.UNSIGNED, 32): frozenset({"L"}),
    (SampleFormat.SIGNED, 8): frozenset({"L", "LX"}),
    (SampleFormat.SIGNED, 16): frozenset({"L"}),
    (SampleFormat.SIGNED, 32): frozenset({"L"}),
    (SampleFormat.FLOAT, 32): frozenset({"L"}),
    (SampleFormat.FLOAT, 64): frozenset({"L"}),
}  # fmt: skip
# Those without an agreed range, and how they are held when they are decoded.
STRETCHED: dict[tuple[SampleFormat, int], Literal["i1", "i4", "u4", "f4"]] = {
    (SampleFormat.SIGNED, 8): "i1",
    (SampleFormat.SIGNED, 16): "i4",
    (SampleFormat.SIGNED, 32): "i4",
    (SampleFormat.UNSIGNED, 32): "u4",
    (SampleFormat.FLOAT, 32): "f4",
    (SampleFormat.FLOAT, 64): "f4",
}
# The same where each sample has its own plane. Planes behind the last one that is needed are not read.
IN_PLANES = frozenset({
    "LX", "PX", "RGB", "RGBX", "RGBXX", "RGBXXX", "RGBA", "RGBAX", "RGBAXX", "RGBa", "RGBaX", "RGBaXX",
    "CMYK", "CMYKX", "CMYKXX",
})  # fmt: skip
IN_JPEG = frozenset({"L", "RGB", "YCbCr", "CMYK"})
PREDICTED_BITS = {2: (8, 16, 32), 3: (32, 64)}  # by Predictor: differences of integers, of floats


def check_png(*, bits: int, colour_type: int, methods: tuple[int, int, int]) -> None:
    """Raises ImageError(unsupported_format), naming the variant and those that are known.

    Args:
        methods: of compression, of filters, of interlacing.
    """
    if bits not in PNG_BITS.get(colour_type, ()):
        allowed = PNG_BITS.get(colour_type, tuple(PNG_BITS))
        what = f"{bits} bits in colour type" if colour_type in PNG_BITS else "colour type"
        raise ImageError(
            Reason.UNSUPPORTED_FORMAT,
            f"PNG of {what} {colour_type}; Pictor reads {', '.join(map(str, allowed))}",
        )
    if methods[:2] != (0, 0) or methods[2] not in (0, 1):
        raise ImageError(
            Reason.UNSUPPORTED_FORMAT,
            f"PNG with methods {methods} of compression, filter and interlace; Pictor reads (0, 0, 0 or 1)",
        )

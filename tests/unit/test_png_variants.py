"""Every combination of PNG's header and its colour keys: right pixels, or a refusal that names the variant.

The files are written here and read back with libpng (through imagecodecs) to be sure of the writer.
"""

import itertools
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ImageError
from pipeline.types import Reason
from tests.image_files import decode, png_chunk, refusal
from tests.independent_readers import imagecodecs

HEIGHT, WIDTH = 12, 20
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
STANDARD = {
    *((bits, GREY) for bits in (1, 2, 4, 8, 16)),
    *((bits, PALETTE) for bits in (1, 2, 4, 8)),
    *((bits, colour) for bits in (8, 16) for colour in (RGB, GREY_ALPHA, RGB_ALPHA)),
}
# Left, top, steps across and down of the seven passes of interlacing.
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


@dataclass(frozen=True, kw_only=True)
class Png:
    bits: int
    colour: int
    key: tuple[int, ...] | None = None  # stored values, one of grey or three of RGB
    interlaced: bool = False
    key_bits_above: int = 0  # added to the key in bits that do not count


def all_pngs() -> list[Png]:
    pngs = []
    for bits, colour, interlaced in itertools.product(
        (1, 2, 3, 4, 5, 8, 12, 16, 32), range(8), (False, True)
    ):
        pngs.append(Png(bits=bits, colour=colour, interlaced=interlaced))
        if (bits, colour) not in STANDARD or colour not in (GREY, RGB):
            continue
        for values in keys(bits):
            key = values[: SAMPLES[colour]]
            pngs.append(Png(bits=bits, colour=colour, interlaced=interlaced, key=key))
            if bits < 16:
                above = 0xFFFF >> bits << bits
                pngs.append(Png(bits=bits, colour=colour, key=key, key_bits_above=above))
    return pngs


def keys(bits: int) -> list[tuple[int, int, int]]:
    """All there are of few bits; of many some that share an upper or a lower byte with their neighbours."""
    top = (1 << bits) - 1
    if bits <= 4:
        return [(value, value, value) for value in range(top + 1)]
    return [(0, 0, 0), (top, top, top), (top // 3, top // 2, top // 5), (17, 300 & top, 4000 & top)]


def numbers(png: Png) -> NDArray[Any]:
    """[H, W, S]: slopes, and the key here and there, and what differs from it in one bit."""
    top = (1 << png.bits) - 1
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    light = np.dstack([x, y, 1 - x, (x + y) / 2][: SAMPLES.get(png.colour, 1)])
    values = np.round(light * top).astype(np.int64)
    if png.key is not None:
        values[2:5, 3:7] = png.key
        values[6, 3:7] = png.key
        values[6, 3, 0] ^= 1
        values[6, 4, -1] ^= 1 << (png.bits - 1)
        values[6, 5, 0] ^= 1 << (png.bits // 2)
    return values


def write(png: Png) -> bytes:
    values = numbers(png)
    passes = PASSES if png.interlaced else [(0, 0, 1, 1)]
    rows = b"".join(
        pack(row, png.bits) for x, y, dx, dy in passes for row in values[y::dy, x::dx] if row.size
    )
    chunks = [
        png_chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, png.bits, png.colour, 0, 0, png.interlaced))
    ]
    if png.colour == PALETTE:
        chunks.append(png_chunk(b"PLTE", palette(min(png.bits, 8)).astype(np.uint8).tobytes()))
    if png.key is not None:
        key = [value + png.key_bits_above for value in png.key]
        chunks.append(png_chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))
    chunks += [png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def pack(row: NDArray[Any], bits: int) -> bytes:
    """One row, behind its filter (none)."""
    expanded = row.reshape(-1, 1) >> np.arange(bits - 1, -1, -1) & 1
    return b"\0" + np.packbits(expanded.astype(np.uint8).ravel()).tobytes()


def palette(bits: int) -> NDArray[np.int64]:
    index = np.arange(1 << bits)
    top = max(1, (1 << bits) - 1)
    return np.stack([index * 255 // top, 255 - index * 200 // top, index * 37 % 256], axis=1)


def meant(png: Png) -> NDArray[np.float64]:
    values, top = numbers(png), (1 << png.bits) - 1
    light = values / top * 255
    match png.colour:
        case 3:
            colour = palette(png.bits)[values[:, :, 0]].astype(float)
        case 4 | 6:
            alpha = light[:, :, -1:] / 255
            colour = light[:, :, :-1] * alpha + 255 * (1 - alpha)
        case _:
            colour = light
    colour = np.broadcast_to(colour, (HEIGHT, WIDTH, 3)).copy()
    if png.key is not None:
        colour[(values == png.key).all(axis=2)] = 255
    return colour


def test_each_combination_gives_right_pixels_or_is_named_as_unsupported() -> None:
    wrong, counts = [], Counter[str]()
    for png in all_pngs():
        try:
            rgb = decode(write(png)).rgb
        except ImageError as error:
            counts[error.reason] += 1
            if (png.bits, png.colour) in STANDARD or error.reason is not Reason.UNSUPPORTED_FORMAT:
                wrong.append((png, str(error)))
            continue
        counts["decoded"] += 1
        off_by = np.abs(rgb - meant(png).round()).max()
        if off_by > 2 or (png.bits, png.colour) not in STANDARD:
            wrong.append((png, f"off by {off_by:.0f}"))
    print(f"{counts.total()} combinations: {dict(counts)}")
    assert wrong == []
    assert counts["decoded"] > 150


def test_an_independent_reader_finds_the_numbers_that_were_written() -> None:
    """Or a fault of the writer could hide a fault of the decoder. libpng gives 8 or 16 bits."""
    for (bits, colour), interlaced in itertools.product(sorted(STANDARD), (False, True)):
        png = Png(bits=bits, colour=colour, interlaced=interlaced)
        found = imagecodecs.png_decode(write(png)).reshape(HEIGHT, WIDTH, -1)
        if colour == PALETTE:
            expected = palette(bits)[numbers(png)[:, :, 0]]
        else:
            expected = numbers(png) * (255 // ((1 << bits) - 1)) if bits < 8 else numbers(png)
        np.testing.assert_array_equal(found, expected, err_msg=str(png))


@pytest.mark.parametrize("methods", [(1, 0, 0), (0, 1, 0), (0, 0, 2)])
def test_methods_that_png_does_not_have_are_named(methods: tuple[int, int, int]) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 20, 8, 0, *methods))
    error = refusal(b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""))
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert str(methods) in error.detail

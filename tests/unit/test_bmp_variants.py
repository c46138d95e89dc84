"""Kinds of BMP, written here from the format's description: decoded right, or refused with words."""

import struct
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.types import Reason
from tests.image_files import decode, refusal

Rgb = NDArray[np.uint8]
Samples = NDArray[np.uint32]

WIDTH, HEIGHT = 23, 9
RAW, RLE8, RLE4, MASKS = 0, 1, 2, 3
COLOURS = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def bmp(
    rows: list[bytes], *, bits: int, header_bytes: int = 40, compression: int = RAW, top_down: bool = False,
    palette: Rgb | None = None, masks: tuple[int, ...] = (), colours_used: int = 0, gap: int = 0,
) -> bytes:  # fmt: skip
    """`rows` from the top, not padded; or one run-length stream."""
    if compression in (RLE8, RLE4):
        pixels = rows[0]
    else:
        padded = [row.ljust(-(-len(row) // 4) * 4, b"\0") for row in rows]
        pixels = b"".join(padded if top_down else padded[::-1])
    if header_bytes == 12:
        header = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
    else:
        header = struct.pack(
            "<IiiHHIIiiII", header_bytes, WIDTH, -HEIGHT if top_down else HEIGHT, 1, bits, compression,
            len(pixels), 2835, 2835, colours_used, 0,
        )  # fmt: skip
        packed = struct.pack(f"<{len(masks)}I", *masks)
        header = (header + packed).ljust(header_bytes, b"\0")
    if palette is not None:
        bgr = palette[:, ::-1]
        header += (bgr if header_bytes == 12 else np.pad(bgr, ((0, 0), (0, 1)))).astype(np.uint8).tobytes()
    start = 14 + len(header) + gap
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + bytes(gap) + pixels


def indices(bits: int, colours: int) -> NDArray[np.uint8]:
    return np.random.default_rng(bits).integers(0, min(colours, 1 << bits), (HEIGHT, WIDTH), np.uint8)


def pack(values: NDArray[np.uint8], bits: int) -> list[bytes]:
    rows = []
    for row in values:
        text = "".join(format(value, f"0{bits}b") for value in row)
        text = text.ljust(-(-len(text) // 8) * 8, "0")
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return rows


PALETTES = list(product((1, 4, 8), (12, 40, 64, 108, 124), (False, True), ("full", "short"), (0, 6)))


def test_palettes_of_every_depth_and_header() -> None:
    wrong = []
    for bits, header_bytes, top_down, length, gap in PALETTES:
        if header_bytes == 12 and (top_down or length == "short"):
            continue  # that header has no sign and no number of colours
        colours = 1 << bits if length == "full" else max(2, (1 << bits) * 3 // 4)
        palette = np.random.default_rng(5).integers(0, 256, (colours, 3), np.uint8)
        values = indices(bits, colours)
        body = bmp(
            pack(values, bits), bits=bits, header_bytes=header_bytes, top_down=top_down, palette=palette,
            colours_used=0 if length == "full" else colours, gap=gap,
        )  # fmt: skip
        if not np.array_equal(decode(body).rgb, palette[values]):
            wrong.append((bits, header_bytes, top_down, length, gap))
    assert wrong == []


LAYOUTS: dict[tuple[int, tuple[int, int, int]], str] = {
    (16, (0xF800, 0x7E0, 0x1F)): "565",
    (16, (0x7C00, 0x3E0, 0x1F)): "555",
    (24, (0xFF0000, 0xFF00, 0xFF)): "BGR",
    (32, (0xFF0000, 0xFF00, 0xFF)): "BGRX",
    (32, (0xFF000000, 0xFF0000, 0xFF00)): "XBGR",
    (32, (0xFF000000, 0xFF00, 0xFF)): "BGXR",
}


def spread(samples: Rgb, mask: int) -> Samples:
    low = (mask & -mask).bit_length() - 1
    depth = mask.bit_count()
    return ((samples.astype(np.uint32) >> (8 - depth)) << low).astype(np.uint32)


def as_stored(masks: tuple[int, ...], *samples: Rgb) -> Samples:
    stored = np.zeros((HEIGHT, WIDTH), np.uint32)
    for plane, mask in zip(samples, masks, strict=True):
        stored |= spread(plane, mask)
    return stored


def widened(samples: Rgb, mask: int) -> NDArray[np.float64]:
    depth = mask.bit_count()
    return (samples >> (8 - depth)).astype(np.float64) * (255 / ((1 << depth) - 1))


def rows_of(values: Samples, bits: int) -> list[bytes]:
    wide = values.astype("<u4").view(np.uint8).reshape(HEIGHT, WIDTH, 4)
    return [row.tobytes() for row in wide[:, :, : bits // 8]]


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("header_bytes", [40, 52, 56, 108, 124])
@pytest.mark.parametrize(("bits", "masks"), LAYOUTS, ids=LAYOUTS.values())
def test_masks_of_colours(bits: int, masks: tuple[int, int, int], header_bytes: int, top_down: bool) -> None:
    planes = [COLOURS[..., n] for n in range(3)]
    stored = as_stored(masks, *planes)
    body = bmp(
        rows_of(stored, bits), bits=bits, header_bytes=header_bytes, compression=MASKS, top_down=top_down,
        masks=masks, gap=12 if header_bytes == 40 else 0,
    )  # fmt: skip
    if header_bytes == 40:  # the masks stand behind this header
        body = body[:54] + struct.pack("<3I", *masks) + body[66:]
    expected = np.dstack([widened(plane, mask) for plane, mask in zip(planes, masks, strict=True)])
    assert np.abs(decode(body).rgb - expected).max() <= 1


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("header_bytes", [40, 108, 124])
@pytest.mark.parametrize("unused", [0, 0x7F, 0xFF])
def test_plain_colours_have_no_alpha(bits: int, header_bytes: int, unused: int) -> None:
    masks = (0x7C00, 0x3E0, 0x1F) if bits == 16 else (0xFF0000, 0xFF00, 0xFF)
    planes = [COLOURS[..., n] for n in range(3)]
    stored = as_stored(masks, *planes)
    if bits == 32:
        stored |= np.uint32(unused << 24)
    body = bmp(rows_of(stored, bits), bits=bits, header_bytes=header_bytes)
    expected = np.dstack([widened(plane, mask) for plane, mask in zip(planes, masks, strict=True)])
    assert np.abs(decode(body).rgb - expected).max() <= 1


ALPHAS = {
    "zero": lambda x: x * 0,
    "full": lambda x: x * 0 + 255,
    "half": lambda x: (x % 2) * 255,
    "one pixel": lambda x: (x == WIDTH - 1) * 255,
}


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("header_bytes", [56, 108, 124])
@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize(
    "masks", [(0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF, 0xFF00, 0xFF0000, 0xFF000000)]
)
def test_alpha_counts_unless_it_is_zero_everywhere(
    alpha: str, header_bytes: int, top_down: bool, masks: tuple[int, ...]
) -> None:
    opacity = ALPHAS[alpha](np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1)))
    opacity[:-1] = 0 if alpha == "one pixel" else opacity[:-1]
    stored = as_stored(masks, *(COLOURS[..., n] for n in range(3)), opacity.astype(np.uint8))
    body = bmp(
        rows_of(stored, 32), bits=32, header_bytes=header_bytes, compression=MASKS, masks=masks,
        top_down=top_down,
    )  # fmt: skip
    expected = COLOURS if alpha == "zero" else np.where(opacity[..., None] == 255, COLOURS, 255)
    np.testing.assert_array_equal(decode(body).rgb, expected)


def run_lengths(values: NDArray[np.uint8], bits: int, kind: str) -> bytes:
    """Rows from the bottom, as pairs of count and value, or as literal runs padded to two bytes."""
    stream = b""
    for row in values[::-1]:
        if kind == "literal":
            nibbles = (
                row if bits == 8 else np.append(row, 0)[: len(row) + len(row) % 2].reshape(-1, 2) @ [16, 1]
            )
            run = bytes(int(value) for value in nibbles)
            stream += bytes([0, len(row)]) + run + b"\0" * (len(run) % 2) + b"\0\0"
        else:
            stream += b"".join(bytes([1, value if bits == 8 else value << 4]) for value in row) + b"\0\0"
    return stream + b"\0\1"


@pytest.mark.parametrize("kind", ["literal", "pairs"])
@pytest.mark.parametrize(("bits", "compression"), [(8, RLE8), (4, RLE4)])
@pytest.mark.parametrize("header_bytes", [40, 64, 124])
def test_run_lengths(bits: int, compression: int, kind: str, header_bytes: int) -> None:
    palette = np.random.default_rng(5).integers(0, 256, (1 << bits, 3), np.uint8)
    values = indices(bits, 1 << bits)
    body = bmp(
        [run_lengths(values, bits, kind)], bits=bits, compression=compression, palette=palette,
        header_bytes=header_bytes,
    )  # fmt: skip
    np.testing.assert_array_equal(decode(body).rgb, palette[values])


PIXELS = rows_of(np.zeros((HEIGHT, WIDTH), np.uint32), 32)


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"bits": 2}, "a BMP of 2 bits a pixel and compression 0"),
        ({"bits": 64}, "a BMP of 64 bits a pixel and compression 0"),
        ({"bits": 0, "compression": 4}, "a BMP with JPEG inside"),
        ({"bits": 0, "compression": 5}, "a BMP with PNG inside"),
        ({"bits": 32, "compression": 6}, "a BMP with masks with alpha"),
        ({"bits": 32, "compression": 11}, "a BMP with CMYK"),
        ({"bits": 1, "compression": 3, "header_bytes": 64}, "a BMP with Huffman codes"),
        ({"bits": 24, "compression": 4, "header_bytes": 64}, "a BMP with run lengths of 24 bits"),
        ({"bits": 24, "header_bytes": 48}, "a BMP with a header of 48 bytes"),
        (
            {"bits": 16, "compression": MASKS, "header_bytes": 56, "masks": (0xF00, 0xF0, 0xF, 0xF000)},
            "a BMP with the masks f00, f0, f, f000",
        ),
        (
            {"bits": 32, "compression": MASKS, "header_bytes": 108, "masks": (0x3FF, 0xFFC00, 0x3FF00000, 0)},
            "a BMP with the masks 3ff, ffc00, 3ff00000, 0",
        ),
    ],
)
def test_a_kind_of_bmp_that_is_not_decoded_is_not_called_damaged(
    options: dict[str, int | tuple[int, ...]], detail: str
) -> None:
    error = refusal(bmp(PIXELS, **options))  # type: ignore[arg-type]
    assert (error.reason, error.detail) == (Reason.UNSUPPORTED_FORMAT, detail)

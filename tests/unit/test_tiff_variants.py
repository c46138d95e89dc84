"""Every combination of TIFF's tags: right pixels, or a refusal that names the variant. Nothing between.

The files are written here, read back by tifffile to be sure of the writer, and shown by Pictor within 2 of
what the numbers mean by the TIFF standard.
"""

import io
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ImageError
from pipeline.image.decode import decode_image
from pipeline.ports import ImageLimits
from pipeline.types import Reason
from tests.independent_readers import tifffile
from tests.tiff_writer import TiffFile, write_tiff

# 1 tries all combinations, in minutes. A prime, so that each value of each tag meets each of the others.
STRIDE = int(os.environ.get("PICTOR_TEST_VARIANT_STRIDE", "97"))
HEIGHT, WIDTH = 20, 40  # three tiles across and two down, of which some hang over
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, LAB = 0, 1, 2, 3, 4, 5, 6, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
CHANNELS = {RGB: 3, CMYK: 4, YCBCR: 3, LAB: 3}


@dataclass(frozen=True, kw_only=True)
class Kind:
    photometric: int
    bits: int
    sample_format: int = UNSIGNED
    extra: tuple[int, ...] = ()


def all_kinds() -> Iterator[Kind]:
    for photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        for bits in (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64):
            yield Kind(photometric=photometric, bits=bits)
        for bits in (8, 16, 32, 64):
            yield Kind(photometric=photometric, bits=bits, sample_format=SIGNED)
        for bits in (16, 32, 64):
            yield Kind(photometric=photometric, bits=bits, sample_format=FLOAT)
    for photometric, extra in itertools.product(
        (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK), ((0,), (1,), (2,), (0, 0), (1, 0), (2, 0), (0, 2))
    ):
        for bits in (8, 16):
            yield Kind(photometric=photometric, bits=bits, extra=extra)
    for photometric in (RGB, CMYK, LAB, 9, 10):
        for bits in (8, 12, 16, 32):
            yield Kind(photometric=photometric, bits=bits)
    yield Kind(photometric=RGB, bits=8, extra=(0, 0, 0))
    yield Kind(photometric=RGB, bits=32, sample_format=FLOAT)
    yield Kind(photometric=RGB, bits=8, sample_format=SIGNED)
    yield from (Kind(photometric=PALETTE, bits=bits) for bits in (1, 2, 4, 8, 16))
    yield from (Kind(photometric=YCBCR, bits=bits) for bits in (8, 16))
    yield from (
        Kind(photometric=photometric, bits=bits) for photometric in (MASK, 32844, 32845) for bits in (1, 8)
    )


LAYOUTS: list[dict[str, Any]] = [{}, {"rows_per_strip": 7}, {"tile_px": 16}]
COMPRESSIONS = [
    {"compression": compression, "predictor": predictor}
    for compression in (1, 5, 8, 32773, 32946, 34925, 50000)
    for predictor in ((1,) if compression in (1, 32773) else (1, 2, 3))
]
STORAGE = [
    {"planar": planar, "fill_order": fill_order, "order": order, "big": big}
    for planar, fill_order, order, big in itertools.product((False, True), (1, 2), "<>", (False, True))
]
# What a picture from a scanner, a camera or a program of research is likely to be: refusing it is no answer.
EVERYDAY = {
    *(
        Kind(photometric=photometric, bits=bits)
        for photometric in (0, 1)
        for bits in (1, 2, 4, 8, 12, 16, 32)
    ),
    *(Kind(photometric=photometric, bits=bits) for photometric in (RGB, CMYK) for bits in (8, 16)),
    *(Kind(photometric=RGB, bits=bits, extra=(extra,)) for bits in (8, 16) for extra in (0, 1, 2)),
    *(Kind(photometric=PALETTE, bits=bits) for bits in (1, 2, 4, 8)),
    *(Kind(photometric=1, bits=bits, sample_format=SIGNED) for bits in (8, 16, 32)),
    *(Kind(photometric=1, bits=bits, sample_format=FLOAT) for bits in (32, 64)),
    *(Kind(photometric=1, bits=8, extra=(extra,)) for extra in (0, 1, 2)),
    Kind(photometric=YCBCR, bits=8),
    Kind(photometric=LAB, bits=8),
}


def channels(kind: Kind) -> int:
    return CHANNELS.get(kind.photometric, 1)


def make_samples(kind: Kind) -> NDArray[Any]:
    """[H, W, S] in 0..1: another slope in each sample, so that no two can be taken for each other."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    slopes = [x, y, 1 - x, x * y, 1 - y, (x + y) / 2, x * (1 - y)]
    light = np.dstack(slopes[: channels(kind) + len(kind.extra)])
    if kind.extra[:1] == (1,):  # no colour is over its alpha
        alpha = light[:, :, channels(kind)]
        light[:, :, : channels(kind)] *= alpha[:, :, None]
    return light


def to_numbers(kind: Kind, light: NDArray[Any]) -> NDArray[Any]:
    match kind.sample_format:
        case 3:
            numbers = light * 200 - 100
            dtype = f"f{kind.bits // 8}"
        case 2:
            top = 2 ** (kind.bits - 1) - 1
            numbers = np.clip(np.round((light * 2 - 1) * top), -top, top * (1 - 1e-16))
            dtype = f"i{kind.bits // 8}"
        case _:
            top = 2**kind.bits - 1
            numbers = np.round(light * top) if kind.bits < 64 else light * 2.0**63
            dtype = "u8"
    stored: NDArray[Any] = numbers.astype(dtype)
    return stored


def colour_map(bits: int) -> NDArray[np.int64]:
    """[2**bits, 3], of 16 bits."""
    index = np.arange(2**bits)
    red, green, blue = index * 65535 // (2**bits - 1), 65535 - index * 40000 // 2**bits, index * 777 % 65536
    return np.stack([red, green, blue], axis=1)


def meant(kind: Kind, numbers: NDArray[Any]) -> NDArray[np.float64]:
    """[H, W, 3] in 0..255, by the standard."""
    values = numbers.astype(np.float64)
    count = channels(kind)
    if kind.photometric == PALETTE:
        colour = colour_map(kind.bits)[numbers[:, :, 0].astype(int)] / 257
    elif kind.sample_format != UNSIGNED or kind.bits >= 32:  # no agreed range
        low, high = values[:, :, :count].min(), values[:, :, :count].max()
        colour = (values[:, :, :count] - low) / (high - low) * 255
    else:
        colour = values[:, :, :count] / (2**kind.bits - 1) * 255
    colour = to_rgb(kind.photometric, colour)
    if kind.extra[:1] in ((1,), (2,)):
        alpha = values[:, :, count : count + 1] / (2**kind.bits - 1)
        opaque = colour if kind.extra[0] == 1 else colour * alpha
        colour = opaque + 255 * (1 - alpha)
    return np.broadcast_to(colour, (*colour.shape[:2], 3))


def to_rgb(photometric: int, colour: NDArray[np.float64]) -> NDArray[np.float64]:
    match photometric:
        case 0:
            return 255 - colour
        case 5:
            return (255 - colour[:, :, :3]) * (255 - colour[:, :, 3:]) / 255
        case 6:
            luma, blue, red = (colour[:, :, n] - (128 if n else 0) for n in range(3))
            green = luma - 0.344136 * blue - 0.714136 * red
            return np.clip(np.dstack([luma + 1.402 * red, green, luma + 1.772 * blue]), 0, 255)
        case 8:
            return lab_to_rgb(colour)
        case _:
            return colour


def lab_to_rgb(stored: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB of D50, as 8 bits with signed a and b, to sRGB."""
    signed = np.where(stored[:, :, 1:] >= 128, stored[:, :, 1:] - 256, stored[:, :, 1:])
    fy = (stored[:, :, 0] * 100 / 255 + 16) / 116
    f = np.dstack([fy + signed[:, :, 0] / 500, fy, fy - signed[:, :, 1] / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.9642, 1, 0.8249)
    from_d50 = np.array(
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    linear = np.clip(xyz @ from_d50.T, 0, 1)
    light: NDArray[np.float64] = np.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return light * 255


def make(kind: Kind, **storage: Any) -> tuple[TiffFile, NDArray[Any]]:
    numbers = to_numbers(kind, make_samples(kind))
    if (
        kind.photometric == LAB
    ):  # mild colours: what sRGB cannot show is cut off by each program in its own way
        a_b = np.round((make_samples(kind)[:, :, 1:3] - 0.5) * 40).astype(int) % 2**kind.bits
        numbers[:, :, 0], numbers[:, :, 1:] = numbers[:, :, 0] // 2 + 2**kind.bits // 4, a_b
    more: dict[int, tuple[str, tuple[int, ...]]] = {}
    if kind.photometric == PALETTE:
        more[320] = ("H", tuple(map(int, colour_map(kind.bits).T.ravel())))
    if kind.photometric == YCBCR:
        more[530] = ("H", (1, 1))
    file = TiffFile(
        samples=numbers,
        bits=kind.bits,
        photometric=kind.photometric,
        sample_format=kind.sample_format,
        extra=kind.extra,
        more=more,
        **storage,
    )
    return file, numbers


def is_possible(kind: Kind, storage: dict[str, Any]) -> bool:
    """What this writer can write: predictors work on whole bytes."""
    if storage["predictor"] == 2:
        return kind.bits in (8, 16, 32, 64) and kind.sample_format != FLOAT
    if storage["predictor"] == 3:
        return kind.sample_format == FLOAT and channels(kind) == 1
    return True


def every_combination() -> list[tuple[Kind, dict[str, Any]]]:
    return [
        (kind, {**compression, **layout, **storage})
        for kind, compression, layout, storage in itertools.product(
            all_kinds(), COMPRESSIONS, LAYOUTS, STORAGE
        )
        if is_possible(kind, compression)
    ]


def show(body: bytes) -> NDArray[np.uint8] | ImageError:
    try:
        return decode_image(body, limits=ImageLimits(), target_px=256).rgb
    except ImageError as error:
        return error


def test_each_combination_gives_right_pixels_or_is_named_as_unsupported() -> None:
    wrong, counts, decoded_kinds = [], Counter[str](), set()
    for kind, storage in every_combination()[::STRIDE]:
        file, numbers = make(kind, **storage)
        result = show(write_tiff(file))
        if isinstance(result, ImageError):
            counts[result.reason] += 1
            if result.reason is not Reason.UNSUPPORTED_FORMAT:
                wrong.append((kind, storage, str(result)))
            continue
        counts["decoded"] += 1
        decoded_kinds.add(kind)
        off_by = np.abs(result - meant(kind, numbers).round()).max()
        if off_by > 2:
            wrong.append((kind, storage, f"off by {off_by:.0f}"))
    print(f"{counts.total()} of {len(every_combination())} combinations: {dict(counts)}")
    assert wrong == []
    assert counts["decoded"] > 0.3 * counts.total()
    assert decoded_kinds >= EVERYDAY


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_independent_reader_finds_the_numbers_that_were_written(order: str, planar: bool) -> None:
    """Or a fault of the writer could hide a fault of the decoder."""
    read = 0
    every = itertools.product(sorted(EVERYDAY, key=str), COMPRESSIONS, LAYOUTS)
    for kind, compression, layout in itertools.islice(every, 0, None, 5):
        if not is_possible(kind, compression) or (kind.bits % 8 and planar):
            continue
        file, numbers = make(kind, planar=planar, order=order, **compression, **layout)
        found = tifffile.imread(io.BytesIO(write_tiff(file)))
        if planar and found.ndim == 3:
            found = found.transpose(1, 2, 0)
        np.testing.assert_array_equal(found.reshape(numbers.shape), numbers, err_msg=str((kind, compression)))
        read += 1
    assert read > 180

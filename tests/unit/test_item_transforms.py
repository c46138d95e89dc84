"""Clean aperture, turn and mirror of AVIF, in every combination, in items and in sequences."""

import struct
from itertools import permutations, product

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.image.decode.item_transforms import read_transforms
from pipeline.image.decode.work import Work
from pipeline.types import Reason
from tests.image_files import decode, encode, refusal

Rgb = NDArray[np.uint8]
WIDTH, HEIGHT = 64, 48


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def clap(width: int, height: int, right_by: int = 0, down_by: int = 0) -> bytes:
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, right_by, 1, down_by, 1))


def irot(quarters: int) -> bytes:
    return box(b"irot", bytes([quarters]))


def imir(axis: int) -> bytes:
    return box(b"imir", bytes([axis]))


def with_properties(avif: bytes, added: list[bytes], *, wide: bool = False) -> bytes:
    """The same file with properties of its first item, behind those that are there."""
    ipco_at, ipma_at, iloc_at = avif.index(b"ipco") - 4, avif.index(b"ipma") - 4, avif.index(b"iloc") - 4
    ipco_end = ipco_at + int.from_bytes(avif[ipco_at : ipco_at + 4], "big")
    ipma_end = ipma_at + int.from_bytes(avif[ipma_at : ipma_at + 4], "big")
    there = list(boxes(avif[ipco_at + 8 : ipco_end]))
    assert avif[ipma_at + 11] & 1 == 0
    assert avif[ipma_at + 12 : ipma_at + 16] == b"\0\0\0\1"
    count = avif[ipma_at + 18]
    numbers = [*avif[ipma_at + 19 : ipma_at + 19 + count]]
    numbers += [0x80 | (len(there) + n + 1) for n in range(len(added))]
    if wide:
        places = b"".join(struct.pack(">H", (n & 0x80) << 8 | n & 0x7F) for n in numbers)
    else:
        places = bytes(numbers)
    ipma = box(
        b"ipma",
        bytes([0, 0, 0, wide])
        + b"\0\0\0\1"
        + avif[ipma_at + 16 : ipma_at + 18]
        + bytes([len(numbers)])
        + places,
    )
    ipco = box(b"ipco", avif[ipco_at + 8 : ipco_end] + b"".join(added))
    iprp = box(b"iprp", ipco + ipma)
    grown = len(iprp) - (ipma_end - ipco_at + 8)
    body = avif[: ipco_at - 8] + iprp + avif[ipma_end:]
    meta_at = body.index(b"meta") - 4
    meta_bytes = int.from_bytes(body[meta_at : meta_at + 4], "big") + grown
    body = body[:meta_at] + struct.pack(">I", meta_bytes) + body[meta_at + 4 :]
    # The one extent of the one item lies behind: its offset, the first number of four bytes, moves.
    assert body[iloc_at + 12 : iloc_at + 13] == b"\x44"
    at = iloc_at + 8 + 4 + 2 + 2 + 2 + 2 + 2
    (offset,) = struct.unpack_from(">I", body, at)
    return body[:at] + struct.pack(">I", offset + grown) + body[at + 4 :]


def boxes(content: bytes) -> list[bytes]:
    found = []
    while content:
        size = int.from_bytes(content[:4], "big")
        found.append(content[:size])
        content = content[size:]
    return found


def picture() -> Rgb:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.dstack([x * 4, y * 5, (x > 20) * 200]).astype(np.uint8)


AVIF = encode(picture(), "AVIF", quality=100, subsampling="4:4:4")
STORED = decode(AVIF).rgb  # what the codec keeps of it

CUTS: list[tuple[int, int, int, int] | None] = [
    None, (64, 48, 0, 0), (32, 24, 0, 0), (32, 24, -16, -12), (32, 24, 16, 12), (10, 40, 5, -3), (1, 1, 0, 0),
]  # fmt: skip
COMBINATIONS = list(product(CUTS, (None, 0, 1, 2, 3), (None, 0, 1), (False, True)))


def cut(rgb: Rgb, width: int, height: int, right_by: int, down_by: int) -> Rgb:
    left = round((rgb.shape[1] - width) / 2 + right_by)
    top = round((rgb.shape[0] - height) / 2 + down_by)
    return rgb[top : top + height, left : left + width]


def test_every_combination_in_the_standard_s_order() -> None:
    wrong = []
    for aperture, quarters, axis, wide in COMBINATIONS:
        added, expected = [], STORED
        if aperture is not None:
            added.append(clap(*aperture))
            expected = cut(expected, *aperture)
        if quarters is not None:
            added.append(irot(quarters))
            expected = np.rot90(expected, quarters)
        if axis is not None:
            added.append(imir(axis))
            expected = np.flip(expected, axis)  # 0 exchanges top and bottom
        decoded = decode(with_properties(AVIF, added, wide=wide), min_side_px=1)
        assert (decoded.width, decoded.height) == decoded.rgb.shape[1::-1]
        if decoded.rgb.shape != expected.shape or not np.array_equal(decoded.rgb, expected):
            wrong.append((aperture, quarters, axis, wide))
    print(f"{len(COMBINATIONS)} combinations")
    assert wrong == []


@pytest.mark.parametrize("order", list(permutations(("clap", "irot", "imir"))))
@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_order_is_the_file_s(order: tuple[str, ...], quarters: int, axis: int) -> None:
    steps = {"clap": clap(20, 16, -4, 6), "irot": irot(quarters), "imir": imir(axis)}
    expected = STORED
    for step in order:
        match step:
            case "clap":
                expected = cut(expected, 20, 16, -4, 6)
            case "irot":
                expected = np.rot90(expected, quarters)
            case "imir":
                expected = np.flip(expected, axis)
    decoded = decode(with_properties(AVIF, [steps[step] for step in order]))
    np.testing.assert_array_equal(decoded.rgb, expected)


@pytest.mark.parametrize(
    "aperture",
    [
        clap(65, 48),
        clap(32, 24, 40, 0),
        clap(0, 24),
        box(b"clap", bytes(32)),
        box(b"clap", b"\xff\xff\xff\xff\0\0\0\1" * 4),
    ],
    ids=["wider", "outside", "empty", "divided by zero", "absurd"],
)
def test_an_aperture_that_makes_no_sense_is_left_out(aperture: bytes) -> None:
    np.testing.assert_array_equal(decode(with_properties(AVIF, [aperture])).rgb, STORED)


def test_the_aperture_of_a_large_picture_is_cut_before_it_is_reduced() -> None:
    rgb = np.zeros((1200, 1600, 3), np.uint8)
    rgb[300:900, 400:1200] = (200, 40, 90)
    body = with_properties(encode(rgb, "AVIF", quality=95), [clap(800, 600)])
    decoded = decode(body, target_px=50)
    assert (decoded.width, decoded.height) == (800, 600)
    assert decoded.rgb.shape == (200, 266, 3)
    assert np.abs(decoded.rgb[4:-4, 4:-4].astype(int) - (200, 40, 90)).max() <= 6


def test_limits_are_of_the_part_that_is_shown() -> None:
    assert decode(with_properties(AVIF, [clap(8, 8)]), min_side_px=8).width == 8


def test_a_sequence_has_its_properties_in_its_track() -> None:
    frames = [Image.fromarray(picture()), Image.new("RGB", (WIDTH, HEIGHT))]
    body = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert body[8:12] == b"avis"
    assert read_transforms(body, (WIDTH, HEIGHT), Work(len(body))).window is None
    entry = body.index(b"av01", body.index(b"stsd")) - 4
    grown = body[:entry] + struct.pack(">I", int.from_bytes(body[entry : entry + 4], "big") + 40)
    end = entry + int.from_bytes(body[entry : entry + 4], "big")
    grown += body[entry + 4 : end] + clap(32, 24) + body[end:]
    for kind in (b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        at = grown.index(kind) - 4
        grown = (
            grown[:at] + struct.pack(">I", int.from_bytes(grown[at : at + 4], "big") + 40) + grown[at + 4 :]
        )
    assert read_transforms(grown, (WIDTH, HEIGHT), Work(len(grown))).window == (16, 12, 48, 36)


def test_directories_that_end_anywhere_raise_nothing() -> None:
    body = with_properties(AVIF, [clap(32, 24), irot(1), imir(0)])
    for end in range(body.index(b"mdat")):
        read_transforms(body[:end], (WIDTH, HEIGHT), Work(end))


@pytest.mark.parametrize("kind", [b"av02", b"iovl", b"j2k1"])
def test_a_picture_of_another_kind_is_unsupported_and_not_damaged(kind: bytes) -> None:
    other = AVIF.replace(b"\0\0av01", b"\0\0" + kind)
    assert other != AVIF
    error = refusal(other)
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert error.detail == f"an AVIF whose picture is of the kind {kind.decode()!r}"

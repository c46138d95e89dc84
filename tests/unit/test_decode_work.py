"""Reading a file takes no more steps than its size allows, whatever it says.

Steps are lines of Python that run, here and in Pillow: a count, which no machine changes.
"""

import sys
import zlib
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest
from PIL import Image

from pipeline.errors import ImageError
from pipeline.image.decode.av1_frame import largest_frame_px
from pipeline.image.decode.jpeg_header import read_jpeg_header
from pipeline.image.decode.orientation import find_orientation
from pipeline.image.decode.png_header import MAX_TEXT_BYTES, MAX_TEXTS, read_png_header
from pipeline.image.decode.signatures import identify
from pipeline.image.decode.work import MAX_STEPS, Work
from pipeline.types import Reason
from tests import icc_profiles as icc
from tests import long_files
from tests.image_files import decode, encode, png_chunk
from tests.long_files import FOLDED, STEADY

SMALL, LARGE = 50, 400
# Lines for a whole picture, and for each byte of its file. A step of `Work` is some twenty lines, and pays
# for two bytes at least.
FREE_LINES, LINES_PER_BYTE = 30_000, 12


def count_lines(do: Callable[[], object]) -> int:
    """Lines that run in Pictor's decoder and in Pillow."""
    lines = 0

    def follow(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return follow

    def enter(frame: FrameType, _event: str, _: object) -> Any:
        name = frame.f_code.co_filename
        return follow if "/pipeline/image/" in name or "/PIL/" in name else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        do()
    finally:
        sys.settrace(before)
    return lines


def read(body: bytes) -> ImageError | None:
    try:
        decode(body)
    except ImageError as error:
        return error
    return None


@pytest.fixture(scope="module", autouse=True)
def _modules_are_loaded() -> None:
    """What is done once in a process is no work of a file."""
    for format_name in ("AVIF", "JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        read(encode(long_files.picture(), format_name))


@pytest.mark.parametrize("name", STEADY)
def test_the_steps_grow_no_faster_than_the_file(name: str) -> None:
    bodies = [STEADY[name](n) for n in (SMALL, LARGE)]
    small, large = (count_lines(partial(read, body)) for body in bodies)
    growth = len(bodies[1]) / len(bodies[0])
    assert large <= small * max(growth, LARGE / SMALL)
    assert large <= FREE_LINES + LINES_PER_BYTE * len(bodies[1])


@pytest.mark.parametrize("name", STEADY)
def test_a_long_file_is_not_refused_for_its_length(name: str) -> None:
    error = read(STEADY[name](LARGE))
    assert error is None or "structure" not in error.detail


@pytest.mark.parametrize("name", FOLDED)
def test_a_file_that_says_the_same_bytes_again_and_again_is_refused_early(name: str) -> None:
    body = FOLDED[name](LARGE)
    found: list[ImageError | None] = []
    lines = count_lines(lambda: found.append(read(body)))
    assert found[0] is not None
    assert found[0].reason is Reason.DECODE_ERROR
    assert found[0].detail != "the decoder gave up on damaged data"
    assert lines <= FREE_LINES + LINES_PER_BYTE * len(body)


def test_the_words_name_what_was_allowed_and_what_was_there() -> None:
    body = FOLDED["avif: items that share their units"](LARGE)
    error = read(body)
    assert error is not None
    steps = Work(len(body)).max_steps
    assert error.detail == f"a structure that takes over {steps} steps to read, in {len(body)} bytes"


def test_no_file_is_allowed_more_steps_than_a_tenth_of_a_second_takes() -> None:
    assert Work(0).max_steps < Work(10_000).max_steps < Work(10**8).max_steps == MAX_STEPS
    work = Work(10**8)
    work.step(MAX_STEPS)
    with pytest.raises(ImageError):
        work.step()


def test_bytes_that_are_unpacked_are_paid_for() -> None:
    work = Work(100)
    work.read(work.max_bytes)
    with pytest.raises(ImageError) as caught:
        work.read(1)
    assert caught.value.reason is Reason.DECODE_ERROR
    assert caught.value.detail.endswith("bytes to read, in 100 bytes")


def test_texts_of_a_png_are_unpacked_only_so_often() -> None:
    """None of them is EXIF, and each could inflate to a megabyte."""
    text = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(2000)))
    for count in (MAX_TEXTS, 10 * MAX_TEXTS):
        body = long_files.png_with(text * count)
        work = Work(len(body))
        header = read_png_header(body, work)
        assert header.exif is None
        assert work.bytes_read <= MAX_TEXTS * (MAX_TEXT_BYTES + len(text))
        assert read(body) is None


def test_scans_that_name_too_many_components_cost_no_more_than_others() -> None:
    few, many = (long_files.jpeg_with(after=long_files.scan_of(n) * 50) for n in (1, 255))
    lines = [count_lines(partial(read, body)) for body in (few, many)]
    assert lines[1] <= 1.5 * lines[0]


@pytest.mark.parametrize(("scans", "is_refused"), [(50, False), (60, True)])
def test_scans_within_the_strips_of_a_tiff_are_counted_before_they_are_decoded(
    scans: int, is_refused: bool
) -> None:
    """36 Mpx in one strip, of marks that look like scans and hold none."""
    sides: dict[str, Any] = {f"t{tag}": ("I", (6000,)) for tag in (256, 257, 278)}
    error = read(long_files.tiff([b"\xff\xda" * scans], t259=("H", (7,)), **sides))
    assert error is not None
    words = f"{scans} scans of strips or tiles of 36000000 px are over 2000000000 px to read"
    assert (error.detail == words) is is_refused


def test_a_picture_without_its_end_is_decoded_twice_and_may_have_half_as_many_scans() -> None:
    plain = encode(Image.new("RGB", (2000, 2000)), "JPEG", progressive=True)
    body = plain[:-2] + plain[plain.rindex(b"\xff\xda") : -2] * 300
    assert read_jpeg_header(body + b"\xff\xd9", Work(len(body))).has_end_marker
    with pytest.raises(ImageError) as caught:
        read_jpeg_header(body, Work(len(body)))
    assert caught.value.detail.startswith("310 scans of 2000x2000 are over ")


HEADS = (
    b"P1",
    b"P6 #",
    b"P6\n1",
    b"<",
    b"<?xml ",
    b"<!--",
    b"<!-->",
    b"<!DOCTYPE svg ",
    b"<!DOCTYPE svg>",
    b"#?",
)
FILLINGS = (b" ", b"\n", b"#\n", b"1 ", b"<!-->", b"<!-- -->", b">", b"<!DOCTYPE svg>", b"-", b"\t\r")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("filling", FILLINGS)
def test_no_signature_is_searched_for_ever(head: bytes, filling: bytes) -> None:
    """A pattern that can match the same bytes in two ways would not come back."""
    identify(head + filling * (2000 // len(filling)) + b"\1")


@pytest.mark.parametrize(
    "filling", [b" " * 50_000, b"tiff:Orientation = ", b"tiff:Orientation" + b" " * 1000]
)
def test_no_orientation_is_searched_for_ever(filling: bytes) -> None:
    xmp = b"tiff:Orientation" + filling * (200_000 // len(filling)) + b"x"
    assert find_orientation(None, xmp) == 1


def sequence_header(width: int, height: int) -> bytes:
    """A unit of AV1: the shortest form of the header that tells a frame's size."""
    bits = (
        "000" + "1" + "1" + "00000" + "1111" + "1111" + format(width - 1, "016b") + format(height - 1, "016b")
    )
    content = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return bytes([1 << 3 | 2, len(content)]) + content


@pytest.mark.parametrize("count", [1, 2])
def test_the_frame_of_a_track_with_one_chunk_is_found(count: int) -> None:
    body = long_files.tracks(count, sequence_header(20_000, 16_000))
    assert largest_frame_px(body, Work(len(body))) == 320_000_000


def test_frames_of_later_pictures_of_a_sequence_do_not_count() -> None:
    first, later = long_files.av1_units(3, kind=6), long_files.av1_units(200, kind=6)
    body = long_files.tracks(1, first).replace(first, first + later)
    assert largest_frame_px(body, Work(len(body))) == 0


def test_a_narrow_picture_is_not_converted_row_by_row() -> None:
    profile = icc.of_colours(icc.ADOBE)
    wide, tall = (
        encode(Image.new("RGB", size, (10, 200, 30)), "PNG", icc_profile=profile)
        for size in ((4000, 8), (8, 4000))
    )
    lines = [count_lines(partial(decode, body, target_px=8)) for body in (wide, tall)]
    assert lines[1] <= lines[0] + 100

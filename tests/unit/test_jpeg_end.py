"""Where the picture of a JPEG ends: without its marker, cut short, or with something behind it."""

import io
import struct
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.image.decode.jpeg_header import JpegHeader, read_jpeg_header
from pipeline.image.decode.work import Work
from pipeline.types import Reason
from tests.image_files import decode, encode, png_chunk, refusal

END = b"\xff\xd9"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("RGB", {}),
    "4:4:4": ("RGB", {"subsampling": 0}),
    "optimised": ("RGB", {"optimize": True}),
    "progressive": ("RGB", {"progressive": True}),
    "restart markers": ("RGB", {"restart_marker_rows": 1}),
    "grey": ("L", {}),
    "grey, progressive": ("L", {"progressive": True}),
    "CMYK": ("CMYK", {}),
}


def scene(width: int = 96, height: int = 64) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    rgb = np.dstack([x * 255 // (width - 1), y * 255 // (height - 1), (x * y) % 256]).astype(np.uint8)
    return Image.fromarray(rgb)


def jpeg(kind: str, image: Image.Image | None = None) -> bytes:
    mode, options = KINDS[kind]
    return encode((image or scene()).convert(mode), "JPEG", quality=92, **options)


def header_of(body: bytes) -> JpegHeader:
    return read_jpeg_header(body, Work(len(body)))


def pixels(body: bytes, target_px: int = 256) -> NDArray[np.uint8]:
    return decode(body, target_px=target_px).rgb


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("picture", [scene(), scene(330, 300), Image.new("RGB", (90, 50), "white")])
def test_a_picture_that_lacks_only_its_end_marker_is_whole(kind: str, picture: Image.Image) -> None:
    body = jpeg(kind, picture)
    assert body.endswith(END)
    for target_px in (256, 16):  # as it is, and scaled while it is decoded
        for tail in (b"", b"\xff", b"\xff\xff", b"\xff\xdb"):
            np.testing.assert_array_equal(pixels(body[:-2] + tail, target_px), pixels(body, target_px))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_lacks_pixels_is_truncated(kind: str) -> None:
    body = jpeg(kind)
    first_scan = body.index(b"\xff\xda")
    for cut in sorted({*range(first_scan, len(body) - 40, 97), *range(len(body) - 40, len(body) - 3)}):
        assert refusal(body[:cut]).reason is Reason.TRUNCATED, (cut, len(body))


def test_scans_that_are_missing_altogether_are_missed() -> None:
    body = jpeg("progressive")
    starts = [at for at in range(len(body)) if body.startswith(b"\xff\xda", at)]
    assert len(starts) > 5
    for start in starts[1:]:
        tables = body.rindex(b"\xff\xc4", 0, start)  # each scan's table stands before it
        assert refusal(body[:tables]).reason is Reason.TRUNCATED


def film() -> bytes:
    """The head of a video, and bytes that look like a thousand scans."""
    return b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 1000


TRAILERS: dict[str, Callable[[], bytes]] = {
    "a second JPEG": lambda: jpeg("progressive", scene(200, 100)),
    "a film": film,
    "a film without an end": lambda: film() + b"\xff\xc4",
    "a PNG chunk": lambda: png_chunk(b"IDAT", bytes(100)),
    "zeros": lambda: bytes(4096),
    "a stray end marker": lambda: b"junk" + END,
}


@pytest.mark.parametrize(("kind", "trailer"), list(product(KINDS, TRAILERS)))
def test_what_follows_the_picture_changes_nothing(kind: str, trailer: str) -> None:
    body = jpeg(kind)
    np.testing.assert_array_equal(pixels(body + TRAILERS[trailer]()), pixels(body))


def test_scans_of_an_appended_picture_are_not_counted() -> None:
    large = jpeg("progressive", Image.new("RGB", (4000, 4000)))
    header = header_of(large + film() * 20)
    assert header.stripped == header_of(large).stripped


def test_a_picture_before_an_appended_one_lacks_its_own_end_marker() -> None:
    body = jpeg("baseline")
    np.testing.assert_array_equal(pixels(body[:-2] + jpeg("grey")), pixels(body))


def test_more_markers_than_any_encoder_writes_are_refused() -> None:
    body = jpeg("progressive")
    error = refusal(body[:-2] + b"\xff\x01" * 70_000 + END)
    assert (error.reason, error.detail) == (Reason.DECODE_ERROR, "more than 65536 markers in one JPEG")


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def variant(marker: int, bits: int = 8, components: int = 1) -> bytes:
    frame = struct.pack(">BHHB", bits, 64, 64, components)
    frame += b"".join(bytes([n, 0x11, 0]) for n in range(1, components + 1))
    names = b"".join(bytes([n, 0]) for n in range(1, components + 1))
    scan = bytes([components]) + names + bytes([0, 63, 0])
    return b"\xff\xd8" + segment(marker, frame) + segment(0xDA, scan) + bytes(64) + END


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (variant(0xC1, bits=12), "a JPEG of 12 bits a sample; 8 are decoded"),
        (variant(0xC2, bits=12), "a JPEG of 12 bits a sample; 8 are decoded"),
        (variant(0xC3), "a kind of lossless JPEG that is not decoded"),
        (variant(0xC3, bits=16), "a JPEG of 16 bits a sample; 8 are decoded"),
        (variant(0xCB), "a lossless JPEG with arithmetic codes"),
        *((variant(code), "a hierarchical JPEG") for code in (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)),
        (variant(0xDE), "a hierarchical JPEG"),
        (variant(0xC0, components=2), "a JPEG of 2 components; 1, 3 and 4 are decoded"),
        (variant(0xC0, components=5), "a JPEG of 5 components; 1, 3 and 4 are decoded"),
    ],
)
def test_a_kind_of_jpeg_that_is_not_decoded_is_not_called_damaged(body: bytes, detail: str) -> None:
    error = refusal(body)
    assert (error.reason, error.detail) == (Reason.UNSUPPORTED_FORMAT, detail)


def lossless_jpeg(grey: NDArray[np.uint8]) -> bytes:
    """Each value as the difference to its left neighbour, or in the first column to the upper one."""
    height, width = grey.shape
    values = grey.astype(int)
    before = np.zeros_like(values)
    before[:, 1:], before[1:, 0], before[0, 0] = values[:, :-1], values[:-1, 0], 128
    bits = ""
    for difference in (values - before).ravel().tolist():
        size = abs(difference).bit_length()
        bits += format(size, "04b")  # every size has a code of four bits
        if size:
            bits += format(difference if difference > 0 else difference + (1 << size) - 1, f"0{size}b")
    bits += "1" * (-len(bits) % 8)
    entropy = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    table = bytes([0, 0, 0, 0, 9]) + bytes(12) + bytes(range(9))
    frame = struct.pack(">BHHB", 8, height, width, 1) + bytes([1, 0x11, 0])
    scan = segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))
    return b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, table) + scan + entropy + END


@pytest.mark.parametrize("target_px", [256, 8])
def test_a_lossless_jpeg_is_decoded_and_never_scaled_by_the_decoder(target_px: int) -> None:
    grey = np.asarray(scene().convert("L"))
    decoded = decode(lossless_jpeg(grey), target_px=target_px)
    assert (decoded.width, decoded.height) == (96, 64)
    expected = np.asarray(Image.fromarray(grey).reduce(96 // decoded.rgb.shape[1]))
    assert np.abs(decoded.rgb[..., 0].astype(int) - expected).max() <= 1


def test_a_large_profile_is_left_out_and_a_small_one_is_put_together() -> None:
    image = scene()
    with_profile = encode(image, "JPEG", icc_profile=bytes(range(256)) * 1000)
    assert header_of(with_profile).profile == bytes(range(256)) * 1000
    too_large = encode(image, "JPEG", icc_profile=bytes(5_000_000))
    assert header_of(too_large).profile == b""
    assert decode(too_large).width == 96


def test_the_pictures_are_those_that_pillow_decodes() -> None:
    for kind in KINDS:
        body = jpeg(kind)
        expected = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))
        np.testing.assert_array_equal(pixels(body), expected)

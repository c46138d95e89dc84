"""Every format and colour mode becomes upright RGB; every refusal has its reason."""

import io
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from pipeline.image.decode.failures import to_image_error
from pipeline.types import Reason
from tests.image_files import decode, encode, png_chunk, raw_png, refusal

Rgb = NDArray[np.uint8]
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}, "TIFF": {}, "GIF": {}}
ALL_FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]


def picture(width: int = 60, height: int = 40) -> Rgb:
    """Four flat quarters of different colours: no mirror or turn of it is itself."""
    rgb = np.zeros((height, width, 3), dtype=np.uint8)
    rgb[: height // 2, : width // 2] = (250, 10, 20)
    rgb[: height // 2, width // 2 :] = (10, 240, 30)
    rgb[height // 2 :, : width // 2] = (20, 30, 230)
    rgb[height // 2 :, width // 2 :] = (200, 200, 40)
    return rgb


@pytest.mark.parametrize("format_name", LOSSLESS)
def test_a_lossless_format_gives_back_the_pixels_that_were_saved(format_name: str) -> None:
    decoded = decode(encode(picture(), format_name, **LOSSLESS[format_name]))
    np.testing.assert_array_equal(decoded.rgb, picture())
    assert (decoded.width, decoded.height) == (60, 40)
    assert decoded.rgb.flags.c_contiguous


@pytest.mark.parametrize("format_name", ["JPEG", "WEBP", "AVIF"])
def test_a_lossy_format_gives_what_pillow_gives(format_name: str) -> None:
    body = encode(picture(), format_name)
    reference = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))
    np.testing.assert_array_equal(decode(body).rgb, reference)
    assert np.abs(reference.astype(int) - picture()).mean() < 20


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_fast_jpeg_decoder_agrees_with_pillow_bit_for_bit(mode: str, options: dict[str, Any]) -> None:
    noise = Image.effect_noise((150, 90), 80).convert("RGB").convert(mode)
    body = encode(noise, "JPEG", **options)
    reference = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))
    np.testing.assert_array_equal(decode(body).rgb, reference)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_camera_s_orientation_is_undone(format_name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encode(picture(), format_name, exif=exif.tobytes())
    reference = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(body))).convert("RGB"))
    decoded = decode(body)
    np.testing.assert_array_equal(decoded.rgb, reference)
    assert (decoded.width, decoded.height) == ((40, 60) if orientation >= 5 else (60, 40))


def test_orientation_is_taken_from_xmp_where_exif_is_silent() -> None:
    body = encode(picture(), "JPEG", xmp=b'<x tiff:Orientation="6"/>')
    assert (decode(body).width, decode(body).height) == (40, 60)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_does_not_cost_the_picture(exif: bytes) -> None:
    assert decode(encode(picture(), "JPEG", exif=exif)).width == 60


def test_a_multi_picture_file_of_a_phone_gives_its_first_picture() -> None:
    second = Image.new("RGB", (60, 40), "black")
    body = encode(picture(), "MPO", save_all=True, append_images=[second])
    assert b"MPF\0" in body
    assert np.abs(decode(body).rgb.astype(int) - picture()).mean() < 20


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "blue")]
    for format_name in ("GIF", "PNG", "WEBP", "AVIF"):
        body = encode(frames[0], format_name, save_all=True, append_images=frames[1:])
        assert decode(body).rgb[20, 30, 0] > 240, format_name
        assert decode(body).rgb[20, 30, 2] < 20, format_name


def test_inverted_cmyk_of_adobe_is_read_as_pillow_reads_it() -> None:
    body = encode(Image.new("CMYK", (60, 40), (0, 255, 255, 0)), "JPEG")
    assert b"Adobe" in body
    assert decode(body).rgb[20, 30].tolist() == pytest.approx([255, 0, 0], abs=8)


def four_colours() -> Image.Image:
    image = Image.new("P", (60, 40), 3)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    return image


TRANSPARENT: dict[str, Callable[[], bytes]] = {
    "RGBA": lambda: encode(Image.new("RGBA", (60, 40), (255, 0, 0, 0)), "PNG"),
    "RGBA WebP": lambda: encode(
        Image.new("RGBA", (60, 40), (255, 0, 0, 0)), "WEBP", lossless=True, exact=True
    ),
    "LA": lambda: encode(Image.new("LA", (60, 40), (7, 0)), "PNG"),
    "palette": lambda: encode(four_colours(), "PNG", transparency=3),
    "palette GIF": lambda: encode(four_colours(), "GIF", transparency=3),
    "one RGB colour": lambda: encode(Image.new("RGB", (60, 40), "red"), "PNG", transparency=(255, 0, 0)),
    "one grey": lambda: encode(Image.new("L", (60, 40), 9), "PNG", transparency=9),
    "one 16-bit grey": lambda: raw_png(
        60, 40, 16, 0, struct.pack(">H", 9000) * 2400, png_chunk(b"tRNS", struct.pack(">H", 9000))
    ),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_what_is_transparent_becomes_white(kind: str) -> None:
    assert (decode(TRANSPARENT[kind]()).rgb == 255).all()


def test_half_transparent_is_half_white() -> None:
    decoded = decode(encode(Image.new("RGBA", (60, 40), (0, 0, 0, 128)), "PNG"))
    assert decoded.rgb[0, 0].tolist() == pytest.approx([127, 127, 127], abs=1)


def test_colours_hidden_under_transparency_do_not_bleed_into_a_reduced_image() -> None:
    rgba = np.zeros((300, 300, 4), dtype=np.uint8)
    rgba[..., 0] = 255  # red, and
    rgba[:, ::2, 3] = 255  # every second column opaque
    decoded = decode(encode(rgba, "PNG"), target_px=16)
    assert decoded.rgb.shape == (75, 75, 3)
    assert decoded.rgb[30, 30].tolist() == pytest.approx([255, 127, 127], abs=1)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_upper_byte(format_name: str) -> None:
    values = np.linspace(0, 65535, 2400).astype(np.uint16).reshape(40, 60)
    decoded = decode(encode(Image.fromarray(values), format_name))
    np.testing.assert_array_equal(decoded.rgb[..., 1], values >> 8)


def test_16_bit_colour_keeps_its_upper_byte() -> None:
    body = raw_png(60, 40, 16, 2, struct.pack(">HHH", 0x1234, 0xABCD, 0xFF00) * 2400)
    assert decode(body).rgb[5, 5].tolist() == [0x12, 0xAB, 0xFF]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_values_are_stretched_from_the_smallest_to_the_largest(dtype: Any) -> None:
    values = np.linspace(-2_000_000_000, 2_000_000_000, 2400).astype(dtype).reshape(40, 60)
    decoded = decode(encode(Image.fromarray(values), "TIFF"))
    assert (int(decoded.rgb[0, 0, 0]), int(decoded.rgb[-1, -1, 0])) == (0, 255)
    assert np.abs(decoded.rgb[..., 0] - np.linspace(0, 255, 2400).reshape(40, 60)).max() < 1


def test_float_values_that_are_no_numbers_are_survived() -> None:
    values = np.full((40, 60), 3.0, dtype=np.float32)
    values[0, :4] = (np.nan, np.inf, -np.inf, 5.0)
    assert decode(encode(Image.fromarray(values), "TIFF")).rgb[0, :5, 0].tolist() == [0, 255, 0, 255, 0]


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP", "GIF"])
def test_1_bit_becomes_black_and_white(format_name: str) -> None:
    image = Image.new("1", (60, 40))
    image.paste(1, (0, 0, 30, 40))
    decoded = decode(encode(image, format_name))
    assert (decoded.rgb[:, :30] == 255).all()
    assert (decoded.rgb[:, 30:] == 0).all()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_of_tiff_are_converted(mode: str) -> None:
    image = Image.fromarray(picture())
    if mode == "LAB":
        lab = ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        assert lab is not None  # None: only where it converts in place
        image = lab
    decoded = decode(encode(image.convert(mode), "TIFF"))
    assert np.abs(decoded.rgb.astype(int) - picture()).mean() < 6


@pytest.mark.parametrize("format_name", ALL_FORMATS)
def test_a_large_image_is_reduced_but_tells_its_own_size(format_name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif.tobytes()} if format_name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF") else {}
    body = encode(Image.fromarray(picture(1203, 802)), format_name, **options)
    decoded = decode(body, target_px=32)
    turned = bool(options)
    assert (decoded.width, decoded.height) == ((802, 1203) if turned else (1203, 802))
    assert 128 <= min(decoded.rgb.shape[:2]) <= 256
    ratio = decoded.rgb.shape[0] / decoded.rgb.shape[1]
    assert ratio == pytest.approx(1.5 if turned else 1 / 1.5, rel=0.01)
    upright = np.rot90(picture(1203, 802), -1) if turned else picture(1203, 802)
    quarter = decoded.rgb.shape[0] // 4, decoded.rgb.shape[1] // 4
    expected = upright[upright.shape[0] // 4, upright.shape[1] // 4]
    assert np.abs(decoded.rgb[quarter].astype(int) - expected).max() < 25


def test_the_goal_is_lowered_before_an_image_is_refused() -> None:
    body = encode(Image.new("RGB", (2000, 2000)), "PNG")
    roomy = decode(body, target_px=250)
    tight = decode(body, target_px=250, decode_budget_bytes=22_000_000)
    assert (roomy.rgb.shape[0], tight.rgb.shape[0]) == (1000, 500)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"x", Reason.NOT_AN_IMAGE),
        (b"hello, world" * 50, Reason.NOT_AN_IMAGE),
        (b"\0" * 4096, Reason.NOT_AN_IMAGE),
        (b"<html><body>404</body></html>", Reason.NOT_AN_IMAGE),
        (b"PK\x03\x04" + b"\0" * 100, Reason.NOT_AN_IMAGE),
        (b"\xff\xd8\xff\xe0", Reason.TRUNCATED),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, Reason.DECODE_ERROR),
    ],
)
def test_what_is_no_image_is_told_from_what_is_a_damaged_one(body: bytes, reason: Reason) -> None:
    assert refusal(body).reason is reason


@pytest.mark.parametrize("format_name", ALL_FORMATS)
def test_a_file_that_ends_early_is_truncated(format_name: str) -> None:
    noise = Image.effect_noise((200, 200), 80).convert("P" if format_name == "GIF" else "RGB")
    body = encode(noise, format_name)
    assert refusal(body[: len(body) * 6 // 10]).reason is Reason.TRUNCATED


def test_limits_are_told_with_both_values() -> None:
    body = encode(Image.new("RGB", (300, 200)), "PNG")
    assert refusal(body, max_px=59_999).reason is Reason.TOO_MANY_PIXELS
    assert "300x200" in refusal(body, max_px=59_999).detail
    assert "59999" in refusal(body, max_px=59_999).detail
    assert decode(body, max_px=60_000).width == 300
    over_budget = refusal(body, decode_budget_bytes=100_000)
    assert over_budget.reason is Reason.TOO_MANY_PIXELS
    assert "100000" in over_budget.detail
    too_small = refusal(body, min_side_px=201)
    assert (too_small.reason, too_small.detail) == (Reason.TOO_SMALL, "300x200: a side is under 201 px")
    assert decode(body, min_side_px=200).width == 300


def test_running_out_of_memory_has_its_own_reason() -> None:
    assert to_image_error(MemoryError(), b"").reason is Reason.OUT_OF_MEMORY


def test_no_text_of_a_library_is_kept() -> None:
    error = to_image_error(OSError("cannot identify <_io.BytesIO object at 0x7f12>"), b"")
    assert "0x7f12" not in str(error)


def test_threads_do_not_disturb_each_other() -> None:
    bodies = [encode(picture(60 + 4 * n, 40), name) for n in range(4) for name in ALL_FORMATS] * 4
    alone = [decode(body).rgb for body in bodies]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda body: decode(body).rgb, bodies))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)

"""HEIF and HEIC: the pictures of phones, with the bounds of all other formats."""

import importlib
import io
import os
import struct
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.errors import ImageError
from pipeline.image.decode import heif_pixels
from pipeline.image.decode.hevc_frame import MAX_PICTURES, Frames, read_frames
from pipeline.image.decode.work import Work
from pipeline.types import Reason
from tests import icc_profiles as icc
from tests.image_files import decode, refusal

# An extra: its tests are skipped without it, but not where all is checked.
if os.environ.get("CI") == "true":
    pillow_heif = importlib.import_module("pillow_heif")
else:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")

Rgb = NDArray[np.uint8]


def picture(width: int = 96, height: int = 64) -> Rgb:
    """Four flat quarters of different colours: no mirror or turn of it is itself."""
    rgb = np.zeros((height, width, 3), dtype=np.uint8)
    rgb[: height // 2, : width // 2] = (220, 40, 50)
    rgb[: height // 2, width // 2 :] = (40, 200, 60)
    rgb[height // 2 :, : width // 2] = (50, 60, 200)
    rgb[height // 2 :, width // 2 :] = (180, 180, 70)
    return rgb


def heic(*images: Image.Image | Rgb, primary: int = 0, **options: Any) -> bytes:
    file = pillow_heif.HeifFile()
    for image in images:
        file.add_from_pillow(image if isinstance(image, Image.Image) else Image.fromarray(image))
    stream = io.BytesIO()
    settings = {"quality": 90, "chroma": 444, "enc_params": {"preset": "ultrafast"}, **options}
    file.save(stream, primary_index=primary, **settings)
    return stream.getvalue()


def is_like(rgb: Rgb, expected: NDArray[Any]) -> bool:
    return rgb.shape == expected.shape and float(np.abs(rgb.astype(int) - expected).mean()) < 6


def test_a_picture_is_decoded() -> None:
    decoded = decode(heic(picture()))
    assert is_like(decoded.rgb, picture())
    assert (decoded.width, decoded.height) == (96, 64)
    assert decoded.rgb.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_s_turn_is_undone_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = pillow_heif.from_bytes("RGB", (96, 64), picture().tobytes())
    file.info["exif"] = exif.tobytes()  # kept in the file, and said a second time by irot and imir
    stream = io.BytesIO()
    file.save(stream, quality=90, chroma=444)
    body = stream.getvalue()
    assert (b"irot" in body or b"imir" in body) == (orientation > 1)
    turned = Image.fromarray(picture())
    turned.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(turned))
    decoded = decode(body)
    assert is_like(decoded.rgb, upright)
    assert (decoded.width, decoded.height) == upright.shape[1::-1]


@pytest.mark.parametrize("size", [(61, 47), (96, 64), (100, 35), (8, 8)])
def test_the_clean_aperture_is_the_picture(size: tuple[int, int]) -> None:
    body = heic(picture(*size))
    assert b"clap" in body or size == (96, 64)
    decoded = decode(body)
    assert (decoded.width, decoded.height) == size
    assert is_like(decoded.rgb, picture(*size))


def test_the_primary_picture_of_several_is_taken() -> None:
    others = [np.full((64, 96, 3), level, np.uint8) for level in (10, 240)]
    assert is_like(decode(heic(others[0], picture(), others[1], primary=1)).rgb, picture())


@pytest.mark.parametrize("options", [{}, {"chroma": 420}, {"chroma": 422}, {"quality": 100}])
def test_kinds_of_chroma(options: dict[str, Any]) -> None:
    assert is_like(decode(heic(picture(), **options)).rgb, picture())


def test_greys_and_ten_bits() -> None:
    grey = picture().mean(axis=2).astype(np.uint8)
    expected = np.dstack([grey] * 3)
    assert is_like(decode(heic(grey)).rgb, expected)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert is_like(decode(heic(deep)).rgb, expected)


def test_what_is_transparent_becomes_white() -> None:
    rgba = np.dstack([picture(), np.full((64, 96), 255, np.uint8)])
    rgba[:, 48:, 3] = 0
    decoded = decode(heic(rgba)).rgb
    assert is_like(decoded[:, :40], picture()[:, :40])
    assert (decoded[:, 60:] > 250).all()


def test_a_large_picture_is_reduced_but_tells_its_own_size() -> None:
    decoded = decode(heic(picture(640, 480)), target_px=20)
    assert (decoded.width, decoded.height) == (640, 480)
    assert decoded.rgb.shape == (80, 106, 3)
    assert is_like(decoded.rgb, picture(106, 80))


def test_a_profile_is_converted() -> None:
    image = Image.fromarray(picture())
    image.info["icc_profile"] = icc.of_colours(icc.ADOBE)
    plain = decode(heic(picture())).rgb
    assert np.abs(decode(heic(image)).rgb - icc.to_srgb(plain, icc.ADOBE, 563 / 256)).mean() < 3


def test_limits_hold() -> None:
    body = heic(picture())
    assert refusal(body, max_px=6143).reason is Reason.TOO_MANY_PIXELS
    assert refusal(body, decode_budget_bytes=4_200_000).reason is Reason.TOO_MANY_PIXELS
    assert refusal(body, min_side_px=65).reason is Reason.TOO_SMALL


def test_a_file_that_ends_early_is_truncated() -> None:
    body = heic(Image.effect_noise((256, 256), 80).convert("RGB"))
    for share in (0.2, 0.6, 0.95):
        assert refusal(body[: int(len(body) * share)]).reason is Reason.TRUNCATED


def test_without_pillow_heif_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    body = heic(picture())
    heif_pixels._library.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = refusal(body)
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert error.detail == "HEIF is not decoded without pillow-heif; install pictor[heif]"
    heif_pixels._library.cache_clear()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def number(value: int) -> str:
    """ue(v): as many zeros as the number has digits behind its first."""
    digits = format(value + 1, "b")
    return "0" * (len(digits) - 1) + digits


def parameter_set(width: int, height: int, *, chroma: int = 1, bits: int = 8, sub_layers: int = 0) -> bytes:
    text = "0000" + format(sub_layers, "03b") + "1" + "0" * 96
    if sub_layers:
        text += "11" * sub_layers + "00" * (8 - sub_layers) + ("0" * 96) * sub_layers
    text += number(0) + number(chroma) + ("0" if chroma == 3 else "")
    text += number(width) + number(height) + "1" + number(0) * 4 + number(bits - 8) * 2
    text += "1" + "0" * (-(len(text) + 1) % 8)
    content = int(text, 2).to_bytes(len(text) // 8, "big")
    return b"\x42\x01" + escaped(content)


def escaped(content: bytes) -> bytes:
    """A 3 behind two zeros, so that nothing looks like a start code."""
    found = bytearray()
    for byte in content:
        if found.endswith(b"\0\0") and byte <= 3:
            found.append(3)
        found.append(byte)
    return bytes(found)


def container(properties: bytes = b"", items: bytes = b"", payload: bytes = b"", more: bytes = b"") -> bytes:
    """One item, which lies in the box of the file's own data."""
    location = box(
        b"iloc", bytes([1, 0, 0, 0, 0x44, 0]) + struct.pack(">HHHHHII", 1, 1, 1, 0, 1, 0, len(payload))
    )
    meta = (
        location + box(b"idat", payload) + box(b"iprp", box(b"ipco", properties)) + box(b"iinf", items) + more
    )
    return box(b"ftyp", b"heic" + bytes(4) + b"mif1") + box(b"meta", bytes(4) + meta)


def frames_of(body: bytes) -> Frames:
    return read_frames(body, Work(len(body)))


def configuration(unit: bytes) -> bytes:
    return box(b"hvcC", bytes(21) + b"\x03" + b"\x01" + b"\xa1\0\1" + struct.pack(">H", len(unit)) + unit)


def test_the_frame_is_read_from_the_stream_itself() -> None:
    body = heic(picture(640, 480), chroma=420)
    frames = frames_of(body)
    assert (frames.px, frames.is_444, frames.is_deep) == (640 * 480, False, False)
    assert frames_of(heic(picture(), chroma=444)).is_444
    assert frames_of(heic(Image.fromarray(np.zeros((64, 64), np.uint16)))).is_deep


@pytest.mark.parametrize("sub_layers", [0, 1, 6])
@pytest.mark.parametrize("chroma", [1, 3])
def test_a_frame_hidden_behind_a_small_header_is_found(chroma: int, sub_layers: int) -> None:
    unit = parameter_set(20000, 16000, chroma=chroma, bits=10, sub_layers=sub_layers)
    for body in (
        container(properties=configuration(unit)),
        container(payload=struct.pack(">I", len(unit)) + unit + bytes(40)),
    ):
        frames = frames_of(body)
        assert (frames.px, frames.is_444, frames.is_deep) == (20000 * 16000, chroma == 3, True)


def test_a_lying_file_is_refused_before_it_is_decoded() -> None:
    honest = heic(picture(640, 480))
    lying = honest.replace(struct.pack(">II", 640, 480), struct.pack(">II", 64, 64))
    assert lying != honest
    error = refusal(lying, max_px=200_000)
    assert error.reason is Reason.TOO_MANY_PIXELS
    assert error.detail == "64x64, 307200 px to decode, is over 200000 px"
    assert refusal(lying).reason is Reason.DECODE_ERROR  # libheif finds out after it


@pytest.mark.parametrize(
    "payload",
    [
        bytes([0, 0, 9, 9]) + struct.pack(">HH", 40000, 30000),
        bytes([0, 1, 9, 9]) + struct.pack(">II", 40000, 30000),
    ],
)
def test_a_picture_of_tiles_is_as_large_as_it_says(payload: bytes) -> None:
    assert frames_of(container(payload=payload)).px == 1_200_000_000


def references(*named: tuple[int, list[int]]) -> bytes:
    """Which pictures are made of which."""
    listed = (struct.pack(f">HH{len(parts)}H", item, len(parts), *parts) for item, parts in named)
    return box(b"iref", bytes(4) + b"".join(box(b"dimg", each) for each in listed))


UNIT = parameter_set(4000, 3000)


@pytest.mark.parametrize(
    "named",
    [
        [(2, [1] * 10_000)],
        [(2, [1] * 200), (3, [2] * 200)],
        [(3, [2] * 200), (2, [1] * 200)],
        [(2, [1] * 60), (2, [1] * 60)],
    ],
    ids=["one tile", "tiles of tiles", "in the other order", "in two lists"],
)
def test_a_tile_that_is_named_ten_thousand_times_is_refused(named: list[tuple[int, list[int]]]) -> None:
    """No picture is there: this is told from the directory alone."""
    with pytest.raises(ImageError) as caught:
        frames_of(container(properties=configuration(UNIT), more=references(*named)))
    assert caught.value.reason is Reason.DECODE_ERROR
    assert caught.value.detail.startswith("tiles of up to ")


def test_pictures_that_are_made_of_themselves_are_refused() -> None:
    for named in ([(1, [1])], [(1, [2]), (2, [1])], [(n, [n + 1]) for n in range(1, 100)]):
        with pytest.raises(ImageError) as caught:
            frames_of(container(properties=configuration(UNIT), more=references(*named)))
        assert caught.value.detail == "a HEIF of pictures within pictures, over 4 deep"


def test_the_tiles_of_a_phone_are_read() -> None:
    """48 Mpx in tiles of 512x512, and a second picture for brightness, both named by a tone map."""
    tile = parameter_set(512, 512)
    named = [(300, list(range(1, 193))), (400, list(range(301, 350))), (500, [300, 400])]
    assert frames_of(container(properties=configuration(tile), more=references(*named))).px == 512 * 512


def test_an_item_of_many_pictures_is_refused() -> None:
    picture_units = struct.pack(">I", 3) + bytes([1 << 1, 1, 0x80])
    assert frames_of(container(payload=picture_units * MAX_PICTURES)).px == 0
    with pytest.raises(ImageError) as caught:
        frames_of(container(payload=picture_units * (MAX_PICTURES + 1)))
    assert caught.value.detail == f"HEIF with more than {MAX_PICTURES} pictures in one item"


def test_a_damaged_configuration_hides_no_other() -> None:
    damaged = box(b"hvcC", bytes(21) + b"\x03" + b"\xff" + b"\xa1\xff\xff\0")
    honest = configuration(parameter_set(20000, 16000))
    for properties in (honest + damaged, damaged + honest):
        assert frames_of(container(properties=properties)).px == 20000 * 16000


@pytest.mark.parametrize("kind", [b"iovl", b"tili", b"unci"])
def test_kinds_that_no_phone_writes_are_refused_with_words(kind: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        frames_of(container(items=box(b"infe", bytes([2, 0, 0, 0, 0, 1, 0, 0]) + kind)))
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT
    assert caught.value.detail.startswith("a HEIF whose pictures are ")


def test_a_kind_that_libheif_does_not_know_is_not_called_damaged() -> None:
    body = heic(picture()).replace(b"hvc1", b"vvc1")
    error = refusal(body)
    assert error.reason is Reason.UNSUPPORTED_FORMAT, error

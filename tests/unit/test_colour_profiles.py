"""Embedded profiles: pictures as the definitions of their colours say, computed here without littlecms."""

import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import pipeline.image.decode
from pipeline.image.decode.cuda_jpeg import JpegBatcher
from pipeline.image.decode.profile import MAX_PROFILE_BYTES, find_conversion
from pipeline.ingest.one_image import decode_object
from pipeline.ports import ImageLimits
from pipeline.types import FetchedObject, ObjectRef, Preprocessing
from tests import icc_profiles as icc
from tests.image_files import decode, encode
from tests.unit.test_cuda_jpeg import CpuBatches

Rgb = NDArray[np.uint8]

SPACES = {"Adobe RGB": icc.ADOBE, "Display P3": icc.DISPLAY_P3, "ProPhoto": icc.PROPHOTO}
LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


def patches(steps: int = 6) -> Rgb:
    """Every mixture of some levels, in squares of 8 px."""
    levels = np.linspace(30, 225, steps).round().astype(np.uint8)
    mixtures = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(steps * steps, steps, 3)
    return mixtures.repeat(8, axis=0).repeat(8, axis=1)


def difference(rgb: Rgb, expected: NDArray[np.float64]) -> float:
    assert rgb.shape == expected.shape
    return float(np.abs(rgb - expected).max())


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("exponent", [1.8, 2.2])
@pytest.mark.parametrize("format_name", LOSSLESS)
def test_colours_of_a_profile_become_srgb(space: str, exponent: float, format_name: str) -> None:
    profile = icc.of_colours(SPACES[space], exponent)
    body = encode(patches(), format_name, icc_profile=profile, **LOSSLESS[format_name])
    exact_exponent = round(exponent * 256) / 256
    assert difference(decode(body).rgb, icc.to_srgb(patches(), SPACES[space], exact_exponent)) <= 2


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("size", [(48, 288), (600, 3600)], ids=["fast decoder", "scaled"])
def test_a_jpeg_s_profile_is_seen_on_every_way(options: dict[str, Any], size: tuple[int, int]) -> None:
    picture = Image.fromarray(patches()).resize(size, Image.Resampling.NEAREST)
    profile = icc.of_colours(icc.ADOBE)
    target_px = 256 if size[0] < 512 else 16
    plain = decode(encode(picture, "JPEG", quality=95, **options), target_px=target_px).rgb
    converted = decode(
        encode(picture, "JPEG", quality=95, icc_profile=profile, **options), target_px=target_px
    )
    assert difference(converted.rgb, icc.to_srgb(plain, icc.ADOBE, 563 / 256)) <= 2
    assert np.abs(converted.rgb.astype(int) - plain).max() > 20


@pytest.mark.parametrize("space", ["Adobe RGB", "Display P3"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("target_px", [256, 16], ids=["whole", "reduced"])
def test_an_avif_s_profile_is_seen(space: str, mode: str, target_px: int) -> None:
    picture = Image.fromarray(patches()).convert(mode)
    options: dict[str, Any] = {"quality": 95, "subsampling": "4:4:4", "speed": 10}
    profile = icc.of_colours(SPACES[space])
    plain = decode(encode(picture, "AVIF", **options), target_px=target_px).rgb
    converted = decode(encode(picture, "AVIF", icc_profile=profile, **options), target_px=target_px).rgb
    assert difference(converted, icc.to_srgb(plain, SPACES[space], 563 / 256)) <= 2
    assert np.abs(converted.astype(int) - plain).max() > 20


def test_a_jpeg_without_its_end_marker_has_its_profile_too() -> None:
    body = encode(patches(), "JPEG", icc_profile=icc.of_colours(icc.ADOBE))
    np.testing.assert_array_equal(decode(body[:-2]).rgb, decode(body).rgb)


@pytest.mark.parametrize("exponent", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF"])
def test_greys_of_a_profile_become_srgb(exponent: float, format_name: str) -> None:
    grey = np.tile(np.arange(16, 256, dtype=np.uint8).repeat(8), (8, 1))  # under 16, littlecms rounds more
    stored = decode(encode(grey, format_name)).rgb
    body = encode(grey, format_name, icc_profile=icc.of_greys(exponent))
    expected = icc.encode_srgb((stored / 255.0) ** (round(exponent * 256) / 256))
    assert difference(decode(body).rgb, expected) <= 2


def corners() -> tuple[Rgb, Rgb]:
    """All sixteen mixtures of full inks, and a Lab colour that no default has for each."""
    inks = np.array(
        [[c, m, y, k] for c in (0, 255) for m in (0, 255) for y in (0, 255) for k in (0, 255)], np.uint8
    )
    lab = np.array(
        [[240 - 16 * n, 128 + (n % 4) * 5 - 8, 128 + (n // 4) * 5 - 8] for n in range(16)], np.uint8
    )
    # Paper is white, and all inks together are black; else littlecms makes them so.
    lab[0], lab[15] = (255, 128, 128), (0, 128, 128)
    return inks, lab


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
@pytest.mark.parametrize("target_px", [256, 4])
def test_inks_of_a_profile_become_srgb(format_name: str, target_px: int) -> None:
    inks, lab = corners()
    picture = inks.reshape(4, 4, 4).repeat(16, axis=0).repeat(16, axis=1)
    body = encode(Image.fromarray(picture, "CMYK"), format_name, icc_profile=icc.of_inks(lab))
    decoded = decode(body, target_px=target_px)
    assert (decoded.width, decoded.height) == (64, 64)
    side = decoded.rgb.shape[0] // 4
    middles = decoded.rgb[side // 2 :: side, side // 2 :: side].reshape(16, 3)
    assert difference(middles, icc.lab_to_srgb(lab)) <= 3


def test_transparent_pixels_are_white_in_any_colours() -> None:
    rgba = np.dstack([patches(), np.full(patches().shape[:2], 0, np.uint8)])
    assert decode(encode(rgba, "PNG", icc_profile=icc.of_colours(icc.ADOBE))).rgb.min() >= 254


def test_a_palette_has_its_profile_too() -> None:
    body = encode(Image.fromarray(patches(4)).quantize(64), "PNG", icc_profile=icc.of_colours(icc.ADOBE))
    plain = decode(encode(Image.fromarray(patches(4)).quantize(64), "PNG")).rgb
    assert difference(decode(body).rgb, icc.to_srgb(plain, icc.ADOBE, 563 / 256)) <= 2


def srgb_by_littlecms() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


GOOD = icc.of_colours(icc.ADOBE)
IGNORED = {
    "sRGB": srgb_by_littlecms(),
    "nothing": b"\0",
    "text": b"this is no profile " * 20,
    "cut off": GOOD[:200],
    "no signature": GOOD.replace(b"acsp", b"xxxx"),
    "of greys": icc.of_greys(1.0),
    "of inks": icc.of_inks(corners()[1]),
    "of a device link": GOOD.replace(b"mntr", b"link"),
    "of unknown colours": GOOD.replace(b"RGB ", b"3CLR"),
    "tags outside": GOOD.replace(b"rXYZ" + GOOD[GOOD.index(b"rXYZ") + 4 :][:4], b"rXYZ\x7f\xff\xff\xff"),
    "a thousand tags": GOOD[:128] + struct.pack(">I", 1000) + GOOD[132:],
    "without curves": icc.profile(b"RGB ", {b"wtpt": icc.xyz(icc.D50)}),
}


@pytest.mark.parametrize("name", IGNORED)
def test_a_profile_that_says_nothing_changes_nothing(name: str) -> None:
    body = encode(patches(), "WEBP", lossless=True, icc_profile=IGNORED[name])
    np.testing.assert_array_equal(decode(body).rgb, patches())


def test_a_table_that_claims_to_be_huge_is_not_given_to_the_library() -> None:
    inks = icc.of_inks(corners()[1])
    at = inks.index(b"mft1")
    huge = inks[: at + 10] + bytes([100]) + inks[at + 11 :]  # 100^4 samples, in 3 kB
    assert find_conversion(inks, "CMYK") is not None
    assert find_conversion(huge, "CMYK") is None
    assert find_conversion(GOOD.ljust(MAX_PROFILE_BYTES + 1, b"\0"), "RGB") is None


def test_flipped_bits_of_a_profile_raise_nothing() -> None:
    random = np.random.default_rng(0)
    for original, mode in ((GOOD, "RGB"), (icc.of_inks(corners()[1]), "CMYK"), (icc.of_greys(1.8), "L")):
        for _ in range(300):
            damaged = bytearray(original)
            for at in random.integers(0, len(damaged), 3):
                damaged[at] ^= 1 << int(random.integers(8))
            conversion = find_conversion(bytes(damaged), mode)
            if conversion is not None and mode != "CMYK":
                assert conversion.convert(patches()).shape == patches().shape


def test_threads_share_a_conversion() -> None:
    body = encode(patches(), "PNG", icc_profile=GOOD)
    alone = decode(body).rgb
    with ThreadPoolExecutor(4) as pool:
        for rgb in pool.map(lambda _: decode(body).rgb, range(40)):
            np.testing.assert_array_equal(rgb, alone)


def test_a_model_s_input_is_converted_on_the_cpu_s_way_and_the_gpu_s(monkeypatch: pytest.MonkeyPatch) -> None:
    batcher = JpegBatcher(CpuBatches())
    monkeypatch.setattr(pipeline.image.decode, "batcher_on", lambda _device: batcher)
    y, x = np.mgrid[:96, :96]
    smooth = np.dstack([100 + x // 2, 180 - y // 2, 120 + (x + y) // 4]).astype(np.uint8)
    body = encode(smooth, "JPEG", icc_profile=GOOD)
    spec = Preprocessing(resize=64, crop=56, mean=(0, 0, 0), std=(1, 1, 1))
    ref = ObjectRef(bucket="b", key="k", etag="e", size_bytes=len(body))
    fetched = FetchedObject(body=body)
    here = decode_object(ref, fetched, spec, ImageLimits()).views[0].pixels
    there = decode_object(ref, fetched, spec, ImageLimits(), jpeg_device="cuda:0").views[0].pixels
    np.testing.assert_array_equal(here, there)
    unconverted = (
        decode_object(ref, FetchedObject(body=encode(decode(body).rgb, "PNG")), spec, ImageLimits())
        .views[0]
        .pixels
    )
    # Resized before the conversion, and after it.
    assert np.abs(here.astype(int) - unconverted).max() <= 5
    assert np.abs(here.astype(int) - unconverted).mean() < 0.5
    assert here.flags.c_contiguous

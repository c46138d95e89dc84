"""Whatever the bytes: a decoded image or an ImageError, and nothing else."""

import io
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import ImageError
from pipeline.image.decode import DecodedImage, decode_image
from pipeline.ports import ImageLimits
from tests.image_files import heic

LIMITS = ImageLimits(max_px=4_000_000)  # a flipped bit may say 60000 x 60000; time is for more examples


def _encode(format_name: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    image = Image.linear_gradient("L").resize((48, 36)).convert(mode)
    image.save(stream, format_name, **options)
    return stream.getvalue()


_EXIF = Image.Exif()
_EXIF[0x0112] = 6
VALID = {
    "jpeg": _encode("JPEG", exif=_EXIF.tobytes()),
    "progressive jpeg": _encode("JPEG", progressive=True),
    "cmyk jpeg": _encode("JPEG", "CMYK"),
    "png": _encode("PNG", "RGBA", exif=_EXIF.tobytes()),
    "palette png": _encode("PNG", "P", transparency=7),
    "16-bit png": _encode("PNG", "I;16"),
    "webp": _encode("WEBP", exif=_EXIF.tobytes()),
    "lossless webp": _encode("WEBP", "RGBA", lossless=True),
    "gif": _encode("GIF", "P"),
    "bmp": _encode("BMP"),
    "tiff": _encode("TIFF"),
    "deflate tiff": _encode("TIFF", compression="tiff_adobe_deflate"),
    "jpeg tiff": _encode("TIFF", compression="jpeg"),
    "float tiff": _encode("TIFF", "F"),
    "avif": _encode("AVIF", exif=_EXIF.tobytes()),
}
if find_spec("pillow_heif"):
    VALID["heif"] = heic(Image.linear_gradient("L").resize((48, 36)).convert("RGB"))


def outcome(body: bytes) -> DecodedImage | ImageError:
    try:
        decoded = decode_image(body, limits=LIMITS, target_px=32)
    except ImageError as error:
        return error
    assert decoded.rgb.ndim == 3
    assert decoded.rgb.shape[2] == 3
    assert decoded.rgb.dtype == np.uint8
    assert min(decoded.width, decoded.height) >= LIMITS.min_side_px
    return decoded


@pytest.mark.parametrize("name", VALID)
def test_the_seed_itself_is_decoded(name: str) -> None:
    assert isinstance(outcome(VALID[name]), DecodedImage)


@settings(max_examples=200)
@given(st.binary(max_size=512))
def test_random_bytes_are_refused(body: bytes) -> None:
    assert isinstance(outcome(body), ImageError)


@settings(max_examples=200)
@given(st.sampled_from(sorted(VALID)), st.integers(1, 24), st.binary(max_size=256))
def test_a_signature_with_rubbish_behind_it_raises_nothing_else(name: str, kept: int, rubbish: bytes) -> None:
    outcome(VALID[name][:kept] + rubbish)


@settings(max_examples=200)
@given(st.sampled_from(sorted(VALID)), st.data())
def test_a_file_cut_anywhere_raises_nothing_else(name: str, data: st.DataObject) -> None:
    body = VALID[name]
    outcome(body[: data.draw(st.integers(0, len(body) - 1))])


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(VALID)), st.data())
def test_flipped_bits_raise_nothing_else(name: str, data: st.DataObject) -> None:
    body = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    outcome(bytes(body))


@settings(max_examples=200)
@given(st.sampled_from(sorted(VALID)), st.data())
def test_four_bytes_set_to_an_extreme_raise_nothing_else(name: str, data: st.DataObject) -> None:
    body = bytearray(VALID[name])
    at = data.draw(st.integers(0, len(body) - 4))
    body[at : at + 4] = data.draw(st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"]))
    outcome(bytes(body))

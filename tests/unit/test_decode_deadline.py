"""The deadline of one image: looked at between the steps of decoding, by a clock that is passed in."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ImageError
from pipeline.image.decode import DecodedImage, decode_stored_colours
from pipeline.ports import ImageLimits
from pipeline.types import Reason
from tests.image_files import encode
from tests.long_files import bmp_of_runs

LIMITS = ImageLimits()
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8))
# Of 100 kB and more: they are read in pieces of 64 KiB.
LONG: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}),
    "bmp": ("BMP", {}),
    "progressive jpeg, scaled": ("JPEG", {"progressive": True}),
    "tiff": ("TIFF", {}),
    "gif": ("GIF", {}),
}


def late_from(first: int, *, time_s: float = LIMITS.decode_deadline_s + 1) -> Callable[[], float]:
    """A clock whose looks, from this one on and counted from 0, show this time. Before, it shows 0."""
    looks = count()
    return lambda: 0.0 if next(looks) < first else time_s


def decode(body: bytes, now: Callable[[], float], *, target_px: int = 256) -> DecodedImage | ImageError:
    try:
        return decode_stored_colours(body, limits=LIMITS, target_px=target_px, now=now)
    except ImageError as error:
        return error


def looks_of(body: bytes, *, target_px: int) -> int:
    """How often the clock is looked at while a picture is decoded."""
    found = 0

    def now() -> float:
        nonlocal found
        found += 1
        return 0.0

    assert isinstance(decode(body, now, target_px=target_px), DecodedImage)
    return found


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
def test_every_format_has_a_deadline(format_name: str) -> None:
    body = encode(NOISE, format_name)
    late = decode(body, late_from(1))
    assert isinstance(late, ImageError)
    assert late.reason is Reason.TIMEOUT
    assert late.detail == "not decoded within 60 s of processor time"
    in_time = decode(body, late_from(1, time_s=LIMITS.decode_deadline_s))
    assert isinstance(in_time, DecodedImage)


@pytest.mark.parametrize("name", LONG)
def test_the_deadline_ends_a_picture_while_it_is_read(name: str) -> None:
    format_name, options = LONG[name]
    body = encode(NOISE, format_name, **options)
    looks = looks_of(body, target_px=16)
    assert looks >= 4  # the start, opened, the first piece, the second
    for last in range(1, looks):
        outcome = decode(body, late_from(last), target_px=16)
        assert isinstance(outcome, ImageError)
        assert outcome.reason is Reason.TIMEOUT


def test_run_lengths_are_read_in_python_and_looked_at_now_and_then() -> None:
    body = bmp_of_runs(0) + (b"\1\7" * 48 + b"\0\0") * 36
    assert 5 <= looks_of(body, target_px=16) <= 40

"""A bucket's worth of small pictures, some of them broken, and what must become of each."""

import random
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.types import Reason
from tests.image_files import encode, png_chunk

CRASH = b"pictor-test-crash"  # see crash_hook: decoding a body with this in it kills the process
HANG = b"pictor-test-hang"  # … hangs it
FAULT = b"pictor-test-fault"  # … raises an exception that nobody foresaw
SIDE_PX = 48


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """`reasons`: of the keys that cannot be indexed; all others can."""

    bodies: Mapping[str, bytes]
    reasons: Mapping[str, Reason]

    @property
    def good_keys(self) -> list[str]:
        return sorted(self.bodies.keys() - self.reasons.keys())


def make_gallery(count: int, *, broken: int, killers: int, seed: int) -> Gallery:
    """`count` objects in all, the broken ones and the killers at random places of the listing."""
    rng = random.Random(seed)
    keys = [f"in/{number:06d}.jpg" for number in range(count)]
    chosen = rng.sample(keys, broken + killers)
    bodies = {key: picture(number) for number, key in enumerate(keys)}
    reasons: dict[str, Reason] = {}
    kinds = list(_broken_kinds().items())
    for number, key in enumerate(chosen[:broken]):
        reasons[key], bodies[key] = kinds[number % len(kinds)]
    for key in chosen[broken:]:
        reasons[key], bodies[key] = Reason.WORKER_CRASH, bodies[key] + CRASH
    return Gallery(bodies=bodies, reasons=reasons)


def picture(number: int) -> bytes:
    """A JPEG of its own for every number: noise in large squares."""
    squares = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    image = Image.fromarray(squares).resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST)
    return encode(image, "JPEG", quality=80)


def _broken_kinds() -> Mapping[Reason, bytes]:
    whole = picture(0)
    return {
        Reason.EMPTY: b"",
        Reason.NOT_AN_IMAGE: b"<html>404</html>" * 20,
        Reason.TRUNCATED: whole[: len(whole) // 2],
        Reason.TOO_SMALL: encode(Image.new("RGB", (2, 2)), "PNG"),
        Reason.TOO_MANY_PIXELS: _png_of(30_000, 30_000),
        Reason.DECODE_ERROR: _png_of(64, 64).replace(
            b"\x00\x00\x00\x40", b"\x00\x00\x00\x41", 1
        ),  # wrong CRC
        Reason.UNSUPPORTED_FORMAT: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n" * 4,
    }


def _png_of(width: int, height: int) -> bytes:
    """A header that says so and a handful of pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (
        png_chunk(b"IHDR", header),
        png_chunk(b"IDAT", zlib.compress(bytes(64))),
        png_chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

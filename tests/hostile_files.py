"""Files that are cut short, lie in their header, are no image or are odd, made on the spot."""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from PIL import Image

from pipeline.demo.scenes import draw_scene
from pipeline.types import Reason
from tests.image_files import encode, raw_png

SIZE_PX = (96, 72)
SHARES_KEPT = (0.3, 0.6, 0.9)  # of a file that is cut short


@dataclass(frozen=True, kw_only=True)
class HostileFile:
    """`reasons`: it must be refused with one of these; none: it must be decoded, with `size_px` as stored."""

    name: str
    body: bytes
    reasons: frozenset[Reason] = frozenset()
    size_px: tuple[int, int] = SIZE_PX


def make_hostile_files() -> Iterator[HostileFile]:
    yield from odd_but_sound()
    yield from cut_short()
    yield from lying_headers()
    yield from no_images()


def picture(mode: str = "RGB") -> Image.Image:
    return _drawn().convert(mode)  # a copy, in whatever mode


@cache
def _drawn() -> Image.Image:
    """Drawing takes ten times as long as writing, and fifty files are of this picture."""
    return draw_scene(3).resize(SIZE_PX)


# Sound files

WHOLE: Mapping[str, Callable[[], bytes]] = {
    "baseline.jpg": lambda: encode(picture(), "JPEG"),
    "progressive.jpg": lambda: encode(picture(), "JPEG", progressive=True),
    "rgb.png": lambda: encode(picture(), "PNG"),
    "palette.gif": lambda: encode(picture("P"), "GIF"),
    "rgb.bmp": lambda: encode(picture(), "BMP"),
    "plain.tiff": lambda: encode(picture(), "TIFF"),
    "lossy.webp": lambda: encode(picture(), "WEBP"),
    "lossless.webp": lambda: encode(picture(), "WEBP", lossless=True),
    "rgb.avif": lambda: encode(picture(), "AVIF", speed=10),
}

ODD: Mapping[str, Callable[[], bytes]] = {
    "grey.jpg": lambda: encode(picture("L"), "JPEG"),
    "cmyk.jpg": lambda: encode(picture("CMYK"), "JPEG"),
    "restart-markers.jpg": lambda: encode(picture(), "JPEG", restart_marker_blocks=1),
    "behind-a-stray-byte.jpg": lambda: encode(picture(), "JPEG") + b"\0" * 1000,
    "black-and-white.png": lambda: encode(picture("1"), "PNG"),
    "grey-alpha.png": lambda: encode(picture("LA"), "PNG"),
    "rgba.png": lambda: encode(picture("RGBA"), "PNG"),
    "palette.png": lambda: encode(picture("P"), "PNG"),
    "palette-transparency.png": lambda: encode(picture("P"), "PNG", transparency=0),
    "16-bit-grey.png": lambda: raw_png(*SIZE_PX, 16, 0, bytes(range(192)) * SIZE_PX[1]),
    "animated.png": lambda: animated("PNG"),
    "animated.gif": lambda: animated("GIF"),
    "animated.webp": lambda: animated("WEBP"),
    "alpha.webp": lambda: encode(picture("RGBA"), "WEBP"),
    "grey.tiff": lambda: encode(picture("L"), "TIFF"),
    "lzw.tiff": lambda: encode(picture(), "TIFF", compression="tiff_lzw"),
    "alpha.avif": lambda: encode(picture("RGBA"), "AVIF", speed=10),
    "jpeg-called.png": lambda: encode(picture(), "JPEG"),
}


def animated(format_name: str) -> bytes:
    others = [picture().transpose(Image.Transpose.ROTATE_180)] * 2
    return encode(picture(), format_name, save_all=True, append_images=others)


def odd_but_sound() -> Iterator[HostileFile]:
    for name, make in {**WHOLE, **ODD}.items():
        yield HostileFile(name=f"sound/{name}", body=make())
    tiny = encode(Image.new("RGB", (1, 1)), "GIF")  # what pages count their readers with
    yield HostileFile(
        name="sound/pixel.gif", body=tiny, reasons=frozenset({Reason.TOO_SMALL}), size_px=(1, 1)
    )


# Files that are not what they should be


def cut_short() -> Iterator[HostileFile]:
    ends = frozenset({Reason.TRUNCATED, Reason.DECODE_ERROR})
    for name, make in WHOLE.items():
        body = make()
        for share in SHARES_KEPT:
            yield HostileFile(
                name=f"cut/{share:.0%}-{name}", body=body[: int(len(body) * share)], reasons=ends
            )


def lying_headers() -> Iterator[HostileFile]:
    """A few bytes that claim gigapixels."""
    # A JPEG may be refused for the pixels of all its scans together, before its picture is looked at.
    claims = frozenset({Reason.TOO_MANY_PIXELS, Reason.DECODE_ERROR})
    width, height = SIZE_PX
    stored = {  # how each format writes the two sides, and how a liar does
        "baseline.jpg": (struct.pack(">HH", height, width), struct.pack(">HH", 65_000, 65_000)),
        "progressive.jpg": (struct.pack(">HH", height, width), struct.pack(">HH", 65_000, 65_000)),
        "palette.gif": (struct.pack("<HH", width, height), struct.pack("<HH", 65_000, 65_000)),
        "rgb.bmp": (struct.pack("<ii", width, height), struct.pack("<ii", 40_000, 40_000)),
        "plain.tiff": (tiff_sides(width, height), tiff_sides(60_000, 60_000)),
    }
    for name, (honest, lying) in stored.items():
        body = WHOLE[name]()
        assert honest in body, name
        yield HostileFile(name=f"bomb/{name}", body=body.replace(honest, lying), reasons=claims)
    png = raw_png(60_000, 60_000, 8, 2, b"\0" * 60_000)
    yield HostileFile(name="bomb/rgb.png", body=png, reasons=frozenset({Reason.TOO_MANY_PIXELS}))


def tiff_sides(width: int, height: int) -> bytes:
    """The first two entries of a directory: both sides as one LONG each."""
    return struct.pack("<HHIIHHII", 256, 4, 1, width, 257, 4, 1, height)


def no_images() -> Iterator[HostileFile]:
    bodies = {
        "error-page.jpg": b"<html><body>404 Not Found</body></html>" * 9,
        "answer.png": b'{"error": "not found"}' * 9,
        "archive.jpg": b"PK\x03\x04" + bytes(200),
        "zeros.webp": bytes(500),
        "half-a-signature.png": b"\x89PNG",
        "riff-of-sound.webp": b"RIFF" + struct.pack("<I", 40) + b"WAVEfmt " + bytes(40),
    }
    for name, body in bodies.items():
        yield HostileFile(name=f"none/{name}", body=body, reasons=frozenset({Reason.NOT_AN_IMAGE}))
    yield HostileFile(name="none/empty.jpg", body=b"", reasons=frozenset({Reason.EMPTY}))
    layers = b"8BPS\0\1\0\0\0\0\0\0\0\3\0\0\0\x10\0\0\0\x10\0\x08\0\3" + bytes(64)
    yield HostileFile(name="none/layers.psd", body=layers, reasons=frozenset({Reason.UNSUPPORTED_FORMAT}))

"""Write a gallery: originals, edited copies of each, and files that are broken in the ways real ones are."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance

from pipeline.demo.scenes import draw_scene

Edit = Callable[[Image.Image], Image.Image]


def _crop(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    return picture.crop((width // 10, height // 12, width * 9 // 10, height * 11 // 12))


def _recolour(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(ImageEnhance.Color(picture).enhance(0.5)).enhance(1.2)


def _rotate(picture: Image.Image) -> Image.Image:
    return picture.rotate(6, resample=Image.Resampling.BICUBIC, fillcolor=(255, 255, 255))


def _shrink(picture: Image.Image) -> Image.Image:
    return picture.resize((max(16, picture.width // 3), max(16, picture.height // 3)))


def _caption(picture: Image.Image) -> Image.Image:
    copy = picture.copy()
    draw = ImageDraw.Draw(copy)
    top = copy.height * 17 // 20
    draw.rectangle((0, top, copy.width, copy.height), fill=(20, 20, 20))
    draw.text((copy.width // 20, top + copy.height // 24), "found in an object store", fill=(255, 255, 255))
    return copy


# Name of the edit → the edit and the JPEG quality of its copy.
EDITS: Mapping[str, tuple[Edit, int]] = {
    "crop": (_crop, 88),
    "recompressed": (lambda picture: picture, 12),
    "recoloured": (_recolour, 88),
    "rotated": (_rotate, 88),
    "shrunk": (_shrink, 80),
    "captioned": (_caption, 88),
}


def write_originals(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"scene-{number:03d}.jpg"
        draw_scene(number).save(path, "JPEG", quality=90)
        paths.append(path)
    return paths


def write_edits(folder: Path, originals: Mapping[str, Image.Image]) -> dict[str, str]:
    """Write an edited copy of each picture for each edit.

    Args:
        originals: RGB pictures by name. Names become file names.

    Returns:
        The name of the original by file name of its copy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    origin = {}
    for name, picture in originals.items():
        for edit, (apply, quality) in EDITS.items():
            copy = f"{name}--{edit}.jpg"
            apply(picture).save(folder / copy, "JPEG", quality=quality)
            origin[copy] = name
    return origin


def write_broken(folder: Path) -> int:
    """Write files that must each fail with a reason of its own. Returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    good = io.BytesIO()
    draw_scene(7).save(good, "JPEG", quality=90)
    broken = {
        "cut-short.jpg": good.getvalue()[: len(good.getvalue()) // 2],  # an upload that broke off
        "empty.png": b"",
        "error-page.jpg": b"<html><body>404 Not Found</body></html>",  # a proxy's answer saved as a picture
        "bomb.png": _png_header(60_000, 60_000),  # a few bytes that claim 3.6 gigapixels
        "layers.psd": b"8BPS\0\1\0\0\0\0\0\0\0\3\0\0\0\x10\0\0\0\x10\0\x08\0\3" + bytes(64),
        "pixel.gif": _tracking_pixel(),
    }
    for name, body in broken.items():
        (folder / name).write_bytes(body)
    return len(broken)


def _png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )


def _tracking_pixel() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (1, 1)).save(buffer, "GIF")
    return buffer.getvalue()

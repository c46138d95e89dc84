"""Image files for tests, made on the spot, and two ways to decode them."""

import io
import struct
import zlib
from typing import Any

import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import ImageError
from pipeline.image.decode import DecodedImage, decode_image
from pipeline.ports import ImageLimits


def encode(image: Image.Image | NDArray[Any], format_name: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(stream, format_name, **options)
    return stream.getvalue()


def heic(image: Image.Image, **options: Any) -> bytes:
    from pillow_heif import from_pillow  # of an extra

    stream = io.BytesIO()
    from_pillow(image).save(stream, enc_params={"preset": "ultrafast"}, **options)
    return stream.getvalue()


def decode(body: bytes, *, target_px: int = 256, **limits: Any) -> DecodedImage:
    return decode_image(body, limits=ImageLimits(**limits), target_px=target_px)


def refusal(body: bytes, *, target_px: int = 256, **limits: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(body, target_px=target_px, **limits)
    return caught.value


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def raw_png(width: int, height: int, bits: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    stride = len(rows) // height
    filtered = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height))
    chunks = [
        png_chunk(b"IHDR", header),
        *extra,
        png_chunk(b"IDAT", zlib.compress(filtered)),
        png_chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

"""Small pictures for pages. Any image that the pipeline can index, and nothing else, can be shown."""

import io

from PIL import Image

from pipeline.image.decode import decode_image
from pipeline.ports import ImageLimits

JPEG_QUALITY = 80  # thumbnails of 200 px: 5 to 15 KB each


def make_thumbnail(body: bytes, *, limits: ImageLimits, side_px: int) -> bytes:
    """Returns JPEG bytes, upright, neither side over `side_px`. Raises ImageError."""
    image = Image.fromarray(decode_image(body, limits=limits, target_px=side_px).rgb)
    image.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()

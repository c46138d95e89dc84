"""Small pictures of one face, upright by its eyes, so that two of them can be looked at side by side."""

import io
import math

from PIL import Image

from pipeline.image.decode import decode_image
from pipeline.image.thumbnail import JPEG_QUALITY
from pipeline.ports import ImageLimits
from pipeline.types import FaceOutline

MARGIN = 1.5  # sides of the box that the picture shows: hair and chin say something, too
OUTSIDE = (128, 128, 128)  # what lies outside of the picture is grey


def make_face_picture(body: bytes, outline: FaceOutline, *, limits: ImageLimits, side_px: int) -> bytes:
    """Returns JPEG bytes, a square of `side_px` with the face in its middle. Raises ImageError."""
    left, top, width, height = outline.share
    wanted_px = math.ceil(side_px / max(min(width, height), 1e-3))
    image = Image.fromarray(decode_image(body, limits=limits, target_px=wanted_px).rgb)
    side = MARGIN * max(width * image.width, height * image.height)
    shrunk = max(1, int(side / side_px))  # averaged before it is picked from
    image = image.reduce(shrunk) if shrunk > 1 else image
    centre = ((left + width / 2) * image.width, (top + height / 2) * image.height)
    crop = image.transform(
        (side_px, side_px),
        Image.Transform.AFFINE,
        _from_crop(centre, outline.roll, side / shrunk / side_px, side_px),
        Image.Resampling.BICUBIC,
        fillcolor=OUTSIDE,
    )
    buffer = io.BytesIO()
    crop.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _from_crop(
    centre: tuple[float, float], roll: float, scale: float, side_px: int
) -> tuple[float, float, float, float, float, float]:
    """Where a place of the crop lies in the picture, for `Image.transform`. `roll` is in degrees."""
    cosine, sine = (scale * turn(math.radians(roll)) for turn in (math.cos, math.sin))
    half = side_px / 2
    return (
        cosine,
        -sine,
        centre[0] - half * (cosine - sine),
        sine,
        cosine,
        centre[1] - half * (sine + cosine),
    )

"""One image, opened: its header is known, no pixel is decoded."""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from PIL.ImageFile import ImageFile

from pipeline.decode.av1_frame import largest_frame_px
from pipeline.decode.jpeg_header import JpegHeader, read_jpeg_header
from pipeline.decode.orientation import find_orientation
from pipeline.decode.signatures import FORMATS, identify
from pipeline.decode.structure import check_structure
from pipeline.errors import ImageError
from pipeline.types import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    image: ImageFile
    format: str  # one of FORMATS
    size: tuple[int, int]  # as stored, px; `image.size` changes when decoding is scaled
    body_bytes: int
    frame_px: int  # what the decoder will make of it; over width x height only in files that lie
    jpeg: JpegHeader | None = None

    def read_orientation(self) -> int:
        """EXIF orientation, 1 to 8. Call it after the pixels: a PNG may hold it behind them."""
        if self.jpeg is not None:
            return find_orientation(self.jpeg.exif, self.jpeg.xmp)
        return find_orientation(self.image.info.get("exif"), self.image.info.get("xmp"))


def open_source(body: bytes) -> Source:
    """Read the header.

    Raises:
        ImageError: empty, not_an_image, unsupported_format, truncated or decode_error.
        OSError, and others: Pillow cannot read the header.
    """
    if not body:
        raise ImageError(Reason.EMPTY, "0 bytes")
    found = identify(body)
    if found is None:
        raise ImageError(Reason.NOT_AN_IMAGE, f"{len(body)} bytes without the signature of an image format")
    if found not in FORMATS:
        raise ImageError(Reason.UNSUPPORTED_FORMAT, f"{found} is not one of {', '.join(FORMATS)}")
    check_structure(found, body)
    jpeg = read_jpeg_header(body) if found == "JPEG" else None
    image = Image.open(BytesIO(body if jpeg is None else jpeg.stripped), formats=[found])
    frame_px = largest_frame_px(body) if found == "AVIF" else 0
    return Source(
        image=image,
        format=found,
        size=image.size,
        body_bytes=len(body),
        frame_px=max(frame_px, image.width * image.height),
        jpeg=jpeg,
    )

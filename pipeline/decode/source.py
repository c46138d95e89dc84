"""One image, opened: its header is known, no pixel is decoded."""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from PIL.ImageFile import ImageFile

from pipeline.decode.av1_frame import largest_frame_px
from pipeline.decode.camera_raw import check_signature
from pipeline.decode.jpeg_header import JpegHeader, read_jpeg_header
from pipeline.decode.orientation import find_orientation
from pipeline.decode.png_pixels import PngPixels
from pipeline.decode.signatures import FORMATS, identify
from pipeline.decode.tiff_pixels import TiffPixels, open_tiff
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
        """EXIF orientation, 1 to 8."""
        if self.jpeg is not None:
            return find_orientation(self.jpeg.exif, self.jpeg.xmp)
        if isinstance(self.image, TiffPixels | PngPixels):
            return self.image.read_orientation()
        return find_orientation(self.image.info.get("exif"), self.image.info.get("xmp"))


def open_source(body: bytes) -> Source:
    """Read the header.

    Raises:
        ImageError: empty, not_an_image, unsupported_format, truncated or decode_error.
        OSError, and others: Pillow cannot read the header.
    """
    if not body:
        raise ImageError(Reason.EMPTY, "0 bytes")
    check_signature(body)
    found = identify(body)
    if found is None:
        raise ImageError(Reason.NOT_AN_IMAGE, f"{len(body)} bytes without the signature of an image format")
    if found not in FORMATS:
        raise ImageError(Reason.UNSUPPORTED_FORMAT, f"{found} is not one of {', '.join(FORMATS)}")
    jpeg = read_jpeg_header(body) if found == "JPEG" else None
    image = _open_image(found, body if jpeg is None else jpeg.stripped)
    frame_px = largest_frame_px(body) if found == "AVIF" else 0
    return Source(
        image=image,
        format=found,
        size=image.size,
        body_bytes=len(body),
        frame_px=max(frame_px, image.width * image.height),
        jpeg=jpeg,
    )


def _open_image(found: str, body: bytes) -> ImageFile:
    match found:
        case "PNG":
            return PngPixels(body)
        case "TIFF":
            return open_tiff(body)
        case _:
            return Image.open(BytesIO(body), formats=[found])

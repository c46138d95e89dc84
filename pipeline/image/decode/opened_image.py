"""One image, opened: its header is known, no pixel is decoded."""

from dataclasses import dataclass
from io import BytesIO
from typing import assert_never

from PIL import Image
from PIL.ImageFile import ImageFile

from pipeline.errors import ImageError
from pipeline.image.decode.animation import find_first_frame
from pipeline.image.decode.av1_frame import largest_frame_px
from pipeline.image.decode.bmp_header import check_bmp
from pipeline.image.decode.camera_raw import check_signature
from pipeline.image.decode.gif_header import check_gif
from pipeline.image.decode.heif_pixels import HeifPixels
from pipeline.image.decode.item_transforms import Box, Transforms, check_kind, read_transforms
from pipeline.image.decode.jpeg_header import JpegHeader, read_jpeg_header
from pipeline.image.decode.orientation import find_orientation
from pipeline.image.decode.png_header import read_png_header
from pipeline.image.decode.png_pixels import PngPixels
from pipeline.image.decode.profile import Conversion, find_conversion
from pipeline.image.decode.signatures import FORMATS, Kind, identify
from pipeline.image.decode.tiff_pixels import TiffPixels, open_tiff
from pipeline.image.decode.work import Work
from pipeline.types import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedImage:
    image: ImageFile
    format: str  # one of FORMATS
    size: tuple[int, int]  # as stored, px; `image.size` changes when decoding is scaled
    body_bytes: int
    work: Work  # its account
    frame_px: int  # pixels that the decoder will make; over width x height only in files that lie
    jpeg: JpegHeader | None = None
    transforms: Transforms | None = None  # AVIF: they stand in the place of EXIF
    first_frame: Box | None = None  # of an animation. Pixels around it are transparent

    def find_conversion(self) -> Conversion | None:
        """Of the decoded colours to sRGB."""
        profile = self.jpeg.profile if self.jpeg is not None else self.image.info.get("icc_profile")
        return find_conversion(profile, self.image.mode)

    @property
    def window(self) -> Box:
        """The part of the stored picture that is shown."""
        whole = (0, 0, *self.size)
        return whole if self.transforms is None else self.transforms.window or whole

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height of `window`, the stored way round, px."""
        left, top, right, bottom = self.window
        return right - left, bottom - top

    def read_orientation(self) -> int:
        """EXIF orientation, 1 to 8."""
        if self.jpeg is not None:
            return find_orientation(self.jpeg.exif, self.jpeg.xmp)
        if isinstance(self.image, TiffPixels | PngPixels):
            return self.image.read_orientation()
        if self.transforms is not None:
            return self.transforms.orientation
        if isinstance(self.image, HeifPixels):
            return 1  # libheif has undone it
        return find_orientation(self.image.info.get("exif"), self.image.info.get("xmp"))


def open_image(body: bytes, work: Work) -> OpenedImage:
    """Read the header.

    Raises:
        ImageError: empty, not_an_image, unsupported_format, truncated or decode_error.
        OSError, and others: Pillow cannot read the header.
    """
    if not body:
        raise ImageError(Reason.EMPTY, "0 bytes")
    check_signature(body)
    found = _name_format(body)
    match found:
        case "BMP":
            check_bmp(body)
        case "GIF":
            check_gif(body, work)
        case "AVIF":
            check_kind(body, work)
    frame_px = largest_frame_px(body, work) if found == "AVIF" else 0
    jpeg = read_jpeg_header(body, work) if found == "JPEG" else None
    image = _open_image(found, body if jpeg is None else jpeg.stripped, work)
    frame_px = image.frames.px if isinstance(image, HeifPixels) else frame_px
    return OpenedImage(
        image=image,
        format=found,
        size=image.size,
        body_bytes=len(body),
        work=work,
        frame_px=max(frame_px, image.width * image.height),
        jpeg=jpeg,
        transforms=read_transforms(body, image.size, work) if found == "AVIF" else None,
        first_frame=find_first_frame(image, body),
    )


def _open_image(found: str, body: bytes, work: Work) -> ImageFile:
    match found:
        case "PNG":
            return PngPixels(read_png_header(body, work))
        case "TIFF":
            return open_tiff(body, work)
        case "HEIF":
            return HeifPixels(body, work)
        case _:
            return Image.open(BytesIO(body), formats=[found])


def _name_format(body: bytes) -> str:
    """One of FORMATS. Raises ImageError (not_an_image, unsupported_format)."""
    signature = identify(body)
    if signature is None:
        raise ImageError(Reason.NOT_AN_IMAGE, f"{len(body)} bytes without the signature of an image format")
    match signature.kind:
        case Kind.DECODED:
            return signature.name
        case Kind.IMAGE:
            words = f"{signature.name} is not one of {', '.join(FORMATS)}"
            raise ImageError(Reason.UNSUPPORTED_FORMAT, words)
        case Kind.OTHER:
            raise ImageError(Reason.NOT_AN_IMAGE, f"{len(body)} bytes that are {signature.name}")
        case _:
            assert_never(signature.kind)

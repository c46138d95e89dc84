"""Bytes of one image in, upright RGB pixels out, in bounded memory.

The header is read and judged before a pixel is allocated: `max_px`, `min_side_px`, and what this format and
colour mode need at their peak against `decode_budget_bytes`. With the default limits (100 Mpx, 224 MiB) and a
small file that allows:

    format                                      bytes a pixel at the peak     largest image
    JPEG, scaled while it is decoded            0.1 to 1.8                    100 Mpx
    JPEG, too narrow to be scaled               7                              32 Mpx
    JPEG, progressive or scan by scan, 4:2:0    3 more                         70 Mpx
    JPEG, progressive or scan by scan, 4:4:4    6 more                         36 Mpx
    PNG, GIF, BMP: grey, palette, 1 bit         1 (BMP of run lengths: 4)     100 Mpx (16 Mpx)
    PNG: 16-bit grey                            2                             100 Mpx
    PNG, BMP: colour, alpha, CMYK               4                              56 Mpx
    PNG: RGB of 16 bits with a colour key       9                              25 Mpx
    TIFF in strips or tiles                     4                              56 Mpx
    TIFF of one compressed strip                12 to 16                       19 to 14 Mpx
    WebP                                        16.5                           13 Mpx
    AVIF                                        17                             13 Mpx
    HEIF of phones: 4:2:0, 8 or 10 bits         8, 16                          28 Mpx, 14 Mpx

The bytes of the file count too, for JPEG and WebP twice.

Images whose shorter side is several times the model's input are reduced while they are read: JPEG by the
decoder itself (DCT scaling), the rest by box averages, strip by strip. Colours of an embedded profile become
sRGB afterwards, when there are few of them. Only the first frame or page is read.
Files that Pillow refuses to decode, in whole or in part, are refused here too.

Time is bounded like memory (`work`): no parser here does more than the size of the file allows, scans, frames
and tiles are counted before they are decoded, and between steps `decode_deadline_s` is looked at.

libjpeg (through torchvision) and libtiff print a line on stderr about damage that they find inside the pixel
data; nothing else does, and no line names the object.
"""

import struct
import time
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, cast

from PIL import AvifImagePlugin, Image
from PIL.ImageFile import ImageFile

from pipeline.errors import ImageError
from pipeline.image.decode.aspect import cut_to_aspect
from pipeline.image.decode.bmp_header import fill_unused_alpha
from pipeline.image.decode.colour import read_strips
from pipeline.image.decode.cuda_jpeg import JpegBatcher, PlanesImage, batcher_on, decode_ordinary
from pipeline.image.decode.failures import to_image_error
from pipeline.image.decode.jpeg import decode_jpeg
from pipeline.image.decode.jpeg_end import decode_without_end
from pipeline.image.decode.levels import AS_DECODED
from pipeline.image.decode.memory import choose_goal
from pipeline.image.decode.opened_image import OpenedImage, open_image
from pipeline.image.decode.orientation import turn_upright
from pipeline.image.decode.profile import Conversion
from pipeline.image.decode.tiff_pixels import TiffPixels
from pipeline.image.decode.work import TimedFile, Work
from pipeline.ports import ImageLimits
from pipeline.types import Pixels, Reason

__all__ = ["DecodedImage", "PlanesImage", "decode_image", "decode_on_gpu", "decode_stored_colours"]

# Process-wide settings of Pillow, made once at import so that threads never race for them.
Image.MAX_IMAGE_PIXELS = None  # we judge the header ourselves, by bytes; Pillow's check warns or raises
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # decoding runs in our own threads already, each image on one core
warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata of single images is no news to an operator

# Every family of exception seen from decoders on hostile bytes; ImageError is none of them.
DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedImage:
    """`width` and `height` are those of the upright original; `rgb` may be smaller by a whole factor."""

    rgb: Pixels  # [H, W, 3], contiguous
    width: int  # px
    height: int
    conversion: Conversion | None = None  # of colours that are not sRGB yet


def decode_image(body: bytes, *, limits: ImageLimits, target_px: int) -> DecodedImage:
    """Decode one image. Safe to call from many threads. The GIL is released while pixels are decoded.

    Args:
        limits: `max_px`, `min_side_px`, `decode_budget_bytes` and `decode_deadline_s` are read.
        target_px: the shorter side that the model's preprocessing resizes to.

    Raises:
        ImageError: empty, not_an_image, unsupported_format, truncated, too_many_pixels, too_small,
            decode_error, timeout or out_of_memory. Nothing else is raised, whatever the bytes.
    """
    image = decode_stored_colours(body, limits=limits, target_px=target_px)
    if image.conversion is None:
        return image
    return replace(image, rgb=image.conversion.convert(image.rgb), conversion=None)


def decode_stored_colours(
    body: bytes, *, limits: ImageLimits, target_px: int, now: Callable[[], float] = time.thread_time
) -> DecodedImage:
    """The same as `decode_image`, for who makes the image much smaller and converts the few pixels left.

    Args:
        now: the clock of the deadline, seconds. The default leaves out other threads and programs.
    """
    work = Work(len(body), deadline_s=limits.decode_deadline_s, now=now)
    try:
        opened = open_image(body, work)
        work.check_time()
        goal_px = choose_goal(opened, limits, target_px)
        return _decode(opened, goal_px=goal_px, target_px=target_px)
    except DECODER_ERRORS as err:
        raise to_image_error(err, body) from err


def decode_on_gpu(
    body: bytes, *, limits: ImageLimits, target_px: int, device: str, batcher: JpegBatcher | None = None
) -> PlanesImage | None:
    """Decode an ordinary JPEG on a device.

    Args:
        device: `cuda:N`.
        batcher: default, the one of that device.

    Returns:
        None when `decode_image` is to be asked.

    Raises:
        ImageError: over a limit, or not an image, as `decode_image` would say.
        ConfigError: the device is not there.
    """
    batcher = batcher or batcher_on(device)
    try:
        opened = open_image(body, Work(len(body)))
        return decode_ordinary(opened, batcher, goal_px=choose_goal(opened, limits, target_px))
    except DECODER_ERRORS:
        return None


def _decode(opened: OpenedImage, *, goal_px: int, target_px: int) -> DecodedImage:
    width, height = opened.shown_size
    conversion = opened.find_conversion()
    rgb = decode_jpeg(opened, goal_px=goal_px)
    if rgb is None:
        opened.work.check_time()  # the fast decoder may have given up at the end of the picture
        rgb = cut_to_aspect(_decode_with_pillow(opened, goal_px=goal_px), opened.shown_size, target_px)
    orientation = opened.read_orientation()
    if orientation >= 5:  # the turns by a quarter
        width, height = height, width
    upright = turn_upright(rgb, orientation)
    if conversion is not None and conversion.mode == "CMYK":
        conversion = None  # done: inks are converted while they are read
    return DecodedImage(rgb=upright, width=width, height=height, conversion=conversion)


def _decode_with_pillow(opened: OpenedImage, *, goal_px: int) -> Pixels:
    if opened.jpeg is None:
        return _read(opened.image, opened, goal_px=goal_px)
    try:
        if opened.jpeg.has_end_marker:
            return _read(opened.image, opened, goal_px=goal_px)
        return decode_without_end(opened.jpeg.stripped, lambda image: _read(image, opened, goal_px=goal_px))
    except DECODER_ERRORS as err:
        error = to_image_error(err, b"")
        if opened.jpeg.rare and error.reason is Reason.DECODE_ERROR:
            words = f"a kind of {opened.jpeg.rare} JPEG that is not decoded"
            raise ImageError(Reason.UNSUPPORTED_FORMAT, words) from err
        raise


def _read(image: ImageFile, opened: OpenedImage, *, goal_px: int) -> Pixels:
    if opened.jpeg is not None and not opened.jpeg.is_lossless:
        image.draft(None, (goal_px, goal_px))  # the decoder delivers 1/2, 1/4 or 1/8, never under goal
    if image.fp is not None:
        image.fp = cast(IO[bytes], TimedFile(image.fp, opened.work))
    image.load()
    opened.work.check_time()
    if opened.format == "BMP" and image.mode == "RGBA":
        fill_unused_alpha(image)
    window = opened.window if opened.transforms is not None else (0, 0, *image.size)
    factor = max(1, min(window[2] - window[0], window[3] - window[1]) // goal_px)
    conversion = opened.find_conversion()
    if image.mode == "CMYK" and conversion is not None:
        rgb = conversion.read_inks(image, factor=factor)
    else:
        levels = image.variant.levels if isinstance(image, TiffPixels) else AS_DECODED
        rgb = read_strips(image, levels, factor=factor, window=window, filled=opened.first_frame)
    image.close()  # its pixels must not stand beside the upright copy
    return rgb

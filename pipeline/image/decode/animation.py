"""The first frame of an animation need not fill its canvas. Pixels around it are transparent."""

from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline.image.decode.item_transforms import Box

_ANIMATED = 0x02  # a flag of the header chunk


def find_first_frame(image: ImageFile, body: bytes) -> Box | None:
    """Where the first frame of an opened GIF lies. None where it fills the canvas, and for other formats.

    The alpha of an animated WebP is switched on. libwebp lays each frame on a transparent canvas, but files
    whose frames are all opaque say that they have no alpha, and Pillow takes their word.
    """
    match image:
        case GifImageFile() if image.tile and image.tile[0].extents != (0, 0, *image.size):
            return image.tile[0].extents
        case WebPImageFile() if body[12:16] == b"VP8X" and body[20] & _ANIMATED:
            image.rawmode = image._mode = "RGBA"
    return None

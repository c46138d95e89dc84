"""HEIF and HEIC through libheif, where pillow-heif is installed (`pictor[heif]`).

libheif undoes turns, mirrors and the clean aperture by itself, and EXIF repeats what it undid: nothing is
done twice. The pixels stay where libheif put them, and are read in strips.
"""

from functools import cache
from io import BytesIO
from types import ModuleType
from typing import Any

from PIL import Image, ImageFile

from pipeline.errors import ImageError
from pipeline.image.decode.hevc_frame import Frames, read_frames
from pipeline.image.decode.work import Work
from pipeline.types import Reason


class HeifPixels(ImageFile.ImageFile):
    """The primary image.

    Raises:
        ImageError: unsupported_format, or decode_error for directories of absurd size.
        ValueError: libheif cannot read the directory, and later the pixels.
    """

    format = "HEIF"

    def __init__(self, body: bytes, work: Work) -> None:
        self.frames: Frames = read_frames(body, work)
        self._file = _open(_library(), body)
        self._pixels: memoryview | None = None
        super().__init__(BytesIO())

    def _open(self) -> None:
        self._primary = self._file[self._file.primary_index]
        self._size = self._primary.size
        self._mode = self._primary.mode
        profile = self._primary.info.get("icc_profile")
        if profile:
            self.info["icc_profile"] = bytes(profile)
        self.tile = []

    def load(self) -> Any:
        if self._pixels is None:
            self._pixels = memoryview(self._primary.data)
            if self._primary.size != self._size:
                raise ValueError("the picture has another size than its header says")

    def crop(self, box: Any = None) -> Image.Image:
        """Copies no more than the rows of the box."""
        assert self._pixels is not None
        left, top, right, bottom = box
        stride = self._primary.stride
        rows = self._pixels[top * stride : bottom * stride]
        strip = Image.frombytes(self.mode, (self.width, bottom - top), rows, "raw", self.mode, stride)
        return strip.crop((left, 0, right, bottom - top))

    def close(self) -> None:
        self._pixels = None
        self._primary = self._file = None
        super().close()


@cache
def _library() -> ModuleType:
    try:
        import pillow_heif
    except ImportError as err:
        words = "HEIF is not decoded without pillow-heif; install pictor[heif]"
        raise ImageError(Reason.UNSUPPORTED_FORMAT, words) from err
    pillow_heif.options.DECODE_THREADS = 1  # decoding runs in our own threads already
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.DEPTH_IMAGES = False
    pillow_heif.options.AUX_IMAGES = False
    return pillow_heif


def _open(library: ModuleType, body: bytes) -> Any:
    try:
        found = library.open_heif(body)
    except (ValueError, RuntimeError) as err:
        if "nsupported" in str(err):
            raise ImageError(
                Reason.UNSUPPORTED_FORMAT, "a kind of HEIF that libheif does not decode"
            ) from err
        if b"moov" in body and b"pitm" not in body:
            raise ImageError(Reason.UNSUPPORTED_FORMAT, "a HEIF sequence without a still picture") from err
        raise
    if not len(found):
        raise ImageError(Reason.UNSUPPORTED_FORMAT, "a HEIF without a picture that libheif decodes")
    return found

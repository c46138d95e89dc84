"""The one place where a decoder's exception becomes a closed reason and our own words."""

from PIL import Image, UnidentifiedImageError

from pipeline.errors import ImageError
from pipeline.image.decode.boxes import MAX_BOXES
from pipeline.types import Reason


def to_image_error(err: Exception, body: bytes) -> ImageError:
    """Decoders say "truncated" and "unsupported" only in their text. It is read here and stored nowhere."""
    text = str(err).lower()
    match err:
        case MemoryError():
            return ImageError(Reason.OUT_OF_MEMORY, "decoding needed more memory than there was")
        case Image.DecompressionBombError():
            return ImageError(Reason.TOO_MANY_PIXELS, "the decoder found more pixels than it may hold")
        case _ if "truncated" in text or isinstance(err, EOFError) or _is_cut_off(body):
            return ImageError(Reason.TRUNCATED, "the data ends before the picture does")
        case _ if text.startswith("unsupported") or isinstance(err, NotImplementedError):
            return ImageError(Reason.UNSUPPORTED_FORMAT, "a variant of the format that cannot be decoded")
        case UnidentifiedImageError():
            return ImageError(Reason.DECODE_ERROR, "the header is damaged or of an unknown variant")
        case _:
            return ImageError(Reason.DECODE_ERROR, "the decoder gave up on damaged data")


def _is_cut_off(body: bytes) -> bool:
    """WebP and AVIF decoders do not say why they fail, but their containers say how long they are."""
    if body.startswith(b"RIFF"):
        return int.from_bytes(body[4:8], "little") + 8 > len(body)
    if body[4:8] != b"ftyp":
        return False
    offset = 0
    for _ in range(MAX_BOXES):
        if offset + 8 > len(body):
            return offset > len(body)
        box_bytes = int.from_bytes(body[offset : offset + 4], "big")
        if box_bytes < 8:  # 0: to the end of the file, 1: a 64-bit length, which no still image needs
            return False
        offset += box_bytes
    return False

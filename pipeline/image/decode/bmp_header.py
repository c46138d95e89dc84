"""Which kinds of BMP are decoded, told from the header.

Pillow reads them all but one right: a channel of alpha that is zero throughout is an unused channel, which
viewers show opaque.
"""

import struct

from PIL import Image

from pipeline.errors import ImageError
from pipeline.types import Reason

_WINDOWS_HEADERS = frozenset({12, 40, 52, 56, 108, 124})
_OS2_HEADER = 64
_HEADERS = _WINDOWS_HEADERS | {_OS2_HEADER}
_RAW, _RLE8, _RLE4, _MASKS = 0, 1, 2, 3
_COMPRESSIONS = {4: "JPEG inside", 5: "PNG inside", 6: "masks with alpha", 11: "CMYK", 12: "CMYK", 13: "CMYK"}
_OS2_COMPRESSIONS = {3: "Huffman codes", 4: "run lengths of 24 bits"}
_BITS = {_RAW: (1, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,), _MASKS: (16, 24, 32)}
# Red, green, blue and alpha; of 16 and 24 bits, alpha is not looked at.
_KNOWN_MASKS: dict[int, set[tuple[int, ...]]] = {
    16: {(0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)},
    24: {(0xFF0000, 0xFF00, 0xFF)},
    32: {
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0),
        (0xFF000000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
        (0, 0, 0, 0),
    },
}
_MASKS_AT = 54
_CHECKED_PX = 1 << 19  # 2 MiB; the rows of a narrow picture may be millions


def check_bmp(body: bytes) -> None:
    """Raises ImageError(unsupported_format), with words, for a kind of BMP that is not decoded."""
    (header_bytes,) = struct.unpack_from("<I", body, 14)
    if header_bytes not in _HEADERS:
        raise _unsupported(f"with a header of {header_bytes} bytes")
    if header_bytes == 12 or len(body) < 34:
        bits, compression = _number(body, 24), _RAW
    else:
        bits, compression = _number(body, 28), int.from_bytes(body[30:34], "little")
    if header_bytes == _OS2_HEADER and compression in _OS2_COMPRESSIONS:
        raise _unsupported(f"with {_OS2_COMPRESSIONS[compression]}")
    if compression not in _BITS:
        raise _unsupported(f"with {_COMPRESSIONS.get(compression, f'compression {compression}')}")
    if bits not in _BITS[compression]:
        raise _unsupported(f"of {bits} bits a pixel and compression {compression}")
    if compression == _MASKS:
        _check_masks(body, bits, has_alpha=header_bytes >= 56)


def _check_masks(body: bytes, bits: int, *, has_alpha: bool) -> None:
    masks: tuple[int, ...] = struct.unpack_from("<4I", body.ljust(_MASKS_AT + 16, b"\0"), _MASKS_AT)
    if not has_alpha:
        masks = (*masks[:3], 0)
    if masks[: 4 if bits == 32 else 3] not in _KNOWN_MASKS[bits]:
        raise _unsupported(f"with the masks {', '.join(f'{mask:x}' for mask in masks)}")


def fill_unused_alpha(image: Image.Image) -> None:
    """Make a loaded image opaque where no pixel of it has any alpha."""
    rows = max(1, _CHECKED_PX // image.width)
    for top in range(0, image.height, rows):  # in parts, so that no copy of it all is made
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if strip.getchannel("A").getextrema() != (0, 0):
            return
    image.putalpha(255)


def _number(body: bytes, at: int) -> int:
    return int.from_bytes(body[at : at + 2], "little")


def _unsupported(what: str) -> ImageError:
    return ImageError(Reason.UNSUPPORTED_FORMAT, f"a BMP {what}")

"""Pixels of a PNG file through Pillow, which is shown only the chunks that hold them."""

import io
from bisect import bisect_right
from itertools import accumulate
from typing import IO, Any, cast

import numpy as np
from PIL import Image, PngImagePlugin

from pipeline.image.decode.orientation import find_orientation
from pipeline.image.decode.png_header import PngHeader

_STRIP_PX = 1 << 19


class SlicedBody(io.RawIOBase):
    """Parts of a file, read as if one lay behind the other. Nothing is copied before it is read."""

    def __init__(self, body: bytes, parts: tuple[tuple[int, int], ...]) -> None:
        self._body = memoryview(body)
        self._parts = [(start, min(stop, len(body))) for start, stop in parts]
        self._ends = list(accumulate(stop - start for start, stop in self._parts))
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._ends[-1] - self._at if size is None or size < 0 else size
        found = []
        number = bisect_right(self._ends, self._at)
        while wanted > 0 and number < len(self._parts):
            start = self._parts[number][1] - (self._ends[number] - self._at)
            piece = self._body[start : min(self._parts[number][1], start + wanted)]
            found.append(piece)
            wanted -= len(piece)
            self._at += len(piece)
            number += 1
        return b"".join(found)


class PngPixels(PngImagePlugin.PngImageFile):
    """Pillow's image, with transparency and profile as our own reading of the header has them.

    Raises:
        SyntaxError: Pillow cannot read the chunks that hold the pixels.
    """

    def __init__(self, header: PngHeader) -> None:
        self.header = header
        super().__init__(cast(IO[bytes], SlicedBody(header.body, header.parts)))
        found = {"transparency": _find_transparency(self.header), "icc_profile": self.header.icc_profile}
        self.info.update({name: value for name, value in found.items() if value is not None})

    @property
    def has_wide_key(self) -> bool:
        """A transparent colour of three times 16 bits. Pillow keeps the upper bytes alone."""
        return self.header.key is not None and self.header.colour_type == 2 and self.header.bits == 16

    def read_orientation(self) -> int:
        return find_orientation(self.header.exif, self.header.xmp)

    def load(self) -> Any:
        is_first = bool(self.tile)
        access = super().load()
        if is_first and self.has_wide_key:
            self._lay_key()
        return access

    def _lay_key(self) -> None:
        """Make an alpha that is 0 where all 48 bits are those of the key. The lower bytes are decoded now."""
        upper_key, lower_key = (
            [value >> shift & 0xFF for value in self.header.key or ()] for shift in (8, 0)
        )
        lower = _LowerBytes(self.header)
        lower.load()
        alpha = Image.new("L", self.size)
        rows = max(1, _STRIP_PX // self.width)
        for top in range(0, self.height, rows):
            box = (0, top, self.width, min(top + rows, self.height))
            is_key = (np.asarray(self.crop(box)) == upper_key) & (np.asarray(lower.crop(box)) == lower_key)
            alpha.paste(Image.fromarray(np.where(is_key.all(axis=2), 0, 255).astype(np.uint8)), box)
        lower.close()
        self.putalpha(alpha)


class _LowerBytes(PngPixels):
    """The lower bytes of samples of 16 bits, which Pillow drops."""

    has_wide_key = False

    def __init__(self, header: PngHeader) -> None:
        super().__init__(header)
        # The name of samples in the other byte order. Pillow takes the lower byte for the upper one.
        self.tile = [tile._replace(args="RGB;16L") for tile in self.tile]


def _find_transparency(header: PngHeader) -> object:
    """As Pillow wants it: in the values that it decodes to. None for a wide key, which it cannot compare."""
    if header.palette_alpha is not None or header.key is None:
        return header.palette_alpha
    if header.colour_type == 2:
        return header.key if header.bits == 8 else None
    (grey,) = header.key
    return grey if header.bits == 16 else grey * 255 // ((1 << header.bits) - 1)

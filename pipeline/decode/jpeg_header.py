"""The segments of a JPEG before its first scan, read the way libjpeg reads them.

Pillow keeps a Python object for each metadata segment, so that a few megabytes of empty ones cost gigabytes,
and it parses EXIF on opening. Decoders therefore get a copy that holds nothing but what decoding needs.
"""

from dataclasses import dataclass

from pipeline.errors import ImageError
from pipeline.types import Reason

MAX_SEGMENTS = 4096  # a camera writes some twenty, a large colour profile some hundred
MAX_SCANNED_PX = 2_000_000_000  # scans x pixels, about 10 s of a core; a usual progressive file has ten scans

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # tables and reserved codes lie in between
_SOS, _EXIF, _COMMENT = 0xDA, 0xE1, 0xFE
_STANDALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # no length follows
_KEPT_APPS = frozenset({0xE0, 0xEE})  # JFIF and Adobe decide the colour space
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"


@dataclass(frozen=True, kw_only=True, slots=True)
class JpegHeader:
    size: tuple[int, int]  # px
    components: tuple[tuple[int, int], ...]  # horizontal and vertical sampling of each
    buffered: bool  # several scans: libjpeg holds the coefficients of the whole image
    exif: bytes
    xmp: bytes
    stripped: bytes  # the file without metadata

    @property
    def coefficient_bytes(self) -> int:
        """What libjpeg allocates, and clears, for an image of several scans."""
        if not self.buffered:
            return 0
        widest = max(h for h, _ in self.components)
        tallest = max(v for _, v in self.components)
        units = -(-self.size[0] // (8 * widest)) * -(-self.size[1] // (8 * tallest))
        return units * sum(h * v for h, v in self.components) * 64 * 2  # 64 coefficients of 2 bytes a block


def read_jpeg_header(body: bytes) -> JpegHeader:
    """Walk to the first scan.

    Raises:
        ImageError: truncated (no scan before the end), or decode_error (no frame, too many segments, more
            scans than any honest encoder writes).
    """
    kept = [body[:2]]
    exif: list[bytes] = []
    xmp = b""
    frame = b""
    offset = 2
    for _ in range(MAX_SEGMENTS):
        marker, start, end = _next_segment(body, offset)
        offset = end
        if marker == _EXIF:
            if body.startswith(b"Exif\0\0", start + 4):
                exif.append(body[start + 10 : end])
            elif body.startswith(_XMP_HEAD, start + 4):
                xmp = body[start + 4 + len(_XMP_HEAD) : end]
        if marker in _SOF:
            frame = body[start:end]
        if not (0xE0 <= marker <= 0xEF or marker == _COMMENT) or marker in _KEPT_APPS:
            kept.append(body[start:end])
        if marker == _SOS:
            stripped = b"".join([*kept, memoryview(body)[end:]])
            return _build_header(frame, body, start, exif=b"".join(exif), xmp=xmp, stripped=stripped)
    raise ImageError(Reason.DECODE_ERROR, f"more than {MAX_SEGMENTS} segments before the first scan")


def _next_segment(body: bytes, offset: int) -> tuple[int, int, int]:
    """Marker code, start and end of the next segment; stray bytes before it are skipped, as libjpeg does."""
    while True:
        offset = body.find(b"\xff", offset)
        if offset < 0 or offset + 1 >= len(body):
            raise _truncated(body)
        marker = body[offset + 1]
        if marker == 0xFF:  # fill
            offset += 1
        elif marker == 0:  # a stuffed byte: data, not a marker
            offset += 2
        else:
            break
    if marker in _STANDALONE:
        return marker, offset, offset + 2
    end = offset + 2 + int.from_bytes(body[offset + 2 : offset + 4], "big")
    if end > len(body):
        raise _truncated(body)
    return marker, offset, max(end, offset + 4)


def _build_header(
    frame: bytes, body: bytes, scan_start: int, *, exif: bytes, xmp: bytes, stripped: bytes
) -> JpegHeader:
    if len(frame) < 10 or len(frame) < 10 + 3 * frame[9]:
        raise ImageError(Reason.DECODE_ERROR, "no usable frame header before the first scan")
    size = int.from_bytes(frame[7:9], "big"), int.from_bytes(frame[5:7], "big")
    components = tuple((frame[at] >> 4, frame[at] & 15) for at in range(11, 10 + 3 * frame[9], 3))
    if not components or not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in components):
        raise ImageError(Reason.DECODE_ERROR, "a frame header with impossible sampling factors")
    progressive = frame[1] in (0xC2, 0xC6, 0xCA, 0xCE)
    buffered = progressive or body[scan_start + 4 : scan_start + 5] < bytes([len(components)])
    # Within scans an FF is followed by 00, so this is exact. Of a plain file, only the first scan is read.
    scans = body.count(b"\xff\xda", scan_start) if buffered else 1
    if scans * size[0] * size[1] > MAX_SCANNED_PX:
        raise ImageError(
            Reason.DECODE_ERROR,
            f"{scans} scans of {size[0]}x{size[1]} are over {MAX_SCANNED_PX} px to read",
        )
    return JpegHeader(
        size=size,
        components=components,
        buffered=buffered,
        exif=exif,
        xmp=xmp,
        stripped=stripped,
    )


def _truncated(body: bytes) -> ImageError:
    return ImageError(Reason.TRUNCATED, f"{len(body)} bytes end before the first scan")

"""The segments of a JPEG before its first scan, read the way libjpeg reads them.

Pillow keeps a Python object for each metadata segment, so that a few megabytes of empty ones cost gigabytes,
and it parses EXIF on opening. Decoders therefore get a copy that only holds the parts that decoding needs.
"""

import re
from dataclasses import dataclass

from pipeline.errors import ImageError
from pipeline.image.decode.jpeg_scans import END, find_scans
from pipeline.image.decode.profile import MAX_PROFILE_BYTES
from pipeline.image.decode.work import Work
from pipeline.types import Reason

MAX_SEGMENTS = 4096  # a camera writes some twenty, a large colour profile some hundred
MAX_SCANNED_PX = 2_000_000_000  # scans x pixels, about 10 s of a core; a usual progressive file has ten scans

_MARKER = re.compile(rb"\xff[^\x00\xff]")  # FF before FF is fill, and before 00 it is data
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # tables and reserved codes lie in between
# Kinds that not every libjpeg knows, or not with all of their options.
_RARE = {0xC3: "lossless", 0xC9: "arithmetic", 0xCA: "arithmetic"}
_DECODED = frozenset({0xC0, 0xC1, 0xC2, *_RARE})  # sequential, progressive
_SOS, _EXIF, _PROFILE, _COMMENT, _HIERARCHICAL = 0xDA, 0xE1, 0xE2, 0xFE, 0xDE
_STANDALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # no length follows
_KEPT_APPS = frozenset({0xE0, 0xEE})  # JFIF and Adobe decide the colour space
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_PROFILE_HEAD = b"ICC_PROFILE\0"  # then the piece's number and how many there are, from 1


@dataclass(frozen=True, kw_only=True, slots=True)
class JpegHeader:
    size: tuple[int, int]  # px
    components: tuple[tuple[int, int], ...]  # horizontal and vertical sampling of each
    buffered: bool  # several scans: libjpeg holds the coefficients of the whole image
    rare: str  # "lossless" or "arithmetic", which may not be decoded; else ""
    exif: bytes
    xmp: bytes
    profile: bytes  # the ICC profile; empty where there is none, or a piece of it is missing
    stripped: bytes  # the picture without metadata, and without bytes behind its end marker
    has_end_marker: bool

    @property
    def coefficient_bytes(self) -> int:
        """The bytes that libjpeg allocates and clears for an image of several scans."""
        if not self.buffered:
            return 0
        widest = max(h for h, _ in self.components)
        tallest = max(v for _, v in self.components)
        units = -(-self.size[0] // (8 * widest)) * -(-self.size[1] // (8 * tallest))
        coefficient_bytes = 4 if self.is_lossless else 2
        return units * sum(h * v for h, v in self.components) * 64 * coefficient_bytes  # 64 in a block

    @property
    def is_lossless(self) -> bool:
        """Such a picture cannot be scaled while it is decoded."""
        return self.rare == "lossless"


def read_jpeg_header(body: bytes, work: Work) -> JpegHeader:
    """Walk to the first scan, and look for the end of the picture.

    Raises:
        ImageError: truncated (no scan before the end, or scans are missing), unsupported_format (a kind of
            JPEG that is not decoded), or decode_error (no frame, too many segments, more scans than an
            encoder writes).
    """
    kept = [body[:2]]
    exif: list[bytes] = []
    profile: dict[int, memoryview] = {}
    xmp = b""
    frame = b""
    offset = 2
    for _ in range(MAX_SEGMENTS):
        work.step()
        marker, start, end = _next_segment(body, offset)
        offset = end
        if marker == _EXIF:
            if body.startswith(b"Exif\0\0", start + 4):
                exif.append(body[start + 10 : end])
            elif body.startswith(_XMP_HEAD, start + 4):
                xmp = body[start + 4 + len(_XMP_HEAD) : end]
        if marker == _PROFILE and body.startswith(_PROFILE_HEAD, start + 4):
            profile[body[start + 16]] = memoryview(body)[start + 18 : end]
        if marker in _SOF or marker == _HIERARCHICAL:
            frame = frame or body[start:end]
        if not (0xE0 <= marker <= 0xEF or marker == _COMMENT) or marker in _KEPT_APPS:
            kept.append(body[start:end])
        if marker == _SOS:
            return _build_header(
                frame, body, start, kept=kept, exif=exif, xmp=xmp, profile=profile, work=work
            )
    raise ImageError(Reason.DECODE_ERROR, f"more than {MAX_SEGMENTS} segments before the first scan")


def _next_segment(body: bytes, offset: int) -> tuple[int, int, int]:
    """Marker code, start and end of the next segment; stray bytes before it are skipped, as libjpeg does."""
    found = _MARKER.search(body, offset)
    if found is None:
        raise _truncated(body)
    marker, offset = found[0][1], found.start()
    if marker in _STANDALONE:
        return marker, offset, offset + 2
    end = offset + 2 + int.from_bytes(body[offset + 2 : offset + 4], "big")
    if end > len(body):
        raise _truncated(body)
    return marker, offset, max(end, offset + 4)


def _build_header(
    frame: bytes,
    body: bytes,
    first_scan: int,
    *,
    kept: list[bytes],
    exif: list[bytes],
    xmp: bytes,
    profile: dict[int, memoryview],
    work: Work,
) -> JpegHeader:
    size, components = _read_frame(frame)
    progressive = frame[1] in (0xC2, 0xCA)
    buffered = progressive or body[first_scan + 4 : first_scan + 5] < bytes([len(components)])
    scans = find_scans(body, first_scan, frame[10 : 10 + 3 * len(components) : 3], work)
    # Damage may look like a marker. Where an end marker is anywhere, the decoder is the one to judge.
    has_end = scans.has_end_marker or body.find(END, first_scan, scans.end) >= 0
    # Of a plain file, only the first scan is read. One without an end is decoded twice.
    if buffered and scans.count * size[0] * size[1] * (1 if has_end else 2) > MAX_SCANNED_PX:
        raise ImageError(
            Reason.DECODE_ERROR,
            f"{scans.count} scans of {size[0]}x{size[1]} are over {MAX_SCANNED_PX} px to read",
        )
    if not has_end and not scans.is_complete:
        raise ImageError(Reason.TRUNCATED, f"{len(body)} bytes end before the last scan")
    end = scans.end if scans.has_end_marker or not has_end else len(body)
    scan_data = memoryview(body)[first_scan + len(kept[-1]) : end]
    return JpegHeader(
        size=size,
        components=components,
        buffered=buffered,
        rare=_RARE.get(frame[1], ""),
        exif=b"".join(exif),
        xmp=xmp,
        profile=_join_profile(profile),
        stripped=b"".join([*kept, scan_data]),
        has_end_marker=has_end,
    )


def _read_frame(frame: bytes) -> tuple[tuple[int, int], tuple[tuple[int, int], ...]]:
    """Width and height, and the sampling factors of each component."""
    if len(frame) < 10 or len(frame) < 10 + 3 * frame[9]:
        raise ImageError(Reason.DECODE_ERROR, "no usable frame header before the first scan")
    _check_variant(marker=frame[1], bits=frame[4], components=frame[9])
    size = int.from_bytes(frame[7:9], "big"), int.from_bytes(frame[5:7], "big")
    components = tuple((frame[at] >> 4, frame[at] & 15) for at in range(11, 10 + 3 * frame[9], 3))
    if not components or not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in components):
        raise ImageError(Reason.DECODE_ERROR, "a frame header with impossible sampling factors")
    return size, components


def _check_variant(*, marker: int, bits: int, components: int) -> None:
    if marker == 0xCB:
        raise _unsupported("a lossless JPEG with arithmetic codes")
    if marker not in _DECODED:
        raise _unsupported("a hierarchical JPEG")
    if bits != 8:
        raise _unsupported(f"a JPEG of {bits} bits a sample; 8 are decoded")
    if components not in (0, 1, 3, 4):  # 0 is damage, not a variant
        raise _unsupported(f"a JPEG of {components} components; 1, 3 and 4 are decoded")


def _join_profile(pieces: dict[int, memoryview]) -> bytes:
    size_bytes = sum(len(piece) for piece in pieces.values())
    if sorted(pieces) != list(range(1, len(pieces) + 1)) or size_bytes > MAX_PROFILE_BYTES:
        return b""
    return b"".join(pieces[number] for number in sorted(pieces))


def _unsupported(what: str) -> ImageError:
    return ImageError(Reason.UNSUPPORTED_FORMAT, what)


def _truncated(body: bytes) -> ImageError:
    return ImageError(Reason.TRUNCATED, f"{len(body)} bytes end before the first scan")

"""The chunks of a PNG file that decide about its pixels. The others are looked at and not read.

Pillow reads them all and gives up on a sound picture when a comment is large or damaged. Here a chunk that is
no part of the pixels counts only when its checksum is right, and never costs the picture.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from pipeline.errors import ImageError
from pipeline.image.decode.variants import check_png
from pipeline.image.decode.work import Work
from pipeline.types import Reason

MAX_PNG_CHUNKS = 65_536  # 64 MiB of the 1 KiB chunks of the most timid encoder
MAX_PROFILE_BYTES = 4 * 2**20  # an inflated ICC profile; those of printers have 3 MB
MAX_TEXT_BYTES = 2**20  # an inflated text that may tell the orientation; EXIF has 64 KiB at most
MAX_TEXTS = 16  # that are unpacked in search of the orientation; a file has one or two
_SIGNATURE_BYTES = 8
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_EXIF_TEXTS = frozenset({b"Raw profile type exif", b"Raw profile type APP1"})
_XMP_MARK = b"http://ns.adobe.com/xap/"  # the beginning of an APP1 segment that is no EXIF
_XMP_TEXTS = frozenset({b"XML:com.adobe.xmp", b"Raw profile type xmp"})


@dataclass(frozen=True, slots=True)
class Chunk:
    kind: bytes
    start: int  # of its content
    stop: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PngHeader:
    body: bytes = field(repr=False)
    parts: tuple[tuple[int, int], ...]  # where the bytes are that decide about pixels: start, stop
    bits: int
    colour_type: int
    key: tuple[int, ...] | None = None  # the transparent colour, in stored values: one of grey, three of RGB
    palette_alpha: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    icc_profile: bytes | None = None


def read_png_header(body: bytes, work: Work) -> PngHeader:
    """Raises ImageError(truncated, decode_error, or unsupported_format): see `variants`."""
    bits, colour_type = _read_ihdr(body)
    parts = [(0, _SIGNATURE_BYTES)]
    others: list[Chunk] = []
    palette_entries = 0
    has_pixels = False
    for chunk in _read_chunks(body, work):
        if chunk.kind in _PIXEL_CHUNKS or not chunk.kind.isalpha():
            if chunk.kind != b"PLTE" or colour_type == 3:
                parts.append((chunk.start - 8, chunk.stop + 4))
            has_pixels |= chunk.kind == b"IDAT"
            palette_entries = (chunk.stop - chunk.start) // 3 if chunk.kind == b"PLTE" else palette_entries
        elif chunk.kind[:1].isupper():
            name = chunk.kind.decode("ascii")
            raise ImageError(
                Reason.UNSUPPORTED_FORMAT, f"PNG with critical chunk {name}; Pictor reads the four of PNG"
            )
        elif chunk.kind != b"tRNS" or not has_pixels:
            others.append(chunk)
    if colour_type == 3 and not palette_entries:
        raise ImageError(Reason.DECODE_ERROR, "a PNG of palette indices without a palette")
    key, palette_alpha = _read_transparency(body, others, bits, colour_type, palette_entries, work)
    exif, xmp = _read_metadata(body, others, work)
    return PngHeader(
        body=body,
        parts=tuple(parts),
        bits=bits,
        colour_type=colour_type,
        key=key,
        palette_alpha=palette_alpha,
        exif=exif,
        xmp=xmp,
        icc_profile=_read_profile(body, others, work),
    )


def _read_ihdr(body: bytes) -> tuple[int, int]:
    if len(body) < _SIGNATURE_BYTES + 25:
        raise ImageError(Reason.TRUNCATED, "the data ends within the PNG header")
    length, kind = struct.unpack_from(">I4s", body, _SIGNATURE_BYTES)
    if kind == b"CgBI":
        raise ImageError(
            Reason.UNSUPPORTED_FORMAT,
            "a PNG in the form of iPhone apps (CgBI); Pictor reads the standard form",
        )
    chunk = Chunk(kind, _SIGNATURE_BYTES + 8, _SIGNATURE_BYTES + 8 + length)
    if kind != b"IHDR" or length != 13 or not _is_sound(body, chunk):
        raise ImageError(Reason.DECODE_ERROR, "the PNG header is damaged")
    bits, colour_type, *methods = struct.unpack_from("5B", body, chunk.start + 8)
    check_png(bits=bits, colour_type=colour_type, methods=(methods[0], methods[1], methods[2]))
    return bits, colour_type


def _read_chunks(body: bytes, work: Work) -> Iterator[Chunk]:
    """Up to the end of the picture or file. Bytes that are no chunk are the last one."""
    offset = _SIGNATURE_BYTES
    for _ in range(MAX_PNG_CHUNKS):
        if offset + 8 > len(body):
            return
        work.step()
        length, kind = struct.unpack_from(">I4s", body, offset)
        stop = offset + 8 + length if kind.isalpha() else len(body)
        yield Chunk(kind, offset + 8, stop)
        if kind == b"IEND":
            return
        offset = stop + 4
    raise ImageError(Reason.DECODE_ERROR, f"more than {MAX_PNG_CHUNKS} PNG chunks")


def _is_sound(body: bytes, chunk: Chunk) -> bool:
    stored = body[chunk.stop : chunk.stop + 4]
    return (
        zlib.crc32(memoryview(body)[chunk.start - 4 : chunk.stop]) == int.from_bytes(stored, "big")
        and len(stored) == 4
    )


def _sound_contents(body: bytes, chunks: list[Chunk], kind: bytes, work: Work) -> Iterator[bytes]:
    for chunk in chunks:
        if chunk.kind == kind:
            work.read(min(chunk.stop, len(body)) - chunk.start)
            if _is_sound(body, chunk):
                yield body[chunk.start : chunk.stop]


def _read_transparency(
    body: bytes, chunks: list[Chunk], bits: int, colour_type: int, palette_entries: int, work: Work
) -> tuple[tuple[int, ...] | None, bytes | None]:
    content = next(_sound_contents(body, chunks, b"tRNS", work), None)
    if content is None:
        return None, None
    if colour_type == 3:
        return None, content if 0 < len(content) <= palette_entries else None
    wanted_bytes = {0: 2, 2: 6}.get(colour_type)
    if len(content) != wanted_bytes:
        return None, None
    top = (1 << bits) - 1  # of shallower samples only the lower bits count
    return tuple(value & top for value in struct.unpack(f">{len(content) // 2}H", content)), None


def _read_profile(body: bytes, chunks: list[Chunk], work: Work) -> bytes | None:
    """The inflated ICC profile, or None where there is none that can be used."""
    for content in _sound_contents(body, chunks, b"iCCP", work):
        _, _, packed = content.partition(b"\0")
        return _inflate(packed[1:], MAX_PROFILE_BYTES, work) if packed[:1] == b"\0" else None
    return None


def _read_metadata(body: bytes, chunks: list[Chunk], work: Work) -> tuple[bytes | None, bytes | None]:
    """EXIF and XMP. A chunk of its own comes before EXIF in a text, and of several texts the first counts."""
    exif = next(_sound_contents(body, chunks, b"eXIf", work), None)
    xmp = None
    for keyword, chunk in islice(_find_texts(body, chunks), MAX_TEXTS):
        if keyword in _EXIF_TEXTS and exif is None:
            text = _read_text(body, chunk, work)
            profile = _unpack_raw_profile(text) if text else None
            if profile is not None and profile.startswith(_XMP_MARK):
                xmp = xmp or profile
            else:
                exif = profile
        elif keyword in _XMP_TEXTS and xmp is None:
            text = _read_text(body, chunk, work)
            xmp = _unpack_raw_profile(text) or text if text else None
    return exif, xmp


def _find_texts(body: bytes, chunks: list[Chunk]) -> Iterator[tuple[bytes, Chunk]]:
    """Keyword and chunk of each text that may tell the orientation."""
    for chunk in chunks:
        if chunk.kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword = body[chunk.start : min(chunk.start + 80, chunk.stop)].partition(b"\0")[0]
            if keyword in _EXIF_TEXTS or keyword in _XMP_TEXTS:
                yield keyword, chunk


def _read_text(body: bytes, chunk: Chunk, work: Work) -> bytes | None:
    work.read(min(chunk.stop, len(body)) - chunk.start)
    if chunk.stop - chunk.start > 4 * MAX_TEXT_BYTES or not _is_sound(body, chunk):
        return None
    _, _, rest = body[chunk.start : chunk.stop].partition(b"\0")
    match chunk.kind:
        case b"tEXt":
            return rest
        case b"zTXt":
            return _inflate(rest[1:], MAX_TEXT_BYTES, work)
        case _:  # iTXt: flag and method of compression, language, keyword in that language, text
            is_packed = rest[:1] == b"\1"
            text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
            return _inflate(text, MAX_TEXT_BYTES, work) if is_packed else text


def _unpack_raw_profile(text: bytes) -> bytes | None:
    """The bytes given as hexadecimal digits behind a name and a length, as ImageMagick writes them."""
    lines = text.split(b"\n", 3)
    if len(lines) < 4:
        return None
    try:
        return bytes.fromhex(lines[3].decode("ascii"))
    except ValueError:
        return None


def _inflate(packed: bytes, max_bytes: int, work: Work) -> bytes | None:
    work.read(max_bytes)  # however little comes of it: damage shows after the work
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(packed, max_bytes)
    except zlib.error:
        return None
    return None if inflater.unconsumed_tail else content

"""The type of a file, by its first bytes. Nothing is parsed, so nothing can be exploited.

A name is only said where the signature is long enough to be right: a text that begins with "BM" or "P1" is a
text. The kinds that are no images are there so that an operator reads "a PDF document".
"""

import re
from dataclasses import dataclass
from enum import Enum

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "AVIF",
    "HEIF",
)  # multi-picture JPEG of phones is JPEG

_HEAD_BYTES = 2048  # no pattern looks further; SVG behind comments is the longest
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_TGA_END = b"TRUEVISION-XFILE.\0"


class Kind(Enum):
    DECODED = "an image format that is decoded"
    IMAGE = "an image format that is not decoded"
    OTHER = "something else"


@dataclass(frozen=True, slots=True)
class Signature:
    kind: Kind
    name: str


def _table(kind: Kind, **patterns: bytes) -> list[tuple[Signature, re.Pattern[bytes]]]:
    return [(Signature(kind, name), re.compile(pattern, re.DOTALL)) for name, pattern in patterns.items()]


# In order; a pattern is matched at the first byte. The formats that are decoded have the signatures that
# Pillow accepts, BMP a longer one: its header begins with its own length, between 12 and 124.
# No repetition may match the same bytes in two ways: `(?:\s+|…)+` takes twice as long with each space more,
# while it holds the interpreter's lock.
_PATTERNS = (
    *_table(
        Kind.DECODED,
        JPEG=rb"\xff\xd8\xff",
        PNG=rb"\x89PNG\r\n\x1a\n",
        WEBP=rb"RIFF....WEBP",
        GIF=rb"GIF8[79]a",
        BMP=rb"BM.{12}[\x0c-\x7c]\0\0\0",
        TIFF=rb"II\*\0|MM\0\*|II\0\*|MM\*\0|II\+\0|MM\0\+",
        AVIF=rb"....ftyp(?:avi[fs]|m[is]f1.{4}(?:.{4}){0,16}?avi[fs])",
        HEIF=rb"....ftyp(?:hei[cxms]|hev[cxms]|mif[12]|msf1)",
    ),
    *_table(
        Kind.IMAGE,
        **{
            "JPEG 2000": rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n",
            "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
            "JPEG XR": rb"II\xbc\x01",
            "PSD": rb"8BP[SB]\0[\x01\x02]",
            "DDS": rb"DDS \x7c\0\0\0",
            "ICNS": rb"icns\0",
            "ICO": rb"\0\0[\x01\x02]\0[^\0]\0...\0",
            "QOI": rb"qoif\0",
            "OpenEXR": rb"\x76\x2f\x31\x01\x02",
            "Radiance HDR": rb"#\?(?:RADIANCE|RGBE)\n",
            "FITS": rb"SIMPLE  = ",
            "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
            "EMF": rb"\x01\0\0\0.{36} EMF",
            "SVG": (
                rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?"
                rb"(?:(?><!--.{0,500}?-->)\s*){0,3}"
                rb"(?:<!DOCTYPE svg.{0,500}?>\s*(?:(?><!--.{0,500}?-->)\s*){0,3})?<svg\b"
            ),
            "PPM": rb"P[1-7](?:\s|#[^\n]*\n)+(?:\d+\s+\d+\s|WIDTH )",
        },
    ),
    *_table(
        Kind.OTHER,
        **{
            "a PDF document": rb"(?:\xef\xbb\xbf)?%PDF-",
            "an office document of the older kind": rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "an office document": (
                rb"PK\x03\x04.{26}(?:\[Content_Types\]\.xml|_rels/|docProps/|mimetypeapplication/vnd)"
            ),
            "a ZIP archive": rb"PK\x03\x04|PK\x05\x06",
            "gzip-compressed data": rb"\x1f\x8b\x08",
            "compressed data": rb"\x28\xb5\x2f\xfd|BZh[1-9]|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07",
            "a video or audio file": (
                rb"\0...(?:ftyp|moov|mdat|wide|free|skip)|\x1a\x45\xdf\xa3|RIFF....(?:AVI |WAVE)"
                rb"|\0\0\x01[\xba\xb3]|FLV\x01|OggS\0|ID3[\x02-\x04]|\x30\x26\xb2\x75\x8e\x66\xcf\x11"
                rb"|\x47.{187}\x47.{187}\x47"
            ),
            "an HTML page": rb"(?:\xef\xbb\xbf)?\s*(?i:<!doctype\s+html|<html\b|<head\b|<body\b)",
            "an XML document": rb"(?:\xef\xbb\xbf)?\s*<\?xml\s",
        },
    ),
)


def identify(body: bytes) -> Signature | None:
    """None when the first bytes say nothing."""
    head = body[:_HEAD_BYTES]
    for signature, pattern in _PATTERNS:
        if pattern.match(head):
            return signature
    if body.endswith(_TGA_END):
        return Signature(Kind.IMAGE, "TGA")
    return Signature(Kind.OTHER, "text") if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return len(head) % 2 == 0 and not _CONTROLS.search(head.decode("utf-16", "replace"))
    try:
        words = head.decode()
    except UnicodeDecodeError as err:
        if err.start < len(head) - 3:  # else its last letter was cut in two
            return False
        words = head[: err.start].decode()
    return bool(words) and not _CONTROLS.search(words)

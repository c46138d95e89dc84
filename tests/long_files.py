"""Files with much structure and little in it, by format and by how often something is repeated.

All are harmless. `steady` ones are sound and grow with what they hold. `folded` ones say the same bytes again
and again, on a small scale, so that reading them naively costs more than their size: they must be refused.
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from tests.image_files import encode, png_chunk
from tests.tiff_writer import lay_out

Make = Callable[[int], bytes]

_UNKNOWN = 0xFEDCBA98  # stands for an offset until it is known


def picture() -> Image.Image:
    return Image.linear_gradient("L").resize((48, 36)).convert("RGB")


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return box(kind, bytes([version, 0, 0, 0]) + content)


# AVIF and HEIF


def container(brand: bytes, meta: bytes, *more: bytes) -> bytes:
    handler = full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
    head = box(b"ftyp", brand + bytes(4) + b"mif1" + brand)
    return head + full_box(b"meta", handler + meta) + b"".join(more)


def items(brand: bytes, places: list[list[tuple[int, int]]], inside: bytes) -> bytes:
    """Items in the container's own data, each in one or more pieces: offset and size."""
    located = b"".join(
        struct.pack(">HHHH", number, 1, 0, len(pieces)) + b"".join(struct.pack(">II", *p) for p in pieces)
        for number, pieces in enumerate(places)
    )
    iloc = full_box(b"iloc", bytes([0x44, 0]) + struct.pack(">H", len(places)) + located, version=1)
    return container(brand, iloc + box(b"idat", inside))


def av1_units(count: int, kind: int = 5) -> bytes:
    """Empty units; the kind 5 is metadata, 6 a frame."""
    return bytes([kind << 3 | 2, 0]) * count


def hevc_units(count: int) -> bytes:
    return struct.pack(">IBBB", 3, 40 << 1, 1, 0) * count


def tracks(count: int, units: bytes, *, kind: bytes = b"stco", before: bytes = b"") -> bytes:
    """Every track begins at the same units.

    Args:
        kind: of the box that says where, in 32 or 64 bits (`co64`).
        before: the file that they are behind.
    """
    letter = ">II" if kind == b"stco" else ">IQ"
    unknown = full_box(kind, struct.pack(letter, 1, _UNKNOWN))
    table = box(b"stbl", unknown + full_box(b"stsz", struct.pack(">II", len(units), 1)))
    track = box(b"trak", box(b"mdia", box(b"minf", table)))
    body = (before or container(b"avif", b"")) + box(b"moov", track * count) + box(b"mdat", units)
    return body.replace(unknown, full_box(kind, struct.pack(letter, 1, len(body) - len(units))))


def avif_with(*more: bytes) -> bytes:
    return encode(picture(), "AVIF", speed=10) + b"".join(more)


def ipma_of_many(count: int) -> bytes:
    entries = b"".join(struct.pack(">HB", number + 2, 0) for number in range(count))
    properties = full_box(b"ipma", struct.pack(">I", count) + entries)
    meta = full_box(b"pitm", struct.pack(">H", 1)) + box(b"iprp", box(b"ipco", b"") + properties)
    return container(b"avif", meta)


# The others


def jpeg_with(before: bytes = b"", after: bytes = b"") -> bytes:
    plain = encode(picture(), "JPEG", progressive=True)
    return plain[:2] + before + plain[2:-2] + after + plain[-2:]


def scan_of(components: int) -> bytes:
    named = b"".join(bytes([number % 256, 0]) for number in range(components))
    content = bytes([components]) + named + bytes([0, 63, 0])
    return b"\xff\xda" + struct.pack(">H", 2 + len(content)) + content


def png_with(*chunks: bytes) -> bytes:
    plain = encode(picture(), "PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]


def gif_with(before_picture: bytes) -> bytes:
    plain = encode(picture().convert("P"), "GIF")
    start = 13 + (3 << (plain[10] & 7) + 1)
    return plain[:start] + before_picture + plain[start:]


def animation(format_name: str, frames: int) -> bytes:
    others = [picture().rotate(number % 360) for number in range(1, frames)]
    return encode(picture(), format_name, save_all=True, append_images=others)


def bmp_of_runs(ends_of_line: int) -> bytes:
    plain = encode(picture().convert("P"), "BMP")
    start = int.from_bytes(plain[10:14], "little")
    return plain[:30] + struct.pack("<I", 1) + plain[34:start] + b"\0\0" * ends_of_line


def tiff(units: list[bytes], **tags: Any) -> bytes:
    """Grey, 64 px wide, a row in each strip. `tags`: t<number> and its letter and values."""
    found: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (64,)),
        257: ("I", (len(units),)),
        258: ("H", (8,)),
        259: ("H", (1,)),
        262: ("H", (1,)),
        277: ("H", (1,)),
        278: ("I", (1,)),
    }
    found |= {int(name[1:]): value for name, value in tags.items()}
    return lay_out(found, units, tiled=False, order="<", big=False)


def tiff_of_tags(count: int) -> bytes:
    extra: dict[str, Any] = {f"t{1000 + number}": ("H", (1,)) for number in range(count)}
    return tiff([bytes(64)] * 8, **extra)


def tiff_of_overlapping_strips(count: int) -> bytes:
    """Every strip is the whole file, says the directory."""
    body = tiff([zlib.compress(bytes(64)) + bytes(2000)] * count, t259=("H", (8,)))
    sizes = struct.pack(f"<{count}I", *([len(zlib.compress(bytes(64))) + 2000] * count))
    assert sizes in body
    return body.replace(sizes, struct.pack(f"<{count}I", *([len(body)] * count)))


def tiff_of_folded_pages(count: int) -> bytes:
    """Thirty pages within the bytes of one long directory."""
    body = tiff([bytes(64)] * 8, t330=("I", (_UNKNOWN,) * 30))
    pages = struct.pack("<H", count) * (6 * count + 60)
    starts = struct.pack("<30I", *(len(body) + 2 * number for number in range(30)))
    return body.replace(struct.pack("<30I", *[_UNKNOWN] * 30), starts) + pages


STEADY: Mapping[str, Make] = {
    "avif: boxes": lambda n: avif_with(box(b"free", bytes(8)) * n),
    "avif: items": lambda n: items(b"avif", [[(2 * i, 2)] for i in range(n)], av1_units(n)),
    "avif: associations": ipma_of_many,
    "avif: frames": lambda n: animation("AVIF", 1 + n // 20),
    "heif: items": lambda n: items(b"heic", [[(7 * i, 7)] for i in range(n)], hevc_units(n)),
    "jpeg: comments": lambda n: jpeg_with(b"\xff\xfe\0\4ab" * n),
    "jpeg: fill": lambda n: jpeg_with(b"\xff" * (20 * n)),
    "jpeg: tables between scans": lambda n: jpeg_with(after=b"\xff\xfe\0\4ab" * n),
    "jpeg: scans": lambda n: jpeg_with(after=(scan_of(1) + b"U" * 20) * n),
    "png: texts": lambda n: png_with(png_chunk(b"tEXt", b"a\0b") * n),
    "png: frames": lambda n: animation("PNG", 1 + n // 20),
    "gif: blocks": lambda n: gif_with(b"!\xfe" + b"\x09comments." * n + b"\0"),
    "gif: blocks of one byte": lambda n: gif_with(b"!\xfe" + b"\1a" * n + b"\0"),
    "gif: extensions": lambda n: gif_with(b"!\xfe\x04abcd\0" * n),
    "gif: frames": lambda n: animation("GIF", 1 + n // 20),
    "webp: frames": lambda n: animation("WEBP", 1 + n // 20),
    "tiff: tags": tiff_of_tags,
    "tiff: strips": lambda n: tiff([bytes(64)] * n),
    "bmp: ends of line": bmp_of_runs,
}
FOLDED: Mapping[str, Make] = {
    "avif: items that share their units": lambda n: items(b"avif", [[(0, 2 * n)]] * n, av1_units(n)),
    "avif: tracks that share their units": lambda n: tracks(
        n, av1_units(n), kind=b"co64", before=avif_with()
    ),
    "avif: items in pieces that overlap": lambda n: items(b"avif", [[(0, n), (0, n)]] * n, av1_units(n)),
    "avif: frames in one picture": lambda n: items(b"avif", [[(0, 2 * n)]], av1_units(n, kind=6)),
    "heif: items that share their units": lambda n: items(b"heic", [[(0, 7 * n)]] * n, hevc_units(n)),
    "tiff: pages that share their tags": tiff_of_folded_pages,
    "tiff: strips that share their bytes": tiff_of_overlapping_strips,
    "bmp: runs of nothing": lambda n: bmp_of_runs(2000 * n),
}

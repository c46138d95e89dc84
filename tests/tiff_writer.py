"""A small writer of TIFF files that can write what no program should: every combination of tags."""

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.independent_readers import imagecodecs

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_LETTERS = {1: "u", 2: "i", 3: "f"}
_KINDS = {"B": (1, 1), "H": (3, 2), "I": (4, 4), "Q": (16, 8)}  # type and bytes of a value


@dataclass(frozen=True, kw_only=True)
class TiffFile:
    """What to write. `samples` is [H, W, S], in the numbers that are to be stored."""

    samples: NDArray[Any]
    bits: int
    photometric: int | None
    sample_format: int = 1
    extra: tuple[int, ...] = ()
    planar: bool = False
    compression: int = 1
    predictor: int = 1
    fill_order: int = 1
    order: str = "<"
    big: bool = False
    tile_px: int | None = None
    rows_per_strip: int | None = None
    more: dict[int, tuple[str, tuple[int, ...]]] = field(default_factory=dict)  # tag: letter, values


def write_tiff(file: TiffFile) -> bytes:
    height, width, samples = file.samples.shape
    units = [encode(file, unit) for plane in planes(file) for unit in cut(file, plane)]
    tags: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (file.bits,) * samples),
        259: ("H", (file.compression,)),
        277: ("H", (samples,)),
        284: ("H", (2 if file.planar else 1,)),
        339: ("H", (file.sample_format,) * samples),
    }
    optional = {262: file.photometric, 266: file.fill_order, 317: file.predictor}
    tags |= {tag: ("H", (value,)) for tag, value in optional.items() if value is not None}
    if file.extra:
        tags[338] = ("H", file.extra)
    if file.tile_px:
        tags |= {322: ("I", (file.tile_px,)), 323: ("I", (file.tile_px,))}
    else:
        tags[278] = ("I", (file.rows_per_strip or height,))
    tags |= file.more
    return lay_out(tags, units, tiled=bool(file.tile_px), order=file.order, big=file.big)


def planes(file: TiffFile) -> list[NDArray[Any]]:
    if not file.planar:
        return [file.samples]
    return [file.samples[:, :, n : n + 1] for n in range(file.samples.shape[2])]


def cut(file: TiffFile, plane: NDArray[Any]) -> list[NDArray[Any]]:
    """Strips, or tiles that are filled up with zeros."""
    height, width = plane.shape[:2]
    side = file.tile_px
    if side is None:
        rows = file.rows_per_strip or height
        return [plane[y : y + rows] for y in range(0, height, rows)]
    padded = np.pad(plane, ((0, -height % side), (0, -width % side), (0, 0)))
    return [padded[y : y + side, x : x + side] for y in range(0, height, side) for x in range(0, width, side)]


def encode(file: TiffFile, unit: NDArray[Any]) -> bytes:
    stored = compress(file.compression, pack(file, unit), row_bytes=len(pack(file, unit[:1])))
    return stored.translate(_REVERSED) if file.fill_order == 2 else stored


def pack(file: TiffFile, unit: NDArray[Any]) -> bytes:
    """Rows of samples, each row padded to a byte."""
    rows = len(unit)
    if file.bits % 8 or file.bits == 24:
        flat = unit.reshape(rows, -1).astype(np.uint32)
        shifts = np.arange(file.bits - 1, -1, -1, dtype=np.uint32)
        return np.packbits(
            (flat[:, :, None] >> shifts & 1).astype(np.uint8).reshape(rows, -1), axis=1
        ).tobytes()
    dtype = np.dtype(f"{file.order}{_LETTERS.get(file.sample_format, 'u')}{file.bits // 8}")
    values = unit.astype(dtype)
    if file.predictor == 2:
        values = np.concatenate([values[:, :1], np.diff(values, axis=1)], axis=1)  # wraps, as it must
    if file.predictor == 3:
        return bytes(imagecodecs.floatpred_encode(values, axis=-2, dist=unit.shape[2]))
    return values.astype(dtype).tobytes()


def compress(compression: int, raw: bytes, *, row_bytes: int) -> bytes:
    match compression:
        case 5:
            return bytes(imagecodecs.lzw_encode(raw))
        case 8 | 32946:
            return zlib.compress(raw)
        case 32773:  # each row by itself
            rows = (raw[at : at + row_bytes] for at in range(0, len(raw), row_bytes))
            return b"".join(imagecodecs.packbits_encode(row) for row in rows)
        case 34925:
            return bytes(imagecodecs.lzma_encode(raw))
        case 50000:
            return bytes(imagecodecs.zstd_encode(raw))
        case _:
            return raw


def lay_out(
    tags: dict[int, tuple[str, tuple[int, ...]]], units: list[bytes], *, tiled: bool, order: str, big: bool
) -> bytes:
    """One directory, then values that do not fit into it, then strips or tiles."""
    word, counter, inline_bytes = ("Q", "Q", 8) if big else ("I", "H", 4)
    offsets_tag, counts_tag = (324, 325) if tiled else (273, 279)
    tags[counts_tag] = (word, tuple(map(len, units)))
    tags[offsets_tag] = (word, (0,) * len(units))
    head_bytes = 16 if big else 8
    entry_bytes = 4 + 2 * struct.calcsize("=" + word)
    values_at = (
        head_bytes + struct.calcsize("=" + counter) + entry_bytes * len(tags) + struct.calcsize("=" + word)
    )
    sizes = {tag: len(values) * _KINDS[letter][1] for tag, (letter, values) in tags.items()}
    units_at = values_at + sum(size for size in sizes.values() if size > inline_bytes)
    starts = [units_at + sum(map(len, units[:n])) for n in range(len(units))]
    tags[offsets_tag] = (word, tuple(starts))
    entries, outside = b"", b""
    for tag in sorted(tags):
        letter, values = tags[tag]
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > inline_bytes:
            value = struct.pack(order + word, values_at + len(outside))
            outside += packed
        else:
            value = packed.ljust(inline_bytes, b"\0")
        entries += struct.pack(f"{order}HH{word}", tag, _KINDS[letter][0], len(values)) + value
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8)
    directory = struct.pack(order + counter, len(tags)) + entries + bytes(struct.calcsize("=" + word))
    return mark + head + directory + outside + b"".join(units)

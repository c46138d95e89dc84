"""The promise of memory: no image costs more than its budget, whatever its header and its directories say."""

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ImageError
from pipeline.image.decode import decode_image
from pipeline.ports import ImageLimits
from pipeline.types import Reason
from tests.image_files import encode, heic, png_chunk, refusal
from tests.independent_readers import tifffile

PEAK_LIMIT_BYTES = 300_000_000

# Decodes the files named on its command line, one after the other, and prints for each: outcome, peak bytes.
# A process of its own, because a test process keeps memory of its earlier tests and would hide peaks.
PROBE = """
import ctypes, sys
from pathlib import Path
from pipeline.image.decode import decode_image
from pipeline.errors import ImageError
from pipeline.ports import ImageLimits

def status(field):
    line = next(line for line in Path("/proc/self/status").open() if line.startswith(field))
    return int(line.split()[1]) * 1024

def outcome(body):
    try:
        decode_image(body, limits=ImageLimits(), target_px=256)
    except ImageError as error:
        return error.reason
    return "decoded"

trim = ctypes.CDLL("libc.so.6").malloc_trim
outcome(Path(sys.argv[1]).read_bytes()[:100])  # imports and first allocations are the idle process's
for path in sys.argv[1:]:
    trim(0)
    idle = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # peak := now
    result = outcome(Path(path).read_bytes())
    print(result, status("VmHWM") - idle)
"""


def measure_peaks(paths: list[Path]) -> list[tuple[str, int]]:
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("peaks are measured with /proc/self/clear_refs of Linux")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(result, int(peak)) for result, peak in lines]


def tile(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Large and not flat, from one small noise: generating must not take longer than decoding."""
    small = Image.effect_noise((128, 128), 60).convert(mode)
    large = Image.new(mode, (width, height))
    large.paste(small, (0, 0))
    done = 128
    while done < width:  # doubling copies
        large.paste(large.crop((0, 0, done, 128)), (done, 0))
        done *= 2
    done = 128
    while done < height:
        large.paste(large.crop((0, 0, width, done)), (0, done))
        done *= 2
    return large


def interlaced_png(side: int) -> bytes:
    deflate = zlib.compressobj(1)
    parts = []
    for left, top, step_x, step_y in [
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
    ]:  # fmt: skip
        row = b"\0" + bytes(range(256)) * (4 * -(-(side - left) // step_x) // 256 + 1)
        row = row[: 1 + 4 * -(-(side - left) // step_x)]
        parts += [deflate.compress(row) for _ in range(-(-(side - top) // step_y))]
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 1)
    body = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", b"".join(parts) + deflate.flush())]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*body, png_chunk(b"IEND", b"")])


def deep_png(side: int, *extra: bytes) -> bytes:
    deflate = zlib.compressobj(1)
    row = b"\0" + (random.Random(1).randbytes(600) * (side // 100 + 1))[: 6 * side]
    pixels = b"".join(deflate.compress(row) for _ in range(side)) + deflate.flush()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0))
    parts = [header, *extra, png_chunk(b"IDAT", pixels), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def planes_of_16_bits(side: int) -> bytes:
    stream = io.BytesIO()
    plane = np.tile(
        np.random.default_rng(1).integers(0, 65536, (100, 100), np.uint16), (side // 100, side // 100)
    )
    tifffile.imwrite(
        stream, np.stack([plane] * 3), photometric="rgb", planarconfig="separate", compression="zlib"
    )
    return stream.getvalue()


WORST: dict[
    str, Callable[[], bytes]
] = {  # close under the largest that the default limits accept, see the table in pipeline.image.decode
    "rgba.png": lambda: encode(tile(7300, 7300, "RGBA"), "PNG", compress_level=1),
    "interlaced.png": lambda: interlaced_png(7300),
    "16-bit.png": lambda: deep_png(7300),
    "16-bit-key.png": lambda: deep_png(4900, png_chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))),
    "baseline.jpg": lambda: encode(tile(10_000, 10_000), "JPEG", quality=30),
    "progressive-420.jpg": lambda: encode(tile(7900, 7900), "JPEG", quality=30, progressive=True),
    "progressive-444.jpg": lambda: encode(
        tile(5400, 5400), "JPEG", quality=30, progressive=True, subsampling=0
    ),
    "strip.jpg": lambda: encode(tile(58_000, 500), "JPEG", quality=30),
    "lossless.webp": lambda: encode(tile(3500, 3500, "RGBA"), "WEBP", lossless=True, method=0, quality=0),
    "lossy.webp": lambda: encode(tile(3500, 3500, "RGBA"), "WEBP", method=0, quality=30),
    "444-alpha.avif": lambda: encode(
        tile(3400, 3400, "RGBA"), "AVIF", speed=10, quality=30, subsampling="4:4:4"
    ),
    "420.heic": lambda: heic(tile(5200, 5200), quality=20, chroma=420),
    "444-alpha.heic": lambda: heic(tile(3700, 3700, "RGBA"), quality=20, chroma=444),
    "strips.tiff": lambda: encode(tile(7000, 7000), "TIFF", compression="tiff_adobe_deflate"),
    "one-turned-strip.tiff": lambda: encode(
        tile(4100, 4100), "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: 4100, 274: 6}
    ),
    "turned.tiff": lambda: encode(tile(5000, 5000), "TIFF", tiffinfo={274: 6}),
    "planes.tiff": lambda: planes_of_16_bits(4400),
    "grey.gif": lambda: encode(tile(10_000, 10_000, "L"), "GIF"),
    "grey.bmp": lambda: encode(tile(8000, 8000, "L"), "BMP"),
}


@pytest.mark.slow
def test_the_largest_accepted_image_of_each_format_stays_under_300_mb(tmp_path: Path) -> None:
    paths = []
    for name, make in WORST.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(make())
    peaks = dict(zip(WORST, measure_peaks(paths), strict=True))
    for name, (result, peak) in peaks.items():
        print(f"{name:24} {result:16} {peak / 1e6:6.1f} MB")
    assert {name: result for name, (result, _) in peaks.items() if result != "decoded"} == {}
    assert {name: peak for name, (_, peak) in peaks.items() if peak >= PEAK_LIMIT_BYTES} == {}
    assert max(peak for _, peak in peaks.values()) > 150_000_000  # else nothing was measured


def png_with(chunks: bytes) -> bytes:
    plain = encode(Image.new("RGB", (60, 40)), "PNG")
    return plain[:33] + chunks + plain[33:]


def tiff_of_many_pages() -> bytes:
    """A hundred directories of 4,000 entries behind the picture."""
    plain = bytearray(encode(Image.new("RGB", (60, 40)), "TIFF"))
    (first,) = struct.unpack_from("<I", plain, 4)
    (count,) = struct.unpack_from("<H", plain, first)
    directory = struct.pack("<H", 4000) + struct.pack("<HHII", 1000, 3, 1, 0) * 4000
    struct.pack_into("<I", plain, first + 2 + 12 * count, len(plain))
    pages = bytearray()
    for _ in range(100):
        pages += directory + struct.pack("<I", len(plain) + len(pages) + len(directory) + 4)
    return bytes(plain + pages)


def jpeg_of_a_million_segments(plain: bytes) -> bytes:
    return plain[:2] + b"\xff\xe5\0\2" * 1_000_000 + plain[2:]


def jpeg_of_exif_that_points_at_itself(plain: bytes) -> bytes:
    entries = b"".join(struct.pack("<HHII", 1000 + n, 7, 65_000, 0) for n in range(4000))
    exif = (b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 4000) + entries).ljust(65_500, b"\0")
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]


def tiff_of(tags: list[tuple[int, int, int, int]], content: bytes) -> bytes:
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (b"II*\0\x08\0\0\0" + directory + b"\0\0\0\0").ljust(200, b"\0") + content


PLAIN_TAGS = [
    (256, 4, 1, 600),
    (257, 4, 1, 600),
    (258, 3, 1, 8),
    (259, 3, 1, 1),
    (262, 3, 1, 1),
    (277, 3, 1, 1),
]


def test_a_tiff_of_a_million_strips_is_refused() -> None:
    strips = [(273, 4, 1_000_000, 200), (278, 4, 1, 1), (279, 4, 1_000_000, 200)]
    error = refusal(tiff_of(PLAIN_TAGS + strips, b"\xc8\0\0\0" * 1_000_000))
    assert (error.reason, error.detail) == (Reason.DECODE_ERROR, "more than 131072 TIFF values")


def test_a_tiff_tile_larger_than_its_image_is_counted_in_full() -> None:
    tags = [tag if tag[0] != 259 else (259, 3, 1, 8) for tag in PLAIN_TAGS]
    tiles = [(322, 4, 1, 20_000), (323, 4, 1, 20_000), (324, 4, 1, 200), (325, 4, 1, 100)]
    assert refusal(tiff_of(tags + tiles, b"\0" * 100)).reason is Reason.TOO_MANY_PIXELS


def test_a_png_of_a_million_chunks_is_refused() -> None:
    plain = encode(Image.new("RGB", (60, 40)), "PNG")
    error = refusal(plain[:33] + png_chunk(b"prVt", b"") * 1_000_000 + plain[33:])
    assert (error.reason, error.detail) == (Reason.DECODE_ERROR, "more than 65536 PNG chunks")


def test_a_jpeg_of_a_million_segments_is_refused() -> None:
    error = refusal(jpeg_of_a_million_segments(encode(Image.new("RGB", (60, 40)), "JPEG")))
    assert (error.reason, error.detail) == (
        Reason.DECODE_ERROR,
        "more than 4096 segments before the first scan",
    )


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    plain = encode(Image.new("RGB", (2000, 2000)), "JPEG", progressive=True)
    last = plain.rindex(b"\xff\xda")
    assert refusal(plain[:-2] + plain[last:-2] * 1000 + b"\xff\xd9").reason is Reason.DECODE_ERROR


def test_an_avif_that_hides_a_large_frame_behind_a_small_header_is_refused() -> None:
    honest = encode(Image.new("RGB", (5000, 5000)), "AVIF", speed=10)
    lying = honest.replace(struct.pack(">II", 5000, 5000), struct.pack(">II", 64, 64))
    assert lying != honest
    assert Image.open(io.BytesIO(lying)).size == (64, 64)
    error = refusal(lying)
    assert error.reason is Reason.TOO_MANY_PIXELS
    assert error.detail.startswith("64x64 AVIF needs about 32")


@pytest.mark.slow
def test_files_made_to_exhaust_their_reader_cost_little(tmp_path: Path) -> None:
    plain = encode(Image.new("RGB", (60, 40)), "JPEG")
    bombs = {
        "segments.jpg": jpeg_of_a_million_segments(plain),
        "exif.jpg": jpeg_of_exif_that_points_at_itself(plain),
        "stray.jpg": plain[:2] + b"\xff\xe5\0\2" + b"\0" * 5_000_000 + plain[2:],
        "comments.png": png_with(png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000))) * 60),
        "profile.png": png_with(png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(60_000_000)))),
        "exif.png": png_with(
            png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(60_000_000))) * 20
        ),
        "pages.tiff": tiff_of_many_pages(),
    }
    for name, body in bombs.items():
        (tmp_path / name).write_bytes(body)
    peaks = measure_peaks([tmp_path / name for name in bombs])
    assert max(peak for _, peak in peaks) < 40_000_000
    assert [result for result, _ in peaks] == ["decode_error", *["decoded"] * 6]


def test_a_body_counts_against_the_budget_too() -> None:
    body = encode(Image.new("RGB", (60, 40)), "BMP") + b"\0" * 5_000_000
    with pytest.raises(ImageError) as caught:
        decode_image(body, limits=ImageLimits(decode_budget_bytes=5_000_000), target_px=256)
    assert caught.value.reason is Reason.TOO_MANY_PIXELS

"""TIFF beyond plain samples: codecs that know colour, old palettes, which way up, and previews."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.types import Reason
from tests.image_files import decode, encode, refusal
from tests.independent_readers import tifffile
from tests.tiff_writer import TiffFile, compress, lay_out, write_tiff

XMP = "<x:xmpmeta><rdf:Description tiff:Orientation={0}{1}{0}/></x:xmpmeta>"


def quarters(width: int = 64, height: int = 32) -> NDArray[np.uint8]:
    """Red and green over blue and yellow."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = (255, 0, 0)
    rgb[: height // 2, width // 2 :] = (0, 255, 0)
    rgb[height // 2 :, : width // 2] = (0, 0, 255)
    rgb[height // 2 :, width // 2 :] = (255, 255, 0)
    return rgb


def rgb_tiff(more: dict[int, tuple[str, tuple[int, ...]]]) -> bytes:
    return write_tiff(TiffFile(samples=quarters(), bits=8, photometric=2, more=more))


def with_tifffile(image: NDArray[np.uint8], **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, image, compression="jpeg", compressionargs={"level": 95}, **options)
    return stream.getvalue()


JPEGS = {
    "strip": lambda rgb: with_tifffile(rgb, photometric="rgb"),
    "tiles": lambda rgb: with_tifffile(rgb, photometric="rgb", tile=(16, 16)),
    "fewer colours": lambda rgb: with_tifffile(rgb, photometric="rgb", subsampling=(2, 2)),
    "planes": lambda rgb: with_tifffile(rgb.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    "by libtiff": lambda rgb: encode(rgb, "TIFF", compression="jpeg", quality=95),
    "CMYK": lambda rgb: encode(Image.fromarray(rgb).convert("CMYK"), "TIFF", compression="jpeg", quality=95),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_jpeg_inside_of_tiff_has_the_colours_that_were_saved(kind: str) -> None:
    found = decode(JPEGS[kind](quarters())).rgb.astype(int)
    assert np.abs(found - quarters())[4:12, 4:28].max() <= 4
    assert np.abs(found - quarters())[20:28, 36:60].max() <= 4


@pytest.mark.parametrize("compression", [1, 5, 8])
def test_colours_that_are_stored_once_for_four_pixels_are_spread(compression: int) -> None:
    """Four of Y, then one Cb and Cr. Where nothing is compressed, Pillow takes three bytes for a pixel."""
    red = (76, 85, 255)
    unit = np.tile(np.array([*[red[0]] * 4, *red[1:]], np.uint8), 32 * 16).tobytes()
    tags: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (64,)), 257: ("I", (32,)), 258: ("H", (8, 8, 8)), 259: ("H", (compression,)),
        262: ("H", (6,)), 277: ("H", (3,)), 278: ("I", (32,)), 530: ("H", (2, 2)),
    }  # fmt: skip
    body = lay_out(tags, [compress(compression, unit, row_bytes=192)], tiled=False, order="<", big=False)
    assert np.abs(decode(body).rgb.astype(int) - (255, 0, 0)).max() <= 2


def test_jpeg_of_the_old_kind_is_read() -> None:
    jpeg = encode(quarters(), "JPEG", quality=95, subsampling=0)
    tags: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (64,)), 257: ("I", (32,)), 258: ("H", (8, 8, 8)), 259: ("H", (6,)), 262: ("H", (6,)),
        277: ("H", (3,)), 278: ("I", (32,)), 530: ("H", (1, 1)), 513: ("I", (0,)), 514: ("I", (len(jpeg),)),
    }  # fmt: skip
    plain = lay_out(dict(tags), [jpeg], tiled=False, order="<", big=False)
    tags[513] = ("I", (plain.index(jpeg),))
    body = lay_out(tags, [jpeg], tiled=False, order="<", big=False)
    assert np.abs(decode(body).rgb.astype(int) - quarters())[4:12, 4:28].max() <= 4


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
@pytest.mark.parametrize("white", [0, 1])
def test_facsimile_is_black_on_white(compression: str, white: int) -> None:
    drawn = np.zeros((32, 64), bool)
    drawn[:, 20:30] = True
    stored = Image.fromarray(drawn if white else ~drawn)
    body = encode(stored, "TIFF", compression=compression, tiffinfo={262: white})
    with tifffile.TiffFile(io.BytesIO(body)) as file:
        assert file.pages.first.tags[262].value == white
        is_white = file.asarray().reshape(32, 64) == white
    assert 0 < is_white.sum() < is_white.size
    np.testing.assert_array_equal(decode(body).rgb[:, :, 0] == 255, is_white)


def test_a_file_that_does_not_say_what_its_samples_are_is_taken_as_libtiff_takes_it() -> None:
    grey = np.tile(np.arange(64, dtype=np.uint8) * 4, (32, 1))[:, :, None]
    np.testing.assert_array_equal(
        decode(write_tiff(TiffFile(samples=grey, bits=8, photometric=None))).rgb, np.repeat(grey, 3, 2)
    )
    body = write_tiff(TiffFile(samples=quarters(), bits=8, photometric=None))
    np.testing.assert_array_equal(decode(body).rgb, quarters())


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_colour_map_of_8_bits_is_not_a_black_picture(bits: int) -> None:
    count = 1 << bits
    index = np.tile(np.arange(64) % count, (32, 1))
    level = np.arange(count) * 255 // (count - 1)
    maps = {257: (level * 257, level[::-1] * 257), 1: (level, level[::-1])}
    for scale, (up, down) in maps.items():
        values = tuple(map(int, [*up, *down, *([60 * scale] * count)]))
        file = TiffFile(samples=index[:, :, None], bits=bits, photometric=3, more={320: ("H", values)})
        expected = np.dstack([level[index], level[::-1][index], np.full(index.shape, 60)])
        np.testing.assert_array_equal(decode(write_tiff(file)).rgb, expected)


def test_a_palette_without_its_colours_is_damaged() -> None:
    file = TiffFile(samples=np.zeros((32, 64, 1), int), bits=8, photometric=3, more={320: ("H", (1, 2, 3))})
    error = refusal(write_tiff(file))
    assert (error.reason, error.detail) == (Reason.DECODE_ERROR, "a ColorMap of 3 values, 768 are needed")


@pytest.mark.parametrize(
    ("tag", "in_xmp", "turned"), [(6, None, True), (6, 6, True), (6, 1, True), (1, 6, False), (None, 6, True)]
)
@pytest.mark.parametrize("quote", ['"', "'"])
def test_the_tag_decides_which_way_is_up_and_xmp_where_there_is_none(
    tag: int | None, in_xmp: int | None, turned: bool, quote: str
) -> None:
    more: dict[int, tuple[str, tuple[int, ...]]] = {}
    if tag is not None:
        more[274] = ("H", (tag,))
    if in_xmp is not None:
        more[700] = ("B", tuple(XMP.format(quote, in_xmp).encode()))
    decoded = decode(rgb_tiff(more))
    np.testing.assert_array_equal(decoded.rgb, np.rot90(quarters(), -1) if turned else quarters())
    assert (decoded.width, decoded.height) == ((32, 64) if turned else (64, 32))


UNKNOWN = {
    "RGB of 32 bits float; Pictor reads RGB of 8 bits unsigned, 16 bits unsigned": TiffFile(
        samples=np.zeros((32, 64, 3)), bits=32, photometric=2, sample_format=3
    ),
    "grey of 10 bits unsigned; Pictor reads grey of 1 bits": TiffFile(
        samples=np.zeros((32, 64, 1), int), bits=10, photometric=1
    ),
    "CMYK with alpha of 8 bits unsigned; Pictor reads": TiffFile(
        samples=np.zeros((32, 64, 5), int), bits=8, photometric=5, extra=(2,)
    ),
    "grey with alpha of 8 bits unsigned in planes; Pictor reads in planes only RGB and CMYK": TiffFile(
        samples=np.zeros((32, 64, 2), int), bits=8, photometric=1, extra=(2,), planar=True
    ),
    "PhotometricInterpretation 32844; Pictor reads 0 (white is zero)": TiffFile(
        samples=np.zeros((32, 64, 1), int), bits=16, photometric=32844
    ),
    "compression 34712; Pictor reads 1 (none), 2 (ccitt rle)": TiffFile(
        samples=np.zeros((32, 64, 1), int), bits=8, photometric=1, compression=34712
    ),
    "Predictor 2 with grey of 12 bits unsigned; Pictor reads 2 with integers": TiffFile(
        samples=np.zeros((32, 64, 1), int), bits=12, photometric=1, compression=8, more={317: ("H", (2,))}
    ),
    "SampleFormat 6; Pictor reads 1 (unsigned)": TiffFile(
        samples=np.zeros((32, 64, 1), int), bits=8, photometric=1, more={339: ("H", (6,))}
    ),
    "inks other than CMYK": TiffFile(
        samples=np.zeros((32, 64, 4), int), bits=8, photometric=5, more={332: ("H", (2,))}
    ),
}


@pytest.mark.parametrize("words", UNKNOWN)
def test_an_unknown_variant_is_refused_with_what_was_found_and_what_is_read(words: str) -> None:
    error = refusal(write_tiff(UNKNOWN[words]))
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert error.detail.startswith(f"TIFF with {words}")


@pytest.mark.parametrize("compression", [1, 8])
def test_a_tiff_that_ends_within_its_strips_is_truncated(compression: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3))
    body = write_tiff(TiffFile(samples=noise, bits=8, photometric=2, compression=compression))
    assert refusal(body[: len(body) * 6 // 10]).reason is Reason.TRUNCATED


def test_too_few_strips_are_no_picture_with_a_black_end() -> None:
    body = write_tiff(
        TiffFile(samples=quarters(), bits=8, photometric=2, rows_per_strip=32, more={278: ("I", (16,))})
    )
    assert refusal(body).detail == "1 strips or tiles do not make 64x32 px"


@pytest.mark.parametrize("tile_px", [None, 16])
@pytest.mark.parametrize("size", [(0, 2**32 - 1), (2**32 - 1, 0), (0, 0)])
def test_a_page_without_a_size_is_refused_at_once(size: tuple[int, int], tile_px: int | None) -> None:
    more: dict[int, tuple[str, tuple[int, ...]]] = {256: ("I", size[:1]), 257: ("I", size[1:])}
    body = write_tiff(TiffFile(samples=quarters(), bits=8, photometric=2, tile_px=tile_px, more=more))
    assert refusal(body).detail == f"a TIFF page of {size[0]}x{size[1]} px"


# Raw files of cameras, and previews.


def two_pages(first: dict[int, int], second: dict[int, int], *, inside: bool) -> bytes:
    """A TIFF of 64x32 px, and a second directory in it (SubIFDs) or behind it, without pixels."""
    at = 8192  # behind the pixels
    entries = sorted(second.items())
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries) + bytes(4)
    more: dict[int, tuple[str, tuple[int, ...]]] = {tag: ("I", (value,)) for tag, value in first.items()}
    if inside:
        more[330] = ("I", (at,))
    body = rgb_tiff(more)
    if not inside:
        (count,) = struct.unpack_from("<H", body, 8)
        link = 10 + 12 * count
        body = body[:link] + struct.pack("<I", at) + body[link + 4 :]
    return body.ljust(at, b"\0") + directory


LARGE = {256: 1600, 257: 1200}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(("photometric", "name"), [(32803, "colour filter array"), (34892, "linear raw")])
def test_a_camera_s_raw_file_is_not_indexed_by_its_preview(photometric: int, name: str, inside: bool) -> None:
    error = refusal(two_pages({}, {**LARGE, 262: photometric}, inside=inside))
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert error.detail.startswith(f"a raw file of a camera ({name}), which Pictor does not develop")


def test_a_dng_is_named() -> None:
    error = refusal(rgb_tiff({50706: ("B", (1, 4, 0, 0))}))
    assert (error.reason, "(DNG)" in error.detail) == (Reason.UNSUPPORTED_FORMAT, True)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("flag", [{254: 1}, {255: 2}])
def test_a_preview_before_a_larger_page_is_refused_with_both_sizes(
    flag: dict[int, int], inside: bool
) -> None:
    error = refusal(two_pages(flag, {**LARGE, 262: 2}, inside=inside))
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert error.detail == "the first page is a preview of 64x32 px, the picture is on a page of 1600x1200 px"


def test_a_picture_with_smaller_copies_of_itself_is_read() -> None:
    """A pyramid, or a page that says it is a preview and is the largest of all."""
    for first in ({}, {254: 1}):
        body = two_pages(first, {256: 16, 257: 8, 262: 2, 254: 1}, inside=True)
        np.testing.assert_array_equal(decode(body).rgb, quarters())


def test_directories_that_lead_to_each_other_end() -> None:
    body = two_pages({254: 1}, {**LARGE, 262: 2, 330: 8}, inside=True)
    assert refusal(body).reason is Reason.UNSUPPORTED_FORMAT


SIGNATURES = {
    "CR2": b"II*\0\x10\0\0\0CR\2\0", "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1", "RAF": b"FUJIFILMCCD-RAW 0201",
    "ORF": b"IIRO\x08\0\0\0", "RW2": b"IIU\0\x18\0\0\0", "IIQ": b"II*\0\x10\0\0\0IIII",
    "X3F": b"FOVb\1\0\2\0",
    "MRW": b"\0MRM\0\1\2\3", "CRW": b"II\x1a\0\0\0HEAPCCDR",
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_raw_formats_with_a_signature_are_named(name: str) -> None:
    error = refusal(SIGNATURES[name].ljust(300, b"\0"))
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert error.detail.startswith(f"a raw file of a camera ({name}, ")

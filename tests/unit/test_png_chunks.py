"""PNG beyond pixels: what stands beside them never costs the picture, and tells which way is up."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.image.decode.png_header import read_png_header
from pipeline.image.decode.work import Work
from pipeline.types import Reason
from tests.image_files import decode, encode, png_chunk, raw_png, refusal

EXIF = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x112, 3, 1, 6, 0, 0)
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
RGB = np.zeros((24, 48, 3), np.uint8)
RGB[:12, :24], RGB[:12, 24:], RGB[12:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
TURNED = np.rot90(RGB, -1)


def png(*before: bytes, after: bytes = b"") -> bytes:
    body = raw_png(48, 24, 8, 2, RGB.tobytes(), *before)
    return body[:-12] + after + body[-12:]


def broken(kind: bytes, content: bytes) -> bytes:
    return png_chunk(kind, content)[:-1] + b"!"


def raw_profile(name: str, content: bytes) -> bytes:
    """As ImageMagick wrote it: a name, a length, hexadecimal digits in lines of 72."""
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{name}\n{len(content):8d}\n{lines}\n".encode()


def text(kind: bytes, keyword: bytes, content: bytes) -> bytes:
    match kind:
        case b"tEXt":
            return png_chunk(kind, keyword + b"\0" + content)
        case b"zTXt":
            return png_chunk(kind, keyword + b"\0\0" + zlib.compress(content))
        case b"iTXt":
            return png_chunk(kind, keyword + b"\0\0\0\0\0" + content)
        case _:
            return png_chunk(b"iTXt", keyword + b"\0\1\0\0\0" + zlib.compress(content))


DAMAGED = {
    **{
        f"{kind.decode()}, checksum": broken(kind, content)
        for kind, content in {
            b"tEXt": b"a\0b",
            b"zTXt": b"a\0\0!",
            b"iTXt": b"a\0",
            b"iCCP": b"p\0\0!",
            b"pHYs": bytes(9),
            b"gAMA": bytes(4),
            b"cHRM": bytes(32),
            b"sRGB": b"\0",
            b"tRNS": bytes(6),
            b"bKGD": bytes(6),
            b"tIME": bytes(7),
            b"sBIT": bytes(3),
            b"hIST": bytes(2),
            b"sPLT": b"a",
            b"eXIf": EXIF,
            b"acTL": bytes(8),
            b"fcTL": bytes(26),
            b"prVt": b"x",
        }.items()
    },
    **{
        f"{kind.decode()}, one byte": png_chunk(kind, b"\1")
        for kind in (
            b"tEXt",
            b"zTXt",
            b"iTXt",
            b"iCCP",
            b"pHYs",
            b"gAMA",
            b"cHRM",
            b"sRGB",
            b"tRNS",
            b"eXIf",
            b"acTL",
            b"fcTL",
        )
    },
    **{
        f"{kind.decode()}, empty": png_chunk(kind, b"")
        for kind in (b"iCCP", b"pHYs", b"sRGB", b"tRNS", b"fcTL")
    },
    "iCCP, unknown method": png_chunk(b"iCCP", b"p\0\1" + zlib.compress(bytes(300))),
    "iCCP, no deflate": png_chunk(b"iCCP", b"p\0\0not deflated"),
    "tRNS, a byte more": png_chunk(b"tRNS", bytes(7)),
    "frames out of order": png_chunk(b"acTL", struct.pack(">II", 2, 0))
    + png_chunk(b"fcTL", struct.pack(">I", 9) + bytes(22)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_chunk_that_holds_no_pixels_does_not_cost_the_picture(name: str) -> None:
    np.testing.assert_array_equal(decode(png(DAMAGED[name])).rgb, RGB)
    np.testing.assert_array_equal(decode(png(after=DAMAGED[name])).rgb, RGB)


def test_a_chunk_that_claims_to_be_longer_than_the_file_behind_the_pixels_does_not_either() -> None:
    np.testing.assert_array_equal(decode(png(after=struct.pack(">I", 10**6) + b"tEXt")).rgb, RGB)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_damaged_chunk_that_says_what_the_pixels_are_does(kind: bytes) -> None:
    image = Image.new("P", (48, 24))
    image.putpalette([1, 2, 3])
    body = bytearray(encode(image, "PNG"))
    body[body.index(kind) + 4 + 2] ^= 1
    assert refusal(bytes(body)).reason is Reason.DECODE_ERROR


LARGE = {
    "ICC profile": png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(3_000_000))),
    "packed comment": text(b"zTXt", b"workflow", b"node " * 500_000),
    "packed international comment": text(b"packed", b"workflow", b"node " * 500_000),
    "comment": text(b"tEXt", b"workflow", b"node " * 2_000_000),
    "two comments": text(b"tEXt", b"workflow", b"node " * 10**6) + text(b"tEXt", b"prompt", b"node " * 10**6),
    "a private chunk": png_chunk(b"prVt", bytes(9_000_000)),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_metadata_does_not_cost_the_picture(name: str) -> None:
    np.testing.assert_array_equal(decode(png(LARGE[name])).rgb, RGB)
    np.testing.assert_array_equal(decode(png(after=LARGE[name])).rgb, RGB)


def test_a_profile_is_handed_on_and_one_that_inflates_without_end_is_left_out() -> None:
    for size, expected in ((3_000_000, bytes(3_000_000)), (50_000_000, None)):
        body = png(png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(size))))
        assert read_png_header(body, Work(len(body))).icc_profile == expected
        assert decode(body).width == 48


PROFILE = raw_profile("exif", b"Exif\0\0" + EXIF)
TURNING = {
    "eXIf": png_chunk(b"eXIf", EXIF),
    **{
        f"exif in {kind.decode()}": text(kind, b"Raw profile type exif", PROFILE)
        for kind in (b"tEXt", b"zTXt", b"iTXt")
    },
    "exif in APP1": text(b"zTXt", b"Raw profile type APP1", raw_profile("APP1", b"Exif\0\0" + EXIF)),
    "exif without its mark": text(b"zTXt", b"Raw profile type exif", raw_profile("exif", EXIF)),
    "XMP": text(b"iTXt", b"XML:com.adobe.xmp", XMP),
    "packed XMP": text(b"packed", b"XML:com.adobe.xmp", XMP),
    "XMP as a profile": text(b"zTXt", b"Raw profile type xmp", raw_profile("xmp", XMP)),
    "XMP in APP1": text(
        b"zTXt", b"Raw profile type APP1", raw_profile("APP1", b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    ),
}


@pytest.mark.parametrize("name", TURNING)
def test_each_place_that_tells_which_way_is_up_is_heard(name: str) -> None:
    for body in (png(TURNING[name]), png(after=TURNING[name])):
        decoded = decode(body)
        np.testing.assert_array_equal(decoded.rgb, TURNED)
        assert (decoded.width, decoded.height) == (24, 48)


UPRIGHT = EXIF.replace(b"\0\x01\0\6", b"\0\x01\0\1")


@pytest.mark.parametrize("first", [True, False])
def test_exif_of_its_own_comes_before_exif_in_a_text_and_that_before_xmp(first: bool) -> None:
    assert UPRIGHT != EXIF
    upright = png_chunk(b"eXIf", UPRIGHT)
    in_text = text(b"zTXt", b"Raw profile type exif", raw_profile("exif", UPRIGHT))
    for stronger, weaker in (
        (upright, TURNING["exif in zTXt"]),
        (upright, TURNING["XMP"]),
        (in_text, TURNING["XMP"]),
    ):
        body = png(stronger, weaker) if first else png(weaker, stronger)
        np.testing.assert_array_equal(decode(body).rgb, RGB)


@pytest.mark.parametrize("content", [b"", b"\nexif\n", b"\nexif\n  12\nno digits\n", b"\nexif\n  1\n0\n"])
def test_a_profile_that_is_none_turns_nothing(content: bytes) -> None:
    np.testing.assert_array_equal(decode(png(text(b"tEXt", b"Raw profile type exif", content))).rgb, RGB)


def test_a_colour_key_behind_the_pixels_is_none() -> None:
    key = png_chunk(b"tRNS", struct.pack(">3H", 255, 0, 0))
    assert decode(png(key)).rgb[0, 0].tolist() == [255, 255, 255]
    assert decode(png(after=key)).rgb[0, 0].tolist() == [255, 0, 0]


def test_an_alpha_for_more_colours_than_there_are_is_none() -> None:
    image = Image.new("P", (48, 24))
    image.putpalette([9, 9, 9])
    plain = encode(image, "PNG", bits=8)
    at = plain.index(b"IDAT") - 4
    assert decode(plain[:at] + png_chunk(b"tRNS", b"\0") + plain[at:]).rgb.min() == 255
    assert decode(plain[:at] + png_chunk(b"tRNS", bytes(300)) + plain[at:]).rgb.max() == 9


def test_palette_indices_without_a_palette_are_damage() -> None:
    error = refusal(raw_png(48, 24, 8, 3, bytes(48 * 24)))
    assert (error.reason, error.detail) == (Reason.DECODE_ERROR, "a PNG of palette indices without a palette")


def test_a_critical_chunk_that_nobody_knows_is_named() -> None:
    error = refusal(png(png_chunk(b"QpNG", b"")))
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert "QpNG" in error.detail


def test_the_png_of_iphone_apps_is_named() -> None:
    """Its pixels are deflated without a header and have blue first: Pillow calls it damaged."""
    plain = png()
    error = refusal(plain[:8] + png_chunk(b"CgBI", bytes(4)) + plain[8:])
    assert (error.reason, "CgBI" in error.detail) == (Reason.UNSUPPORTED_FORMAT, True)


def test_pixels_in_many_chunks_with_others_between_are_one_picture() -> None:
    plain = png()
    at = plain.index(b"IDAT") - 4
    length = int.from_bytes(plain[at : at + 4], "big")
    packed = plain[at + 8 : at + 8 + length]
    pieces = b"".join(
        png_chunk(b"IDAT", packed[n : n + 3]) + png_chunk(b"prVt", b"x") for n in range(0, length, 3)
    )
    np.testing.assert_array_equal(decode(plain[:at] + pieces + plain[at + 12 + length :]).rgb, RGB)
    assert refusal(plain[:at] + pieces[: len(pieces) // 3] + plain[-12:]).reason is Reason.TRUNCATED

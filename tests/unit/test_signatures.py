"""What a file is called by its first bytes: right, or not at all."""

import gzip
import io
import zipfile

import pytest
from PIL import Image

from pipeline.image.decode.signatures import FORMATS, Kind, identify
from pipeline.types import Reason
from tests.image_files import encode, refusal

IMAGES = {
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG XL": b"\xff\x0a\0\0", "JPEG XR": b"II\xbc\x01",
    "PSD": b"8BPS\0\1", "DDS": b"DDS \x7c\0\0\0", "ICNS": b"icns\0\0\1\0",
    "ICO": b"\0\0\1\0\2\0\x10\x10\0\0\1\0",
    "QOI": b"qoif\0\0\0\1", "OpenEXR": b"\x76\x2f\x31\x01\2\0\0\0", "Radiance HDR": b"#?RADIANCE\n",
    "FITS": b"SIMPLE  =                    T", "PostScript": b"%!PS-Adobe",
    "EMF": b"\1\0\0\0" + bytes(36) + b" EMF",
    "SVG": b"<?xml version='1.0'?>\n<svg ", "PPM": b"P6\n# a comment\n1 1\n255 ",
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_of_another_format_is_called_by_its_name(name: str) -> None:
    error = refusal(IMAGES[name].ljust(200, b"\0"))
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert error.detail == f"{name} is not one of {', '.join(FORMATS)}"


def test_a_targa_is_known_by_its_end_alone() -> None:
    body = encode(Image.new("RGB", (60, 40)), "TGA")
    assert body.endswith(b"TRUEVISION-XFILE.\0")
    assert refusal(body).detail.startswith("TGA is not one of")
    assert refusal(body[:-26]).reason is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("extension", ["JPEG2000", "ICO", "PPM", "DDS", "ICNS", "EPS", "QOI"])
def test_what_pillow_writes_is_known(extension: str) -> None:
    found = identify(encode(Image.new("RGB", (64, 64)), extension))
    assert found is not None
    assert found.kind is Kind.IMAGE


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.text" if name == "mimetype" else "x")
    return stream.getvalue()


OTHERS = {
    "a PDF document": [b"%PDF-1.7\n%\xe2\xe3"],
    "an office document of the older kind": [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)],
    "an office document": [zipped("[Content_Types].xml"), zipped("_rels/.rels"), zipped("mimetype")],
    "a ZIP archive": [zipped("holiday.jpg")],
    "gzip-compressed data": [gzip.compress(b"\x89PNG\r\n\x1a\n")],
    "compressed data": [
        b"\x28\xb5\x2f\xfd", b"BZh91AY", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07\0",
    ],
    "a video or audio file": [
        b"\0\0\0\x18ftypmp42", b"\0\0\0\x14ftypqt  ", b"\0\0\0\x20ftypisom", b"\x1a\x45\xdf\xa3\x01",
        b"RIFF\0\0\0\0AVI LIST", b"RIFF\0\0\0\0WAVEfmt ", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"OggS\0",
        b"ID3\3", (b"G" + bytes(187)) * 4, b"\0\0\0\x08wide\0\0\1\0mdat",
    ],
    "an HTML page": [b"<!DOCTYPE html><html>", b"\n <html><body>404</body></html>", b"<HTML>"],
    "an XML document": [b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"],
    "text": [
        b"BMW built this", b"BM 40 is the name of a road that ends here (\x28)", b"P1 is the first of them",
        b"P6 and P7, two more, and so on: 1 1 255", b"GIF9 is no version", b"hello", b"Not free of charge",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", b'{"error": "expired"}',
        b"#define x_width 4", b"/* XPM */",
        "Grüße aus Zürich, ein Text".encode(), "\ufeffhello".encode("utf-16"),
        ("ü" * 1500).encode(), b"SIMPLE as that", b"GRIB and others", b"icnsider", b"qoifull", b"II*",
        b"8BPSx",
        b"mostly free: see below", b"this ftyp is a word",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "body"), [(name, body) for name in OTHERS for body in OTHERS[name]])
def test_what_is_no_image_is_called_by_its_name(name: str, body: bytes) -> None:
    error = refusal(body)
    assert (error.reason, error.detail) == (Reason.NOT_AN_IMAGE, f"{len(body)} bytes that are {name}")


@pytest.mark.parametrize(
    "body", [bytes(4096), b"\x80\x81\x82\x83", b"\0\0\1", b"ab\0cd", b"\xff\xfe\0", b"BM" + bytes(60)]
)
def test_what_cannot_be_told_is_not_guessed(body: bytes) -> None:
    error = refusal(body)
    assert error.reason is Reason.NOT_AN_IMAGE
    assert error.detail == f"{len(body)} bytes without the signature of an image format"

"""First frames wherever they lie on their canvas, against files and pictures made here by hand."""

import struct
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.image_files import decode, encode

Rgb = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, width, height

CANVAS = (20, 14)
BOXES: list[Box] = [
    (0, 0, 20, 14), (0, 0, 8, 6), (12, 8, 8, 6), (6, 4, 8, 6), (0, 4, 20, 6), (6, 0, 8, 14), (2, 2, 4, 4),
]  # fmt: skip
PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)
OTHER_PALETTE = PALETTE[::-1]


def on_white(frame: Rgb, alpha: NDArray[np.bool_], box: Box) -> Rgb:
    canvas = np.full((CANVAS[1], CANVAS[0], 3), 255, np.uint8)
    left, top, width, height = box
    canvas[top : top + height, left : left + width][alpha] = frame[alpha]
    return canvas


def shown(body: bytes) -> Rgb:
    decoded = decode(body)
    assert (decoded.width, decoded.height) == CANVAS
    return decoded.rgb


def lzw(values: NDArray[np.uint8]) -> bytes:
    """Two bits a value. A clear code before every second value keeps the codes three bits wide."""
    codes = [
        code
        for n, value in enumerate(values.flat)
        for code in ([4, int(value)] if n % 2 == 0 else [int(value)])
    ]
    bits = sum(code << (3 * n) for n, code in enumerate([*codes, 5]))
    stream = bits.to_bytes(-(-3 * (len(codes) + 1) // 8), "little")
    blocks = [stream[at : at + 255] for at in range(0, len(stream), 255)]
    return b"\2" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def gif(
    box: Box, *, transparent: int | None, disposal: int, interlaced: bool, palettes: str, background: int
) -> tuple[bytes, Rgb]:
    width, height = box[2:]
    values = (np.arange(width * height, dtype=np.uint8).reshape(height, width) // 3) % 4
    rows = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
    stored = values[rows] if interlaced else values
    control = b"\x21\xf9\x04" + bytes([disposal << 2 | (transparent is not None), 0, 0, transparent or 0, 0])
    flags = (0x81 if palettes == "local" else 0) | (0x40 if interlaced else 0)
    body = b"GIF89a" + struct.pack("<HHBBB", *CANVAS, 0x81 if palettes != "only local" else 0, background, 0)
    if palettes == "only local":
        flags |= 0x81
    else:
        body += PALETTE.tobytes()
    local = OTHER_PALETTE.tobytes() if flags & 0x80 else b""
    body += control + b"\x2c" + struct.pack("<HHHHB", *box, flags) + local + lzw(stored)
    second = (
        b"\x2c" + struct.pack("<HHHHB", 0, 0, *CANVAS, 0x81) + bytes(12) + lzw(np.zeros(CANVAS, np.uint8))
    )
    colours = OTHER_PALETTE if local else PALETTE
    return body + second + b"\x3b", on_white(colours[values], values != transparent, box)


GIFS = list(
    product(BOXES, (None, 1, 3), (0, 1, 2, 3), (False, True), ("global", "local", "only local"), (0, 2))
)


def test_first_frames_of_gifs_stand_on_white() -> None:
    wrong = []
    for box, transparent, disposal, interlaced, palettes, background in GIFS:
        body, expected = gif(
            box, transparent=transparent, disposal=disposal, interlaced=interlaced, palettes=palettes,
            background=background,
        )  # fmt: skip
        if not np.array_equal(shown(body), expected):
            wrong.append((box, transparent, disposal, interlaced, palettes, background))
    print(f"{len(GIFS)} combinations")
    assert wrong == []


def riff(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def webp_frame(rgba: Rgb, box: Box, *, blended: bool, disposed: bool) -> bytes:
    still = encode(rgba, "WEBP", lossless=True, exact=True)[12:]
    left, top, width, height = box
    numbers = (left // 2, top // 2, width - 1, height - 1, 100)
    head = b"".join(number.to_bytes(3, "little") for number in numbers)
    return riff(b"ANMF", head + bytes([(not blended) << 1 | disposed]) + still)


def webp(
    box: Box, *, alpha: str, flagged: bool, blended: bool, disposed: bool, background: bytes
) -> tuple[bytes, Rgb]:
    width, height = box[2:]
    y, x = np.mgrid[:height, :width]
    opaque = {"none": x >= 0, "half": x % 2 == 0, "all": x < 0}[alpha]
    rgba = np.dstack([x * 12, y * 18, x * 0 + 90, opaque * 255]).astype(np.uint8)
    second = np.tile(np.array([255, 0, 0, 255], np.uint8), (CANVAS[1], CANVAS[0], 1))
    size = b"".join((side - 1).to_bytes(3, "little") for side in CANVAS)
    frames = webp_frame(rgba, box, blended=blended, disposed=disposed)
    frames += webp_frame(second, (0, 0, *CANVAS), blended=True, disposed=False)
    chunks = riff(b"VP8X", bytes([0x02 | 0x10 * flagged, 0, 0, 0]) + size)
    chunks += riff(b"ANIM", background + b"\0\0") + frames
    return riff(b"RIFF", b"WEBP" + chunks), on_white(rgba[..., :3], opaque, box)


WEBPS = list(
    product(
        BOXES,
        ("none", "half", "all"),
        (False, True),
        (False, True),
        (False, True),
        (b"\0\0\0\0", b"\xff\0\0\xff"),
    )
)


def test_first_frames_of_animated_webps_stand_on_white() -> None:
    wrong = []
    for box, alpha, flagged, blended, disposed, background in WEBPS:
        body, expected = webp(
            box, alpha=alpha, flagged=flagged, blended=blended, disposed=disposed, background=background
        )
        if not np.array_equal(shown(body), expected):
            wrong.append((box, alpha, flagged, blended, disposed, background))
    print(f"{len(WEBPS)} combinations")
    assert wrong == []


def test_what_a_first_frame_leaves_free_is_white_when_the_canvas_is_reduced() -> None:
    canvas = np.full((1200, 1200, 3), 255, np.uint8)
    image = Image.new("P", (1200, 1200), 1)
    image.putpalette(PALETTE.tobytes())
    body = bytearray(encode(image.crop((0, 0, 400, 400)), "GIF"))
    body[6:10] = struct.pack("<HH", 1200, 1200)
    at = body.index(b"\x2c\0\0\0\0" + struct.pack("<HH", 400, 400))
    body[at + 1 : at + 5] = struct.pack("<HH", 401, 501)
    canvas[501:901, 401:801] = (0, 255, 0)
    decoded = decode(bytes(body), target_px=50)
    expected = np.asarray(Image.fromarray(canvas).reduce(1200 // decoded.rgb.shape[0]))
    assert decoded.rgb.shape[0] < 1200
    assert np.abs(decoded.rgb.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("separate", [False, True])
def test_an_animated_png_gives_its_still_picture(separate: bool) -> None:
    still, frame = Image.new("RGB", CANVAS, "green"), Image.new("RGB", CANVAS, "red")
    frame.paste("blue", (4, 4, 8, 8))
    body = encode(still, "PNG", save_all=True, append_images=[frame, still], default_image=separate)
    assert b"acTL" in body
    np.testing.assert_array_equal(shown(body), np.asarray(still))

"""ICC profiles, written here from the format's description."""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

D50 = (0.9642, 1.0, 0.8249)
# Columns are red, green and blue: their XYZ under D50, as every matrix profile holds them.
SRGB: Matrix = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
ADOBE: Matrix = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
DISPLAY_P3: Matrix = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
PROPHOTO: Matrix = np.array(
    [[0.79767, 0.13519, 0.03135], [0.28804, 0.71188, 0.00009], [0.00000, 0.00000, 0.82491]]
)


def fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))


def gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


def profile(space: bytes, tags: dict[bytes, bytes], *, kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    table, contents = b"", b""
    start = 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(contents), len(content))
        contents += content.ljust(-(-len(content) // 4) * 4, b"\0")
    head = struct.pack(">I4sI4s4s4s", start + len(contents), b"\0\0\0\0", 0x02100000, kind, space, pcs)
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(map(fixed, D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + contents


def described(name: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(80)


def of_colours(primaries: Matrix, exponent: float = 2.2) -> bytes:
    columns = {name: xyz(list(primaries[:, n])) for n, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(exponent))
    return profile(b"RGB ", {b"desc": described(b"colours"), b"wtpt": xyz(D50), **columns, **curves})


def of_greys(exponent: float) -> bytes:
    return profile(b"GRAY", {b"desc": described(b"greys"), b"wtpt": xyz(D50), b"kTRC": gamma(exponent)})


def of_inks(corners: NDArray[np.uint8]) -> bytes:
    """[16, 3] of CIE Lab as bytes, cyan changing slowest: a table with two steps for each ink."""
    line = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + b"".join(map(fixed, np.eye(3).flat))
    table += line * 4 + corners.tobytes() + line * 3
    return profile(
        b"CMYK", {b"desc": described(b"inks"), b"wtpt": xyz(D50), b"A2B0": table}, kind=b"prtr", pcs=b"Lab "
    )


def encode_srgb(linear: Matrix) -> Matrix:
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def to_srgb(rgb: NDArray[np.uint8], primaries: Matrix, exponent: float = 2.2) -> Matrix:
    """What a picture in these colours is in sRGB, 0..255, by the definitions alone."""
    linear = (rgb / 255.0) ** exponent
    return encode_srgb(linear @ primaries.T @ np.linalg.inv(SRGB).T)


def lab_to_srgb(lab: NDArray[np.uint8]) -> Matrix:
    lightness, a, b = lab[..., 0] / 2.55, lab[..., 1] - 128.0, lab[..., 2] - 128.0
    fy = (lightness + 16) / 116
    f = np.stack([fy + a / 500, fy, fy - b / 200], axis=-1)
    scaled = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2)
    return encode_srgb(scaled * np.array(D50) @ np.linalg.inv(SRGB).T)

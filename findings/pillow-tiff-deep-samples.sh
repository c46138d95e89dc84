#!/usr/bin/env bash
# Pillow 13.0.0: three kinds of TIFF with samples over 8 bits open without an error and with wrong pixels.
#
# tifffile 2026.3.3 writes them. A good guess is that they read like their 8-bit versions. Seen:
#   16 bits, white is zero     stored values as they are: black and white are exchanged (8 bits are inverted)
#   32 bits, unsigned          values from 2^31 on become negative
#   16-bit RGB, planes apart   one colour over the whole picture becomes two, in turns
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
"$place/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import tifffile
from PIL import Image


def read(samples, **layout):
    stream = io.BytesIO()
    tifffile.imwrite(stream, samples, **layout)
    return np.asarray(Image.open(stream)).tolist()


grey8 = np.array([[0, 64, 128, 255]], dtype=np.uint8)
grey16 = np.array([[0, 16384, 32768, 65535]], dtype=np.uint16)
grey32 = np.array([[0, 2**30, 2**31, 2**32 - 1]], dtype=np.uint32)
orange = np.zeros((3, 1, 4), dtype=np.uint16)  # planes: red 65535, green 32768, blue 0
orange[0], orange[1] = 65535, 32768

white8 = read(grey8, photometric="miniswhite")
white16 = read(grey16, photometric="miniswhite")
wide = read(grey32, photometric="minisblack")
[row] = read(orange, photometric="rgb", planarconfig="separate")
print(f"white is zero: 8 bits {white8[0]}, 16 bits {white16[0]}\n32 bits: {wide[0]}\n16-bit planes: {row}")
assert white8 == [[255, 191, 127, 0]]
assert white16 == grey16.tolist(), "16 bits are inverted now"
assert wide == [[0, 2**30, -(2**31), -1]], "32 bits are unsigned now"
assert row == [[255, 0, 0], [255, 128, 0]] * 2, "planes are read in another way now"
PYTHON

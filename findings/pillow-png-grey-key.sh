#!/usr/bin/env bash
# Pillow 13.0.0: the colour key of a grey PNG works for 8 bits a sample and for no other depth above one.
#
# A tRNS chunk of a grey PNG names one sample value that is transparent. A good guess is that `convert("RGBA")` makes
# those pixels transparent whatever the depth. Seen: right for 8 bits; for 2, 4 and 16 bits every pixel is opaque. The
# samples of 2 and 4 bits are scaled to 0..255 and the key is not; the mode I;16 loses it on the way.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
"$place/venv/bin/python" - <<'PYTHON'
import io
import struct
import zlib

from PIL import Image


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def grey_png(bits, samples, key):
    packed = sum(sample << (bits * (len(samples) - 1 - place)) for place, sample in enumerate(samples))
    row = packed.to_bytes(len(samples) * bits // 8, "big")
    header = struct.pack(">IIBBBBB", len(samples), 1, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"tRNS", struct.pack(">H", key)), (b"IDAT", zlib.compress(b"\0" + row)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks) + chunk(b"IEND", b"")


def alpha(bits, samples, key):
    image = Image.open(io.BytesIO(grey_png(bits, samples, key))).convert("RGBA")
    return list(image.getchannel("A").tobytes())


seen = {
    2: alpha(2, [0, 1, 2, 3], key=1),
    4: alpha(4, [4, 5, 6, 7], key=5),
    8: alpha(8, [80, 81, 82, 83], key=81),
    16: alpha(16, [0x1200, 0x1234, 0x1235, 0x1300], key=0x1234),
}
for bits, values in seen.items():
    print(f"{bits:>2} bits, the second sample is the key: alpha {values}")
right, ignored = [255, 0, 255, 255], [255, 255, 255, 255]
assert seen[8] == right
assert seen[2] == seen[4] == seen[16] == ignored, "the key is honoured now: this finding is out of date"
PYTHON

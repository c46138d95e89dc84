#!/usr/bin/env bash
# Pillow 13.0.0: an animated WebP that Pillow writes comes back without its transparency.
#
# The first frame is green in its middle and transparent around it, the second is opaque. libwebp's encoder stores only
# the green part of the first frame, which has no alpha, and leaves the file's alpha flag off. A good guess is that the
# rest of the canvas is transparent again, as libwebp's own animation decoder has it. Seen: mode RGB, and black.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
"$place/venv/bin/python" - <<'PYTHON'
import io

from PIL import Image


def corner(*further):
    frame = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    frame.paste((0, 255, 0, 255), (8, 8, 24, 24))
    stream = io.BytesIO()
    frame.save(stream, "WEBP", lossless=True, save_all=True, append_images=further)
    image = Image.open(io.BytesIO(stream.getvalue()))
    return image.mode, image.getpixel((0, 0))


still = corner()
animation = corner(Image.new("RGBA", (32, 32), "red"))
print(f"one frame: {still}, two frames: {animation}")
assert still == ("RGBA", (0, 0, 0, 0))
assert animation == ("RGB", (0, 0, 0)), "the transparency is kept now: this finding is out of date"
PYTHON

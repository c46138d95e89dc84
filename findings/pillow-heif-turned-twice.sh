#!/usr/bin/env bash
# pillow-heif 1.8.1 with Pillow 13.0.0: a picture that EXIF turns is turned twice by `add_from_pillow`.
#
# A JPEG whose EXIF orientation is 6 (turn by 90 degrees) is added to a HEIF file. A good guess is that the HEIF file
# looks like the JPEG. Seen: the pixels are turned, and the file tells its reader to turn them once more, so that it is
# upside down to the stored picture and has the wrong shape. `Image.save(…, "HEIF")` gives the right file.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 pillow-heif==1.8.1
"$place/venv/bin/python" - <<'PYTHON'
import io

import pillow_heif
from PIL import Image, ImageOps

pillow_heif.register_heif_opener()
ORIENTATION = 0x112
stored = Image.new("RGB", (64, 32), "red")
stored.paste("blue", (32, 0, 64, 32))  # the right half: at the bottom once it is turned
exif = Image.Exif()
exif[ORIENTATION] = 6
jpeg = io.BytesIO()
stored.save(jpeg, "JPEG", exif=exif, quality=95)


def shown(stream):
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(stream.getvalue())))
    red, _, blue = upright.getpixel((8, 8))
    return upright.size, "red" if red > blue else "blue"


added, saved = io.BytesIO(), io.BytesIO()
file = pillow_heif.HeifFile()
file.add_from_pillow(Image.open(io.BytesIO(jpeg.getvalue())))
file.save(added, quality=95)
Image.open(io.BytesIO(jpeg.getvalue())).save(saved, "HEIF", quality=95)
print(f"JPEG {shown(jpeg)}, add_from_pillow {shown(added)}, Image.save {shown(saved)}: size and colour at the top left")
assert shown(jpeg) == shown(saved) == ((32, 64), "red")
assert shown(added) == ((64, 32), "blue"), "it is turned in another way now: this finding is out of date"
PYTHON

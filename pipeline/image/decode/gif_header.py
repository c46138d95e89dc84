"""The blocks before the first picture of a GIF. They are counted here and read by Pillow.

Pillow reads it block by block, each of 255 bytes at most and of one at least, in Python.
"""

import re

from pipeline.image.decode.work import Work

_HEADER_BYTES = 13  # the signature and the logical screen
_HAS_COLOURS = 0x80
_NEXT = re.compile(rb"[!,;]")  # an extension, a picture, the end; other bytes are skipped, as by Pillow
_EXTENSION = b"!"
_SKIPPED_BYTES_PER_STEP = 2  # Pillow's loop over them costs as much as a short block


def check_gif(body: bytes, work: Work) -> None:
    """Raises ImageError(decode_error) for more blocks than a file of this size may have."""
    at = _HEADER_BYTES
    flags = body[10] if len(body) > 10 else 0
    if flags & _HAS_COLOURS:
        at += 3 << (flags & 7) + 1
    while True:
        found = _NEXT.search(body, at)
        start = len(body) if found is None else found.start()
        work.step(1 + (start - at) // _SKIPPED_BYTES_PER_STEP)
        if found is None or found[0] != _EXTENSION:
            return
        at = _skip_blocks(body, start + 2, work)


def _skip_blocks(body: bytes, at: int, work: Work) -> int:
    """Returns the offset behind the empty block that ends an extension."""
    while at < len(body) and body[at]:
        work.step()
        at += 1 + body[at]
    return at + 1

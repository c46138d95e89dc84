"""Objects that were stored compressed, and whose store says so (`Content-Encoding`)."""

import zlib

from pipeline.errors import ImageError
from pipeline.types import Reason

GZIP_MAGIC = b"\x1f\x8b"
_GZIP_NAMES = frozenset({"gzip", "x-gzip"})
_MAX_MEMBERS = 64  # a gzip file may be several, one behind the other; each costs a copy of the rest
_WITH_GZIP_HEADER = 31  # zlib's code for it


def undo_encoding(body: bytes, encoding: str, *, max_bytes: int) -> bytes:
    """The object as its author sees it.

    Uploaders set this header by mistake, so a body that is not compressed stays as it is, as does one of an
    encoding other than gzip.

    Args:
        encoding: value of the header, "" where there is none.
        max_bytes: of the result. No more is ever unpacked.

    Raises:
        ImageError: too_large, truncated, or decode_error for damaged data.
    """
    names = {name.strip().lower() for name in encoding.split(",")}
    if not names & _GZIP_NAMES or not body.startswith(GZIP_MAGIC):
        return body
    try:
        return _unpack(body, max_bytes)
    except zlib.error as err:
        raise ImageError(
            Reason.DECODE_ERROR, "stored with gzip, and the compressed data are damaged"
        ) from err


def _unpack(body: bytes, max_bytes: int) -> bytes:
    pieces, room = [], max_bytes
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(_WITH_GZIP_HEADER)
        piece = member.decompress(body, room + 1)
        if len(piece) > room:
            raise ImageError(
                Reason.TOO_LARGE, f"more than the limit of {max_bytes} bytes, unpacked from gzip"
            )
        if not member.eof:
            raise ImageError(Reason.TRUNCATED, "stored with gzip, and the compressed data end early")
        pieces.append(piece)
        room -= len(piece)
        body = member.unused_data
        if not body.startswith(GZIP_MAGIC):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    raise ImageError(Reason.DECODE_ERROR, f"stored with gzip, in more than {_MAX_MEMBERS} parts")

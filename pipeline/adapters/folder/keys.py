"""File names as keys: every name has exactly one key, every key at most one name.

A name is any bytes but NUL and "/"; a key is valid Unicode. Names in UTF-8 are their own key. A byte that is
not part of valid UTF-8 becomes U+EF00 + byte, U+EF80..U+EFFF (MirBSD's OPTU-8 range for the same purpose). A
name that holds such a character for real has its three bytes written in the same way, so that no two names
share a key.
"""

import os
from pathlib import Path

_FIRST, _LAST = 0xEF80, 0xEFFF  # private use area, unassigned; bytes below 0x80 are always valid UTF-8
_SURROGATES = 0xDC00  # Python's surrogateescape adds this to a byte

_TO_KEY: dict[int, str] = {_SURROGATES + byte: chr(0xEF00 + byte) for byte in range(0x80, 0x100)} | {
    point: "".join(chr(0xEF00 + byte) for byte in chr(point).encode()) for point in range(_FIRST, _LAST + 1)
}
_TO_NAME: dict[int, str] = {0xEF00 + byte: chr(_SURROGATES + byte) for byte in range(0x80, 0x100)}


def key_of_name(name: bytes) -> str:
    """The key of a file name or relative path."""
    text = name.decode("utf-8", "surrogateescape")
    return text if text.isascii() else text.translate(_TO_KEY)  # ASCII is most names, and 5 times faster


def locate_file(path: Path) -> tuple[str, str]:
    """The bucket and key of a file: its folder, with all links resolved, and its name as keys have it."""
    real = path.resolve()
    return str(real.parent), key_of_name(os.fsencode(real.name))


def name_of_key(key: str) -> bytes | None:
    """The only name with this key. None when no name has it."""
    if "\0" in key:
        return None
    if key.isascii():
        return key.encode()
    try:
        name = key.translate(_TO_NAME).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    # Escapes that spell valid UTF-8, and lone surrogates, would be second keys of a name.
    return name if key_of_name(name) == key else None

"""The text of a key: made here, and read without asking anybody whether it can be one.

`pictor_sk_`, the id of the key (12), its secret (43) and a checksum (6), without a sign between them, so that
a double click selects all of it. Scanners for secrets find it by the prefix, and know by the checksum that it
is no other text. The secret has 256 random bits. Nobody guesses that, however fast they can try, so SHA-256
is enough to keep it by. A slow hash is for passwords, which people choose.
"""

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "pictor_sk_"
SECRET_BYTES = 32

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_CHARS, _SECRET_CHARS, _CHECK_CHARS = 12, 43, 6  # 62**43 is over 2**256, 62**6 over 2**32
_KEY = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{_ID_CHARS + _SECRET_CHARS}}})([0-9A-Za-z]{{{_CHECK_CHARS}}})")
KEY_ID = re.compile(rf"[0-9A-Za-z]{{{_ID_CHARS}}}")


def new_key_text() -> str:
    """The whole text, with an id and a secret of its own."""
    key_id = "".join(secrets.choice(_DIGITS) for _ in range(_ID_CHARS))
    body = key_id + _in_digits(int.from_bytes(secrets.token_bytes(SECRET_BYTES)), _SECRET_CHARS)
    return PREFIX + body + _checksum(body)


def id_in_text(text: str) -> str | None:
    """The id of the key; None for a text that cannot be a key."""
    found = _KEY.fullmatch(text)
    if found is None or _checksum(found[1]) != found[2]:
        return None
    return found[1][:_ID_CHARS]


def digest_of(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _in_digits(zlib.crc32(body.encode()), _CHECK_CHARS)


def _in_digits(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits

"""User metadata of one row as a copy keeps it.

Pairs `\\x01 name \\x02 value \\x03`, the texts escaped as in JSON. An escaped text has no control characters,
so a pair that is found by its bytes is never the inside of another.
"""

import json
import re
from collections.abc import Iterable, Mapping


def metadata_line(metadata: Mapping[str, str]) -> bytes:
    return b"".join(metadata_pair(name, text) for name, text in metadata.items())


def metadata_pair(name: str, text: str) -> bytes:
    return f"\x01{_escape(name)}\x02{_escape(text)}\x03".encode("ascii")


def any_pair(name: str, texts: Iterable[str]) -> re.Pattern[bytes]:
    """Finds the pairs of this name with one of the texts."""
    return re.compile(b"|".join(re.escape(metadata_pair(name, text)) for text in texts))


def any_value(name: str) -> re.Pattern[bytes]:
    """Finds the pairs of this name. Its first group is their text, for `read_text`."""
    beginning = f"\x01{_escape(name)}\x02".encode("ascii")
    return re.compile(re.escape(beginning) + rb"([^\x03]*)")


def read_text(escaped: bytes) -> str:
    return _unescape(escaped.decode("ascii")) if b"\\" in escaped else escaped.decode("ascii")


def read_metadata(line: bytes) -> dict[str, str]:
    pairs = (pair[1:].split("\x02") for pair in line.decode("ascii").split("\x03")[:-1])
    return {_unescape(name): _unescape(text) for name, text in pairs}


def _escape(text: str) -> str:
    return json.dumps(text)[1:-1]


def _unescape(text: str) -> str:
    return str(json.loads(f'"{text}"'))

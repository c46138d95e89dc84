"""RFC 8785 JSON of what a record holds.

The library `rfc8785` writes a number or a text at a time, in Python. The standard library's encoder is in C
and writes nearly all records the same, seven times as fast. Values that the two would write in different ways
are told apart here, and a record with one of them is left to `rfc8785`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from typing import Any

import rfc8785

from pipeline.types.audit import Json

MAX_INTEGER = 2**53 - 1  # `rfc8785` refuses larger ones
PLAIN_FLOATS = (1e-4, 1e16)  # between these, Python writes no exponent, and neither does RFC 8785

_encode: Callable[[object], str] = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


def to_canonical(value: object) -> bytes:
    """Args: `value` is of dataclasses, mappings, sequences, times and what JSON has.

    Raises:
        rfc8785.CanonicalizationError: it holds a number that JSON cannot say.
    """
    plainly = _Plainly()
    plain = plainly.said(value)
    return rfc8785.dumps(plain) if plainly.has_odd else _encode(plain).encode()


def fields_of(value: Any) -> dict[str, object]:
    """The parts of a dataclass, as they are."""
    kind: Any = type(value)
    return {name: getattr(value, name) for name in _names_in(kind)}


class _Plainly:
    """`has_odd` tells that the encoders disagree on something that was said."""

    def __init__(self) -> None:
        self.has_odd = False

    def said(self, value: object) -> Json:
        # By the exact type first: `match` asks each class in turn, and a record has 200 values.
        kind = type(value)
        if value is None or kind is bool:
            return value  # type: ignore[return-value]
        if kind is float:
            return self._number(value)  # type: ignore[arg-type]
        match value:
            case str():
                return value if kind is str and value.isascii() else as_unicode(value)
            case int():
                self.has_odd |= abs(value) > MAX_INTEGER
                return int(value)
            case list() | tuple():
                return [self.said(part) for part in value]
            case datetime():
                return value.astimezone(UTC).isoformat(timespec="microseconds")
            case Mapping():
                return {self._name(name): self.said(part) for name, part in value.items()}
            case _:
                return {name: self.said(part) for name, part in fields_of(value).items()}

    def _number(self, value: float) -> Json:
        least, beyond = PLAIN_FLOATS
        if value.is_integer() and abs(value) < beyond:
            return int(value)
        self.has_odd |= not least <= abs(value) < beyond
        return value

    def _name(self, name: object) -> str:
        """RFC 8785 sorts names by UTF-16, and Python by code points."""
        text = as_unicode(str(name))
        self.has_odd |= not text.isascii()
        return text


def as_unicode(text: str) -> str:
    """Keys of a folder may be no Unicode. Their bytes are then shown, as in every message of ours."""
    return text.encode("utf-8", "backslashreplace").decode()


@cache
def _names_in(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))

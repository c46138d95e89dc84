"""RFC 8785 JSON of what a record holds.

The library `rfc8785` takes three times as long for a record, and every search waits for it. It stays for the
numbers that Python writes in another way, and says what is right in the tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from json.encoder import encode_basestring as _quoted
from operator import attrgetter, itemgetter
from types import NoneType
from typing import Any

import rfc8785

from pipeline.types.audit import Json

MAX_INTEGER = 2**53 - 1  # `rfc8785` refuses larger ones
PLAIN_FLOATS = (1e-4, 1e16)  # between these, Python writes no exponent, and neither does RFC 8785

Writer = Callable[[Any], str]


def to_canonical(value: object, **more: Json) -> bytes:
    """JSON of dataclasses, mappings, sequences, times and what JSON has.

    Args:
        more: further parts of a dataclass, which are the same each time.

    Raises:
        rfc8785.CanonicalizationError: it holds a number that JSON cannot say.
    """
    kind: Any = type(value)
    writer = _writer_of(kind, tuple(more.items())) if more else _WRITERS[kind]
    return writer(value).encode()


def as_unicode(text: str) -> str:
    """Keys of a folder may be no Unicode. Their bytes are then shown, as in every message of ours."""
    return text.encode("utf-8", "backslashreplace").decode()


def _text(value: str) -> str:
    return _quoted(value if value.isascii() else as_unicode(value))


def _integer(value: int) -> str:
    return str(int(value)) if -MAX_INTEGER <= value <= MAX_INTEGER else rfc8785.dumps(int(value)).decode()


def _float(value: float) -> str:
    least, beyond = PLAIN_FLOATS
    size = abs(value)
    if size < beyond and value.is_integer():
        return str(int(value))
    return repr(value) if least <= size < beyond else rfc8785.dumps(value).decode()


def _sequence(value: Any) -> str:
    return f"[{','.join([_WRITERS[type(part)](part) for part in value])}]"


def _mapping(value: Mapping[Any, Any]) -> str:
    pairs = [(str(name), part) for name, part in value.items()]
    if all(name.isascii() for name, _ in pairs):
        pairs.sort(key=itemgetter(0))
    else:  # RFC 8785 sorts names by UTF-16, and Python by code points
        pairs = list({as_unicode(name): part for name, part in pairs}.items())
        pairs.sort(key=lambda pair: pair[0].encode("utf-16-be"))
    return f"{{{','.join([f'{_quoted(name)}:{_WRITERS[type(part)](part)}' for name, part in pairs])}}}"


@cache
def _writer_of(kind: Any, more: tuple[tuple[str, Json], ...] = ()) -> Writer:
    """Of a dataclass: its JSON is a form with a mark for each part."""
    names = sorted(field.name for field in fields(kind))
    same = {name: _WRITERS[type(part)](part).replace("%", "%%") for name, part in more}
    parts = dict.fromkeys(names, "%s") | same
    pairs = ",".join(f"{_quoted(name)}:{parts[name]}" for name in sorted(parts))
    form, parts_of = f"{{{pairs}}}", attrgetter(*names, names[0])  # of one name alone it gives no tuple

    def write(value: Any) -> str:
        return form % tuple([_WRITERS[type(part)](part) for part in parts_of(value)[:-1]])

    return write


class _Writers(dict[type, Writer]):
    """By the exact type of a value. It is found out once for each."""

    def __missing__(self, kind: type) -> Writer:
        writer = next((writer for of, writer in _OF_KINDS if issubclass(kind, of)), None)
        if writer is None:
            if not is_dataclass(kind):
                raise TypeError(f"{kind.__name__} is nothing that a record holds")
            writer = _writer_of(kind)
        self[kind] = writer
        return writer


# Also what is a kind of these, such as the member of an enumeration.
_OF_KINDS: tuple[tuple[type, Writer], ...] = (
    (str, _text),
    (int, _integer),
    (float, lambda value: _float(float(value))),
    (list, _sequence),
    (tuple, _sequence),
    (datetime, lambda value: _text(value.astimezone(UTC).isoformat(timespec="microseconds"))),
    (Mapping, _mapping),
)
_WRITERS = _Writers({NoneType: lambda _: "null", bool: lambda value: "true" if value else "false"})

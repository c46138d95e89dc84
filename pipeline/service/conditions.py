"""Read a condition of a search from JSON, by one set of rules for every door.

{"and": [{"field": "metadata.camera", "in": ["7", "8"]},
         {"or": [{"field": "width", "gte": 1024},
                 {"field": "indexed_at", "gte": "2026-01-01", "lt": "2026-02-01"}]}]}
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import assert_never

from pipeline.errors import ArgumentError
from pipeline.names import shown
from pipeline.types import AllOf, AnyOf, Compared, Condition, OneOf, Order, RowNumber, UserMetadata
from pipeline.types.audit import Json

MAX_DEPTH = 5  # and/or within and/or
MAX_COMPARISONS = 64  # a database makes each of them for each row
MAX_VALUES = 512  # over all comparisons
MAX_CHARS = 2048  # of a name or text: S3 keeps 2 KB of user metadata for an object
MAX_JSON_CHARS = 256 * 1024
MAX_NUMBER = 2**53 - 1  # so far all readers of JSON agree about whole numbers, and a record can hold them

_METADATA = "metadata."
FIELDS = (f"{_METADATA}NAME", *RowNumber)
_JOINTS: Mapping[str, type[AllOf | AnyOf]] = {"and": AllOf, "or": AnyOf}
_ORDERS = tuple(order.value for order in Order)
_COMPARISONS = f"eq, in, or a range of {', '.join(_ORDERS)}"
_EXAMPLE = '{"field": "metadata.camera", "eq": "7"}'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_condition_text(text: str, *, of: str = "where") -> Condition | None:
    """The condition that JSON text means; None for an empty text.

    Raises:
        ArgumentError: no JSON, or see `read_condition`.
    """
    if not text.strip():
        return None
    if len(text) > MAX_JSON_CHARS:
        raise ArgumentError(f"{of}: {len(text)} characters, at most {MAX_JSON_CHARS} are allowed")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ArgumentError(f"{of} {shown(text)}: JSON is expected, for example {_EXAMPLE}") from None
    return read_condition(value, of=of)


def read_condition(value: object, *, of: str = "where") -> Condition:
    """The condition that a value of JSON means.

    Args:
        of: the name of the argument, for messages.

    Raises:
        ArgumentError: names the place, what was found there and what is allowed.
    """
    condition = _read(value, of, depth=1)
    leaves = list(_leaves(condition))
    if len(leaves) > MAX_COMPARISONS:
        raise ArgumentError(f"{of}: {len(leaves)} comparisons, at most {MAX_COMPARISONS} are allowed")
    values = sum(len(leaf.values) if isinstance(leaf, OneOf) else 1 for leaf in leaves)
    if values > MAX_VALUES:
        raise ArgumentError(f"{of}: {values} values, at most {MAX_VALUES} are allowed")
    return condition


def condition_json(condition: Condition) -> dict[str, Json]:
    """What `read_condition` reads. Times are microseconds since 1970."""
    match condition:
        case OneOf(field=field, values=values):
            return {"field": _field_name(field), "in": list(values)}
        case Compared(field=field, order=order, value=value):
            return {"field": _field_name(field), order.value: value}
        case AllOf(parts=parts):
            return {"and": [condition_json(part) for part in parts]}
        case AnyOf(parts=parts):
            return {"or": [condition_json(part) for part in parts]}
        case _:
            assert_never(condition)


def _field_name(field: RowNumber | UserMetadata) -> str:
    return f"{_METADATA}{field.name}" if isinstance(field, UserMetadata) else field.value


def _read(value: object, at: str, *, depth: int) -> Condition:
    if depth > MAX_DEPTH:
        raise ArgumentError(f"{at}: conditions are nested more than {MAX_DEPTH} deep")
    if not isinstance(value, Mapping):
        raise ArgumentError(f"{at}: an object is expected, for example {_EXAMPLE}; found {_kind(value)}")
    for word, joint in _JOINTS.items():
        if word in value:
            _refuse_others(value, (word,), at)
            parts = _list_of(value[word], f"{at}.{word}")
            return joint(parts=tuple(_read(part, place, depth=depth + 1) for place, part in parts))
    return _read_comparison(value, at)


def _read_comparison(value: Mapping[str, object], at: str) -> Condition:
    _refuse_others(value, ("field", "eq", "in", *_ORDERS), at)
    field = _read_field(value.get("field"), f"{at}.field")
    match sorted(name for name in value if name != "field"):
        case ["eq"]:
            return _one_of(field, [(f"{at}.eq", value["eq"])])
        case ["in"]:
            return _one_of(field, _list_of(value["in"], f"{at}.in"))
        case [*ways] if ways and set(ways) <= set(_ORDERS):
            return _read_range(field, {way: value[way] for way in ways}, at)
        case ways:
            found = " and ".join(ways) or "none of them"
            raise ArgumentError(f"{at}: {_COMPARISONS} is expected, found {found}")


def _read_range(field: RowNumber | UserMetadata, bounds: Mapping[str, object], at: str) -> Condition:
    parts = tuple(
        Compared(field=field, order=Order(way), value=_read_value(field, bound, f"{at}.{way}"))
        for way, bound in bounds.items()
    )
    return parts[0] if len(parts) == 1 else AllOf(parts=parts)


def _one_of(field: RowNumber | UserMetadata, values: list[tuple[str, object]]) -> OneOf:
    if isinstance(field, UserMetadata):
        return OneOf(field=field, values=tuple(_read_text(value, at, field.name) for at, value in values))
    return OneOf(field=field, values=tuple(_read_number(field, value, at) for at, value in values))


def _read_field(name: object, at: str) -> RowNumber | UserMetadata:
    if isinstance(name, str):
        if name.startswith(_METADATA) and name != _METADATA:
            return UserMetadata(name=_checked(name.removeprefix(_METADATA), at))
        if name in tuple(RowNumber):
            return RowNumber(name)
    found = shown(name) if isinstance(name, str) else _kind(name)
    raise ArgumentError(f"{at}: one of {', '.join(FIELDS)} is expected, found {found}")


def _read_value(field: RowNumber | UserMetadata, value: object, at: str) -> str | int:
    if isinstance(field, UserMetadata):
        return _read_text(value, at, field.name)
    return _read_number(field, value, at)


def _read_text(value: object, at: str, name: str) -> str:
    if not isinstance(value, str):
        raise ArgumentError(f"{at}: metadata {shown(name)} is a text, found {_kind(value)}")
    return _checked(value, at)


def _read_number(field: RowNumber, value: object, at: str) -> int:
    if field is RowNumber.INDEXED_AT:
        return _read_time(value, at)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_NUMBER:
        raise ArgumentError(f"{at}: {field} is a whole number from 0 to {MAX_NUMBER}, found {_kind(value)}")
    return value


def _read_time(value: object, at: str) -> int:
    """In microseconds since 1970. Without a time zone it is UTC. No image is as old or new as the bounds."""
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        exact = (moment - _EPOCH) // timedelta(microseconds=1)
        return max(-MAX_NUMBER, min(MAX_NUMBER, exact))
    except (ValueError, OverflowError):
        found = shown(value) if isinstance(value, str) else _kind(value)
        raise ArgumentError(f"{at}: a time such as 2026-01-31T12:00:00Z is expected, found {found}") from None


def _checked(text: str, at: str) -> str:
    if len(text) > MAX_CHARS:
        raise ArgumentError(f"{at}: {len(text)} characters, at most {MAX_CHARS} are allowed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"{at} {shown(text)}: UTF-8 is expected, found half of a character") from None
    return text


def _list_of(value: object, at: str) -> list[tuple[str, object]]:
    """Each entry with its place."""
    if not isinstance(value, list) or not value:
        found = "an empty one" if value == [] else _kind(value)
        raise ArgumentError(f"{at}: a list is expected, found {found}")
    return [(f"{at}[{number}]", entry) for number, entry in enumerate(value)]


def _refuse_others(value: Mapping[str, object], allowed: tuple[str, ...], at: str) -> None:
    if others := [name for name in value if name not in allowed]:
        raise ArgumentError(f"{at}: {shown(others[0])} is unknown; allowed are {', '.join(allowed)}")


def _leaves(condition: Condition) -> Iterator[OneOf | Compared]:
    if isinstance(condition, AllOf | AnyOf):
        for part in condition.parts:
            yield from _leaves(part)
    else:
        yield condition


def _kind(value: object) -> str:
    names = {bool: "true or false", dict: "an object", list: "a list", str: "a text", type(None): "nothing"}
    return names[type(value)] if type(value) in names else shown(str(value))

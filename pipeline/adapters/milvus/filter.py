"""SearchFilter → Milvus expression. The only place where a value becomes expression text.

Neither Milvus Lite nor servers before 2.5 know filter templates, so values are written as string literals by
`string_literal` alone. Two things are avoided because the engines disagree about them:

- `like`: Milvus Lite has no escape for `%` and `_`. A prefix is a range instead, `"ab" <= key < "ac"`; both
  engines compare strings by code point (UTF-8 bytes sort the same way).
- escapes in JSON keys: servers take the text between the quotes as it stands. Metadata keys are therefore
  stored with every unusual character percent-encoded, and asked for in the same form.
"""

from collections.abc import Iterable
from typing import assert_never
from urllib.parse import quote, unquote

from pipeline.errors import ArgumentError
from pipeline.types import (
    AllOf,
    AnyOf,
    Compared,
    Condition,
    OneOf,
    Order,
    RowNumber,
    SearchFilter,
    UserMetadata,
)

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_SIGNS = {Order.LESS: "<", Order.AT_MOST: "<=", Order.MORE: ">", Order.AT_LEAST: ">="}
_EMPTY_KEY = "%"  # no percent-encoded text is a lone percent sign; servers refuse an empty JSON key


def to_expression(where: SearchFilter | None) -> str:
    """An expression that holds for exactly the rows that `where` describes. Empty when it describes all.

    Raises:
        ArgumentError: a value is not valid Unicode, which no stored value can equal.
    """
    if where is None:
        return ""
    conditions = [
        f"metadata[{json_key(key)}] == {string_literal(text)}" for key, text in where.metadata.items()
    ]
    if where.key_prefix:
        conditions.insert(0, begins_with("key", where.key_prefix))
    if where.bucket:
        conditions.insert(0, f"bucket == {string_literal(where.bucket)}")
    if where.condition is not None:
        conditions.append(_of_condition(where.condition))
    return " and ".join(conditions)


def _of_condition(condition: Condition) -> str:
    match condition:
        case AllOf():
            return _joined(condition.parts, " and ")
        case AnyOf():
            return _joined(condition.parts, " or ")
        case OneOf():
            return f"{_operand(condition.field)} in [{','.join(map(_literal, condition.values))}]"
        case Compared():
            sign = _SIGNS[condition.order]
            return f"{_operand(condition.field)} {sign} {_literal(condition.value)}"
        case _:
            assert_never(condition)


def _joined(parts: Iterable[Condition], word: str) -> str:
    return f"({word.join(map(_of_condition, parts))})"


def _operand(field: RowNumber | UserMetadata) -> str:
    return f"metadata[{json_key(field.name)}]" if isinstance(field, UserMetadata) else field.value


def _literal(value: str | int) -> str:
    return string_literal(value) if isinstance(value, str) else str(value)


def ids_expression(ids: Iterable[str], *, field: str = "id") -> str:
    """Holds for these rows. pymilvus' own `ids=` argument does not escape."""
    return f"{field} in [{','.join(string_literal(id_) for id_ in ids)}]"


def string_literal(text: str) -> str:
    """A double-quoted literal that both parsers read back as `text`."""
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise ArgumentError(f"filter value {text!r:.80} is not valid Unicode") from err
    return '"' + text.translate(_ESCAPES) + '"'


def json_key(key: str) -> str:
    return string_literal(stored_key(key))


def stored_key(key: str) -> str:
    """A metadata key as it is stored: ASCII letters, digits, `_`, `.` and `-` stay, the rest is %XX."""
    try:
        encoded = quote(key, safe="")
    except UnicodeEncodeError as err:
        raise ArgumentError(f"metadata key {key!r:.80} is not valid Unicode") from err
    return encoded.replace("~", "%7E") or _EMPTY_KEY  # a tilde is the escape sign of JSON pointers


def plain_key(stored: str) -> str:
    """The inverse of `stored_key`."""
    return "" if stored == _EMPTY_KEY else unquote(stored)


def begins_with(field: str, prefix: str) -> str:
    condition = f"{field} >= {string_literal(prefix)}"
    end = _after_prefix(prefix)
    return f"{condition} and {field} < {string_literal(end)}" if end else condition


def _after_prefix(prefix: str) -> str:
    """The smallest text above everything that begins with `prefix`. Empty when there is none."""
    stem = prefix.rstrip("\U0010ffff")  # the last code point has no successor: carry to the one before it
    if not stem:
        return ""
    successor = ord(stem[-1]) + 1
    if successor == 0xD800:
        successor = 0xE000  # surrogates are no characters
    return stem[:-1] + chr(successor)

"""The meaning of a filter, in plain Python. Whatever else searches must find the same rows."""

import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from pipeline.types import (
    AllOf,
    AnyOf,
    Compared,
    Condition,
    IndexRow,
    OneOf,
    Order,
    RowNumber,
    SearchFilter,
    UserMetadata,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOLDS: Mapping[Order, Callable[[Any, Any], bool]] = {
    Order.LESS: operator.lt,
    Order.AT_MOST: operator.le,
    Order.MORE: operator.gt,
    Order.AT_LEAST: operator.ge,
}


def matches(row: IndexRow, where: SearchFilter | None) -> bool:
    return where is None or (
        row.ref.key.startswith(where.key_prefix)
        and where.bucket in ("", row.ref.bucket)
        and where.metadata.items() <= row.metadata.items()
        and (where.condition is None or holds(where.condition, row))
    )


def holds(condition: Condition, row: IndexRow) -> bool:
    match condition:
        case AllOf():
            return all(holds(part, row) for part in condition.parts)
        case AnyOf():
            return any(holds(part, row) for part in condition.parts)
        case OneOf():
            return _value_of(row, condition.field) in condition.values
        case Compared():
            value = _value_of(row, condition.field)
            return value is not None and _HOLDS[condition.order](value, condition.value)
        case _:
            assert_never(condition)


def _value_of(row: IndexRow, field: RowNumber | UserMetadata) -> str | int | None:
    match field:
        case UserMetadata():
            return row.metadata.get(field.name)
        case RowNumber.WIDTH:
            return row.width
        case RowNumber.HEIGHT:
            return row.height
        case RowNumber.SIZE_BYTES:
            return row.ref.size_bytes
        case RowNumber.INDEXED_AT:
            return (row.indexed_at - _EPOCH) // timedelta(microseconds=1)
        case _:
            assert_never(field)

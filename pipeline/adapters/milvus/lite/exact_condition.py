"""Conditions over the columns of a copy: exactly the rows for which they hold."""

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.milvus.lite.metadata_line import any_pair, any_value, read_text
from pipeline.adapters.milvus.lite.table import Table
from pipeline.types import (
    AllOf,
    AnyOf,
    Compared,
    Condition,
    OneOf,
    Order,
    UserMetadata,
)

_HOLDS: Mapping[Order, Callable[[Any, Any], Any]] = {
    Order.LESS: operator.lt,
    Order.AT_MOST: operator.le,
    Order.MORE: operator.gt,
    Order.AT_LEAST: operator.ge,
}


def holding(table: Table, condition: Condition) -> NDArray[np.bool_]:
    """[N], True for the rows for which it holds, dead ones among them."""
    match condition:
        case AllOf():
            parts = [holding(table, part) for part in condition.parts]
            return np.asarray(np.all(parts, axis=0))
        case AnyOf():
            parts = [holding(table, part) for part in condition.parts]
            return np.asarray(np.any(parts, axis=0))
        case OneOf():
            return _one_of(table, condition)
        case Compared():
            return _compared(table, condition)
        case _:
            assert_never(condition)


def has_pair(table: Table, name: str, texts: Iterable[str]) -> NDArray[np.bool_]:
    """[N], True for rows with one of these texts under the name."""
    return _of_places(table, (found.start() for found in any_pair(name, texts).finditer(table.metadata.data)))


def _one_of(table: Table, condition: OneOf) -> NDArray[np.bool_]:
    if isinstance(condition.field, UserMetadata):
        return has_pair(table, condition.field.name, map(str, condition.values))
    return np.isin(table.records[condition.field.value], np.array(condition.values, dtype=np.int64))


def _compared(table: Table, condition: Compared) -> NDArray[np.bool_]:
    holds = _HOLDS[condition.order]
    if isinstance(condition.field, UserMetadata):
        return _of_places(table, _places_where(table, condition.field.name, holds, condition.value))
    return np.asarray(holds(table.records[condition.field.value], condition.value), dtype=np.bool_)


def _places_where(
    table: Table, name: str, holds: Callable[[Any, Any], Any], wanted: str | int
) -> Iterable[int]:
    for found in any_value(name).finditer(table.metadata.data):
        if holds(read_text(found[1]), wanted):
            yield found.start()


def _of_places(table: Table, places: Iterable[int]) -> NDArray[np.bool_]:
    """Rows whose metadata is at these places of the file."""
    # A row without metadata begins where the next one does: the last that begins there has the pair.
    starts = table.records["metadata_start"]
    slots = np.searchsorted(starts, np.fromiter(places, dtype=np.int64), side="right") - 1
    has = np.zeros(len(table.records), dtype=np.bool_)
    has[slots] = True
    return has

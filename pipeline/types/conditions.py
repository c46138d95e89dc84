"""Conditions on stored rows: a small tree of values, which never become the syntax of a database."""

from dataclasses import dataclass
from enum import StrEnum


class RowNumber(StrEnum):
    """A number that each row has."""

    WIDTH = "width"
    HEIGHT = "height"
    SIZE_BYTES = "size_bytes"
    INDEXED_AT = "indexed_at"  # microseconds since 1970, UTC


@dataclass(frozen=True, kw_only=True, slots=True)
class UserMetadata:
    """The text that an object has under this name in its user metadata, if it has one."""

    name: str


class Order(StrEnum):
    LESS = "lt"
    AT_MOST = "lte"
    MORE = "gt"
    AT_LEAST = "gte"


@dataclass(frozen=True, kw_only=True, slots=True)
class OneOf:
    """The field equals one of the values: texts for metadata, else integers."""

    field: RowNumber | UserMetadata
    values: tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """The field is less or more than a value. Texts are compared by code point, so "10" comes before "9"."""

    field: RowNumber | UserMetadata
    order: Order
    value: str | int


@dataclass(frozen=True, kw_only=True, slots=True)
class AllOf:
    parts: tuple["Condition", ...]  # one or more


@dataclass(frozen=True, kw_only=True, slots=True)
class AnyOf:
    parts: tuple["Condition", ...]  # one or more


Condition = OneOf | Compared | AllOf | AnyOf
"""For metadata that an object does not have, neither `OneOf` nor `Compared` holds."""

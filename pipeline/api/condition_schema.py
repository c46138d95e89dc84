"""How the document of the service describes conditions. What `service.conditions` reads is what counts."""

from typing import Any

from pipeline.service.conditions import MAX_CHARS, MAX_COMPARISONS, MAX_NUMBER, MAX_VALUES
from pipeline.types import RowNumber

REFERENCE = {"$ref": "#/components/schemas/Condition"}

_TEXT = {"type": "string", "maxLength": MAX_CHARS}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
_TIME = {"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]}
_METADATA = {"type": "string", "pattern": r"^metadata\..", "maxLength": MAX_CHARS}
_NUMBERS = [number.value for number in RowNumber if number is not RowNumber.INDEXED_AT]


def _comparison(title: str, field: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    ways = {
        "eq": value,
        "in": {"type": "array", "items": value, "minItems": 1, "maxItems": MAX_VALUES},
        **dict.fromkeys(("lt", "lte", "gt", "gte"), value),
    }
    return {
        "title": title,
        "type": "object",
        "required": ["field"],
        "additionalProperties": False,
        "properties": {"field": field, **ways},
        "oneOf": [
            {"required": ["eq"]},
            {"required": ["in"]},
            {"anyOf": [{"required": [order]} for order in ("lt", "lte", "gt", "gte")]},
        ],
    }


def _joint(word: str) -> dict[str, Any]:
    parts = {"type": "array", "items": REFERENCE, "minItems": 1, "maxItems": MAX_COMPARISONS}
    return {
        "title": word,
        "type": "object",
        "required": [word],
        "additionalProperties": False,
        "properties": {word: parts},
    }


CONDITION_SCHEMA: dict[str, Any] = {
    "title": "Condition",
    "description": (
        "A comparison, or several joined by `and` or `or`. A comparison has a `field` and either `eq`, `in` "
        "or a range of `lt`, `lte`, `gt` and `gte`. Texts are compared by code point. For metadata that an "
        "object does not have, no comparison holds."
    ),
    "examples": [
        {
            "and": [
                {"field": "metadata.camera", "in": ["7", "8"]},
                {"or": [{"field": "width", "gte": 1024}, {"field": "size_bytes", "lt": 500_000}]},
                {"field": "indexed_at", "gte": "2026-01-01T00:00:00Z", "lt": "2026-02-01T00:00:00Z"},
            ]
        }
    ],
    "oneOf": [
        _joint("and"),
        _joint("or"),
        _comparison("of metadata", _METADATA, _TEXT),
        _comparison("of a number", {"enum": _NUMBERS}, _NUMBER),
        _comparison("of a time", {"const": RowNumber.INDEXED_AT.value}, _TIME),
    ],
}

"""An answer of the service as a value. Fields that a newer service adds are in `raw` alone."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar

from pipeline.client.calls import read_json
from pipeline.errors import MessageError

A = TypeVar("A", bound="AnswerObject")
Nested = Mapping[str, type["AnswerObject"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerObject:
    """Made of the JSON object that has the same fields. `raw` is that object, with all that it has."""

    _NESTED: ClassVar[Nested] = MappingProxyType({})  # fields of such objects, or of lists of them

    raw: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, found: object) -> Self:
        """Raises MessageError: no object, or a field is missing."""
        return cls(**_known_fields(cls, found))


def reader_of(kind: type[A]) -> Callable[[bytes], A]:
    """Reads a body that is one such object."""
    return lambda body: kind.of(read_json(body))


def read_all(kind: type[A], found: object) -> tuple[A, ...]:
    """Raises MessageError: no list of such objects."""
    if not isinstance(found, list):
        raise MessageError(f"a list is expected in the answer, found {type(found).__name__}")
    return tuple(kind.of(each) for each in found)


def _known_fields(kind: type[AnswerObject], found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise MessageError(f"an object is expected in the answer, found {type(found).__name__}")
    known: dict[str, Any] = {"raw": found}
    for each in fields(kind):
        if each.name in found and each.name != "raw":
            known[each.name] = _value_of(kind._NESTED.get(each.name), found[each.name])
        elif each.default is MISSING and each.default_factory is MISSING:
            raise MessageError(
                f"the answer has no field {each.name!r}; is the service older than this client?"
            )
    return known


def _value_of(kind: type[AnswerObject] | None, value: object) -> object:
    if kind is None:
        return value
    return read_all(kind, value) if isinstance(value, list) else kind.of(value)

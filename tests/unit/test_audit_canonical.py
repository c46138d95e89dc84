"""Records are written here, and every byte is as the library for RFC 8785 writes it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.audit.canonical import to_canonical
from pipeline.audit.records import canonical_json
from pipeline.errors import ArgumentError
from pipeline.types import AuditRecord
from tests.audit_records import search_by

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8)  # also lone surrogates and controls
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.floats(-1, 1).map(lambda score: round(score, 6)),
    st.integers(-400, 400).map(lambda power: float(f"1e{power}")),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


def said(value: Any) -> Any:
    """Texts as records have them: what is no Unicode is shown by its bytes."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case list():
            return [said(part) for part in value]
        case Mapping():
            return {said(name): said(part) for name, part in value.items()}
        case _:
            return value


@given(VALUES)
@example(1.0)
@example(-0.0)
@example(0.00001)
@example(1e16)
@example(1e21)
@example(2**53 - 1)
@example({"\U0001f600": 1, "\uffff": 2})  # sorted by UTF-16, the first comes first
@example(['\x7f\x1f\u2028"\\/\n'])
def test_any_value_is_written_as_the_library_for_rfc_8785_writes_it(value: Any) -> None:
    try:
        expected = rfc8785.dumps(said(value))
    except rfc8785.CanonicalizationError:
        with pytest.raises(rfc8785.CanonicalizationError):
            to_canonical(value)
    else:
        assert to_canonical(value) == expected


@pytest.mark.parametrize("number", [math.nan, math.inf, 2**53, -(2**53)])
def test_a_number_that_json_cannot_say_is_refused(number: float) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        to_canonical({"score": [number]})


@given(TEXTS, VALUES)
def test_a_record_is_written_as_the_library_writes_it(text: str, value: Any) -> None:
    record = search_by(text, case_ref=text, details={"value": value, text: 1})
    try:
        body = canonical_json(record)
    except ArgumentError:
        with pytest.raises(rfc8785.CanonicalizationError):
            rfc8785.dumps(said(value))
    else:
        read = json.loads(body, parse_int=float)  # as every number of RFC 8785 is read
        assert rfc8785.dumps(read) == body
        assert set(read) == {field.name for field in fields(AuditRecord)} | {"v"}
        assert read["case_ref"] == said(text)


@dataclass(frozen=True)
class One:
    part: object


class Word(StrEnum):
    YES = "yes"


class Number(IntEnum):
    TWO = 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (One("50 %"), '{"part":"50 %"}'),
        (One((One(1), One(None))), '{"part":[{"part":1},{"part":null}]}'),
        ([Word.YES, Number.TWO, True], '["yes",2,true]'),
        (MappingProxyType({Word.YES: 1.0, "a": -0.0}), '{"a":0,"yes":1}'),
    ],
)
def test_kinds_of_what_json_has_are_written_as_that(value: object, expected: str) -> None:
    assert to_canonical(value).decode() == expected


def test_a_class_takes_further_parts_in_their_place() -> None:
    assert to_canonical(One("a"), z=1, a="%s").decode() == '{"a":"%s","part":"a","z":1}'


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), One])
def test_what_json_does_not_have_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="is nothing that a record holds"):
        to_canonical([value])

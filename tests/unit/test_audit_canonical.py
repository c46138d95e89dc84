"""Records are written here, and every byte is as the library for RFC 8785 writes it."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.audit.canonical import to_canonical

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

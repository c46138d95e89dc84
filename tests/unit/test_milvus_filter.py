import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.milvus.filter import (
    ids_expression,
    plain_key,
    stored_key,
    string_literal,
    to_expression,
)
from pipeline.errors import ConfigError
from pipeline.types import SearchFilter

CONTROL = {"n": "\n", "r": "\r", "t": "\t"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_no_condition_is_no_expression() -> None:
    assert to_expression(None) == ""
    assert to_expression(SearchFilter()) == ""


def test_all_conditions_are_joined() -> None:
    where = SearchFilter(key_prefix="in/", bucket="photos", metadata={"cam": "1", "day": "mo"})
    assert to_expression(where) == (
        'bucket == "photos" and key >= "in/" and key < "in0" '
        'and metadata["cam"] == "1" and metadata["day"] == "mo"'
    )


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("plain", '"plain"'),
        ('"', r'"\""'),
        ("\\", r'"\\"'),
        ('\\"', r'"\\\""'),
        ("a\nb\r\t", r'"a\nb\r\t"'),
        ("'ä😀%_", '"\'ä😀%_"'),
    ],
)
def test_a_literal_reads_back_as_the_text(text: str, literal: str) -> None:
    assert string_literal(text) == literal


@given(TEXT)
def test_no_text_ends_its_literal_early(text: str) -> None:
    inside = string_literal(text)[1:-1]
    assert _unescape(inside) == text
    assert "\n" not in inside
    assert "\r" not in inside


def _unescape(inside: str) -> str:
    """As the grammars of both engines do; fails on a quote that would end the literal."""
    plain, rest = "", iter(inside)
    for char in rest:
        assert char != '"'
        plain += (
            {"n": "\n", "r": "\r", "t": "\t"}.get(following := next(rest), following)
            if char == "\\"
            else char
        )
    return plain


@given(TEXT)
def test_a_stored_key_is_plain_ascii_and_comes_back(key: str) -> None:
    stored = stored_key(key)
    assert plain_key(stored) == key
    assert stored
    assert set(stored) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-%")


def test_usual_keys_are_stored_as_they_are() -> None:
    assert stored_key("x-camera.model_2") == "x-camera.model_2"


@given(TEXT.filter(bool), TEXT)
def test_a_prefix_range_holds_for_what_begins_with_it_and_nothing_else(prefix: str, key: str) -> None:
    for candidate in (key, prefix + key, prefix, prefix[:-1] + key):
        assert _in_range(prefix, candidate) == candidate.startswith(prefix)


@pytest.mark.parametrize("prefix", ["a\U0010ffff", "\U0010ffff", "\ud7ff", "%", "_", "a%_"])
def test_the_ends_of_the_code_point_range(prefix: str) -> None:
    for key in (
        "",
        "a",
        "b",
        "a\U0010ffff!",
        "\U0010ffff\U0010ffff",
        "\ud7ff1",
        "\ue000",
        "%a",
        "xa",
        "a%_1",
        "a%%",
    ):
        assert _in_range(prefix, key) == key.startswith(prefix)


def _in_range(prefix: str, key: str) -> bool:
    """Evaluate the expression for the prefix the way Milvus does: by UTF-8 bytes."""
    expression = to_expression(SearchFilter(key_prefix=prefix))
    low, _, high = expression.partition(" and key < ")
    low = _unescape(low.removeprefix("key >= ")[1:-1])
    return low.encode() <= key.encode() and (not high or key.encode() < _unescape(high[1:-1]).encode())


def test_ids_are_escaped_like_any_value() -> None:
    assert ids_expression(["a1", "x'] or id != '", 'q"']) == r"""id in ["a1","x'] or id != '","q\""]"""


@pytest.mark.parametrize(
    "where",
    [
        SearchFilter(key_prefix="\udcff"),
        SearchFilter(metadata={"a": "\udcff"}),
        SearchFilter(metadata={"\udcff": ""}),
    ],
)
def test_text_that_is_no_unicode_is_refused(where: SearchFilter) -> None:
    with pytest.raises(ConfigError, match="not valid Unicode"):
        to_expression(where)

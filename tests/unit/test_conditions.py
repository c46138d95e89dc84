"""Conditions of a search: what JSON they are read from, and what they mean."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.milvus.filter import to_expression
from pipeline.audit.records import canonical_json
from pipeline.errors import ArgumentError
from pipeline.service.conditions import (
    MAX_COMPARISONS,
    MAX_DEPTH,
    MAX_NUMBER,
    MAX_VALUES,
    condition_json,
    read_condition,
    read_condition_text,
)
from pipeline.testing.memory_filter import holds
from pipeline.types import (
    AllOf,
    AnyOf,
    AuditParams,
    Compared,
    IndexRow,
    OneOf,
    Order,
    RowNumber,
    SearchFilter,
    UserMetadata,
)
from tests.audit_records import search_by
from tests.unit.fakes import ref_of

ROW = IndexRow(
    id="1" * 32,
    ref=ref_of("a.jpg", size_bytes=5000),
    vector=np.ones(1, dtype=np.float32),
    width=640,
    height=480,
    indexed_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    metadata={"camera": "7", "taken": "2026-02-03", "a.b": "", "größe": "ä"},
)

OTHER_ROW = replace(
    ROW,
    ref=ref_of("b.jpg", size_bytes=1),
    width=0,
    height=9000,
    indexed_at=datetime(2000, 1, 1, tzinfo=UTC),
    metadata={},
)

HOLDS = [
    {"field": "metadata.camera", "eq": "7"},
    {"field": "metadata.camera", "in": ["6", "7"]},
    {"field": "metadata.camera", "gt": "10"},  # as texts
    {"field": "metadata.taken", "gte": "2026-02-03", "lt": "2026-02-04"},
    {"field": "metadata.a.b", "eq": ""},
    {"field": "metadata.größe", "gt": "z"},
    {"field": "width", "eq": 640},
    {"field": "height", "in": [479, 480]},
    {"field": "size_bytes", "gte": 5000, "lte": 5000},
    {"field": "indexed_at", "gte": "2026-03-01", "lt": "2026-03-02"},
    {"field": "indexed_at", "eq": "2026-03-01T13:00:00+01:00"},
    {"and": [{"field": "width", "gt": 600}, {"field": "height", "lt": 500}]},
    {"or": [{"field": "width", "gt": 6000}, {"field": "height", "lt": 500}]},
    {"and": [{"or": [{"field": "width", "eq": 1}, {"field": "metadata.camera", "eq": "7"}]}]},
]
FAILS = [
    {"field": "metadata.camera", "eq": "07"},
    {"field": "metadata.camera", "in": ["6"]},
    {"field": "metadata.lens", "eq": ""},  # it has none
    {"field": "metadata.lens", "gte": ""},
    {"field": "metadata.lens", "lt": "z"},
    {"field": "metadata.taken", "gt": "2026-02-03"},
    {"field": "width", "lt": 640},
    {"field": "width", "gt": 640},
    {"field": "indexed_at", "gt": "2026-03-01T12:00:00Z"},
    {"and": [{"field": "width", "gt": 600}, {"field": "height", "gt": 500}]},
    {"or": [{"field": "width", "gt": 6000}, {"field": "metadata.lens", "eq": "x"}]},
]


@pytest.mark.parametrize("value", HOLDS, ids=json.dumps)
def test_a_condition_that_holds(value: object) -> None:
    assert holds(read_condition(value), ROW)
    assert not holds(read_condition(value), OTHER_ROW)


@pytest.mark.parametrize("value", FAILS, ids=json.dumps)
def test_a_condition_that_does_not_hold(value: object) -> None:
    assert not holds(read_condition(value), ROW)


LEAF = {"field": "width", "eq": 1}
REFUSED = [
    ("x", "where: an object is expected"),
    (
        {},
        "where.field: one of metadata.NAME, width, height, size_bytes, indexed_at is expected",
    ),
    ({"field": "colour", "eq": 1}, "found 'colour'"),
    ({"field": "metadata.", "eq": ""}, "found 'metadata.'"),
    ({"field": "width"}, "where: eq, in, or a range of lt, lte, gt, gte is expected, found none of them"),
    ({"field": "width", "eq": 1, "in": [1]}, "found eq and in"),
    ({"field": "width", "eq": 1, "lt": 1}, "found eq and lt"),
    (
        {"field": "width", "eq": "1"},
        "width is a whole number from 0 to 9007199254740991, found a text",
    ),
    ({"field": "width", "eq": True}, "found true or false"),
    ({"field": "width", "eq": 1.5}, "found '1.5'"),
    ({"field": "width", "eq": -1}, "found '-1'"),
    ({"field": "width", "lt": 2**53}, "found '9007199254740992'"),
    ({"field": "width", "in": []}, "where.in: a list is expected, found an empty one"),
    ({"field": "width", "in": 1}, "where.in: a list is expected, found '1'"),
    ({"field": "metadata.n", "eq": 7}, "where.eq: metadata 'n' is a text, found '7'"),
    ({"field": "metadata.n", "in": ["7", None]}, "where.in[1]: metadata 'n' is a text, found nothing"),
    ({"field": "metadata.n", "eq": "\ud800"}, "where.eq '\\ud800': UTF-8 is expected"),
    ({"field": "metadata.\ud800", "eq": ""}, "where.field '\\ud800': UTF-8 is expected"),
    ({"field": "metadata.n", "eq": "x" * 2049}, "where.eq: 2049 characters, at most 2048"),
    ({"field": "indexed_at", "lt": "yesterday"}, "where.lt: a time such as 2026-01-31T12:00:00Z is expected"),
    ({"field": "indexed_at", "lt": 5}, "found '5'"),
    ({"and": []}, "where.and: a list is expected, found an empty one"),
    ({"and": [LEAF], "or": [LEAF]}, "where: 'or' is unknown; allowed are and"),
    ({"or": [LEAF, {"and": [{"field": "width"}]}]}, "where.or[1].and[0]: eq, in"),
    ({"not": LEAF}, "where: 'not' is unknown"),
    ({"or": [LEAF] * (MAX_COMPARISONS + 1)}, "where: 65 comparisons, at most 64 are allowed"),
    ({"field": "width", "in": [1] * (MAX_VALUES + 1)}, "where: 513 values, at most 512 are allowed"),
]


@pytest.mark.parametrize(("value", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_a_value_that_is_no_condition_is_refused_by_place(value: object, said: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        read_condition(value)
    assert said in str(refused.value)


def nested(depth: int) -> object:
    value: object = LEAF
    for _ in range(depth - 1):
        value = {"and": [value]}
    return value


@pytest.mark.parametrize(
    "value",
    [
        {"field": "width", "lte": 2**53 - 1},
        {"field": "indexed_at", "lt": "9999-12-31"},  # as people write "for ever"
        {"field": "indexed_at", "gte": "0001-01-01T00:00:00+14:00"},
        {"field": "metadata.\0", "eq": "\0"},
    ],
)
def test_every_condition_can_be_recorded(value: object) -> None:
    """Without its record a search is not answered. Numbers of JSON are exact up to 2**53 - 1."""
    condition = read_condition(value)
    params = AuditParams(k=1, threshold=None, metric="cosine", filters={"c": condition_json(condition)})
    assert canonical_json(replace(search_by("ann", candidates=()), params=params))


def test_a_time_without_bound_is_later_or_earlier_than_all() -> None:
    late = read_condition({"field": "indexed_at", "lt": "9999-12-31"})
    early = read_condition({"field": "indexed_at", "gte": "0001-01-01"})
    assert isinstance(late, Compared)
    assert isinstance(early, Compared)
    assert late.value == -int(early.value) == MAX_NUMBER


def test_depth_is_bounded_however_deep_the_text_is() -> None:
    read_condition(nested(MAX_DEPTH))
    with pytest.raises(ArgumentError, match="nested more than 5 deep"):
        read_condition(nested(MAX_DEPTH + 1))
    for text in (json.dumps(nested(200)), '{"and":[' * 20_000, "[" * 100_000):
        with pytest.raises(ArgumentError):
            read_condition_text(text)


def test_text_is_json_or_nothing() -> None:
    assert read_condition_text(" ") is None
    expected = OneOf(field=UserMetadata(name="camera"), values=("7",))
    assert read_condition_text('{"field": "metadata.camera", "eq": "7"}') == expected
    with pytest.raises(ArgumentError, match=r"--where 'camera=7': JSON is expected, for example \{"):
        read_condition_text("camera=7", of="--where")


WORDS = st.sampled_from(["and", "or", "field", "eq", "in", "lt", "metadata.a", "width"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | WORDS,
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), values, max_size=3)
    ),
)


@given(VALUES)
def test_any_json_is_a_condition_or_an_argument_error(value: object) -> None:
    with suppress(ArgumentError):
        assert to_expression(SearchFilter(condition=read_condition(value)))


def test_a_condition_is_joined_to_the_rest_of_an_expression_as_a_whole() -> None:
    width = Compared(field=RowNumber.WIDTH, order=Order.AT_LEAST, value=5)
    camera = OneOf(field=UserMetadata(name='a"b'), values=("x", 'y"'))
    either = AnyOf(parts=(width, AllOf(parts=(camera, width))))
    assert to_expression(SearchFilter(bucket="shop", condition=either)) == (
        'bucket == "shop" and (width >= 5 or (metadata["a%22b"] in ["x","y\\""] and width >= 5))'
    )

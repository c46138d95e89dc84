"""Ties are ordered by id, whatever part of a group of equal rows Milvus returns."""

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.milvus.ties import MAX_LIMIT, rank
from pipeline.search.ranking import best_first
from pipeline.types import SearchHit

HEX = "0123456789abcdef"


def hit(id_: str, score: float) -> SearchHit:
    return SearchHit(
        id=id_,
        bucket="b",
        key=id_,
        etag="e",
        score=score,
        width=1,
        height=1,
        size_bytes=1,
        indexed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


class FakeMilvus:
    """Best first; which of equal rows it returns is another matter in each answer.

    Args:
        found: the most that its graph finds when there are more than `compared` rows to choose from.
    """

    def __init__(self, rows: Sequence[SearchHit], *, found: int = 10**6, compared: int = 10**6) -> None:
        self._rows = list(rows)
        self._found = found
        self._compared = compared
        self._random = Random(3)

    def ask(self, limit: int, condition: str) -> list[SearchHit]:
        assert limit <= MAX_LIMIT
        rows = self._among(condition)
        self._random.shuffle(rows)
        found = len(rows) if len(rows) <= self._compared else self._found
        return sorted(rows, key=lambda row: -row.score)[: min(limit, found)]

    def count(self, condition: str) -> int:
        return len(self._among(condition))

    def rank(self, *, limit: int, k: int, min_score: float | None = None) -> list[SearchHit]:
        return rank(self.ask(limit, ""), limit=limit, k=k, min_score=min_score, question=self)

    def _among(self, condition: str) -> list[SearchHit]:
        lowest = condition.split('"')[1] if condition else ""
        return [row for row in self._rows if row.id.startswith(lowest)]


@given(
    scores=st.lists(st.sampled_from([1.0, 0.5, 0.25, -1.0]), max_size=60),
    k=st.integers(1, 70),
    room=st.integers(0, 5),
    min_score=st.sampled_from([None, 0.25, 0.9, -1.0]),
)
def test_the_answer_is_that_of_all_rows_sorted(
    scores: list[float], k: int, room: int, min_score: float | None
) -> None:
    rows = [hit(f"{number * 7919 % 251:032x}", score) for number, score in enumerate(scores)]
    answer = FakeMilvus(rows).rank(limit=k + room, k=k, min_score=min_score)
    assert answer == best_first(rows, k=k, min_score=min_score)


@pytest.mark.parametrize("prefix", ["", "0", "ab"])  # how many digits the ids share
@pytest.mark.parametrize("k", [1, 10, 12_000])
def test_more_equal_rows_than_one_answer_holds(prefix: str, k: int) -> None:
    random = Random(5)
    ids = {prefix + "".join(random.choices(HEX, k=32 - len(prefix))) for _ in range(2 * MAX_LIMIT)}
    rows = [hit(id_, 0.5) for id_ in ids] + [hit(f"{n:032x}", 0.75) for n in range(7)]
    assert FakeMilvus(rows).rank(limit=k + 16, k=k) == best_first(rows, k=k, min_score=None)


def test_a_graph_that_ends_before_it_has_found_a_group_is_not_believed() -> None:
    random = Random(6)
    rows = [hit("".join(random.choices(HEX, k=32)), 0.5) for _ in range(6_000)] + [hit("f" * 32, 0.75)]
    milvus = FakeMilvus(rows, found=1_000, compared=100)
    assert milvus.rank(limit=26, k=10) == best_first(rows, k=10, min_score=None)
    assert milvus.rank(limit=26, k=10, min_score=0.6) == rows[-1:]

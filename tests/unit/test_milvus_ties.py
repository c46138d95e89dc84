"""Ties are ordered by id, whatever part of a group of equal rows Milvus returns."""

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.milvus_ties import MAX_LIMIT, rank
from pipeline.adapters.ranking import best_first
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
    """Best first; which of equal rows it returns is another matter in each answer."""

    def __init__(self, rows: Sequence[SearchHit]) -> None:
        self._rows = list(rows)
        self._random = Random(3)

    def ask(self, limit: int, condition: str) -> list[SearchHit]:
        assert limit <= MAX_LIMIT
        lowest = condition.split('"')[1] if condition else ""
        rows = [row for row in self._rows if row.id.startswith(lowest)]
        self._random.shuffle(rows)
        return sorted(rows, key=lambda row: -row.score)[:limit]

    def rank(self, *, limit: int, k: int, min_score: float | None = None) -> list[SearchHit]:
        return rank(self.ask(limit, ""), limit=limit, k=k, min_score=min_score, ask=self.ask)


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

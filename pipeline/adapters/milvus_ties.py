"""A ranking that does not depend on which of several equal rows Milvus returns.

Milvus may cut a group of equal scores anywhere, so the rows of one answer are no beginning of a longer one.
An answer is whole when its last score is below the k-th. Until then ask for more. Milvus returns at most
16,384 rows, so a larger group is read in ranges of ids instead, lowest first, until enough rows are known.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from pipeline.adapters.milvus_filter import begins_with
from pipeline.adapters.ranking import best_first
from pipeline.types import SearchHit

MAX_LIMIT = 16_384  # rows in one answer of Milvus
GROWTH = 4  # of the limit from one question to the next
ID_DIGITS = "0123456789abcdef"  # in the order of the ids

Ask = Callable[[int, str], Sequence[SearchHit]]  # limit and a further condition → hits


def rank(
    hits: Sequence[SearchHit], *, limit: int, k: int, min_score: float | None, ask: Ask
) -> list[SearchHit]:
    """The `k` best, ties by id, for any number of equal rows.

    Args:
        hits: the answer to a question with this limit.
        ask: the same question again.
    """
    while is_cut(hits, limit=limit, at=_last_needed_score(hits, k, min_score)):
        if limit == MAX_LIMIT:
            return _rank_in_ranges(hits, k=k, min_score=min_score, ask=ask)
        limit = min(GROWTH * limit, MAX_LIMIT)
        hits = ask(limit, "")
    return best_first(hits, k=k, min_score=min_score)


def is_cut(hits: Sequence[SearchHit], *, limit: int, at: float) -> bool:
    """Whether rows of this score, or better ones, may be missing from an answer."""
    return len(hits) >= limit and min(hit.score for hit in hits) >= at


def _last_needed_score(hits: Sequence[SearchHit], k: int, min_score: float | None) -> float:
    last_of_k = sorted((hit.score for hit in hits), reverse=True)[:k][-1:]
    return max([*last_of_k, -1.0 if min_score is None else min_score])


def _rank_in_ranges(
    hits: Sequence[SearchHit], *, k: int, min_score: float | None, ask: Ask
) -> list[SearchHit]:
    score = _last_needed_score(hits, k, min_score)
    better = [hit for hit in hits if hit.score > score]  # fewer than k, so no answer cuts them
    equal = islice(_equal_by_id(score, "", ask), k - len(better))
    return best_first([*better, *equal], k=k, min_score=min_score)


def _equal_by_id(score: float, prefix: str, ask: Ask) -> Iterator[SearchHit]:
    for digit in ID_DIGITS:
        hits = ask(MAX_LIMIT, begins_with("id", prefix + digit))
        if is_cut(hits, limit=MAX_LIMIT, at=score):
            yield from _equal_by_id(score, prefix + digit, ask)
        else:
            yield from sorted((hit for hit in hits if hit.score == score), key=lambda hit: hit.id)

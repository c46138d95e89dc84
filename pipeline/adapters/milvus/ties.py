"""A ranking that does not depend on which of several equal rows Milvus returns.

Milvus may cut a group of equal scores anywhere, so the rows of one answer are no beginning of a longer one.
An answer is whole when its last score is below the k-th, or when it has all rows that there are. Until then
ask for more. Milvus returns at most 16,384 rows, and a graph index may end before it has found as many of a
large group. Such a group is read in ranges of ids instead, lowest first, until enough rows are known: among
the few rows of a range Milvus compares all.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from pipeline.adapters.milvus.filter import begins_with
from pipeline.search.ranking import best_first
from pipeline.types import SearchHit

MAX_LIMIT = 16_384  # rows in one answer of Milvus
GROWTH = 4  # of the limit from one question to the next
ID_DIGITS = "0123456789abcdef"  # in the order of the ids
TRUSTED_DIGITS = 2  # one row of 256 is in such a range. A row missed there will not be found at all


class Question(Protocol):
    """One search, to be asked again."""

    def ask(self, limit: int, condition: str) -> Sequence[SearchHit]:
        """At most `limit` hits, best first, among rows for which this holds, too."""
        ...

    def count(self, condition: str) -> int:
        """How many rows there are to choose from."""
        ...


def rank(
    hits: Sequence[SearchHit], *, limit: int, k: int, min_score: float | None, question: Question
) -> list[SearchHit]:
    """The `k` best, ties by id, for any number of equal rows. Args: `hits` answer it with this limit."""
    while (score := _last_needed_score(hits, k, min_score)) <= _last_score(hits):
        if len(hits) < limit and len(hits) >= question.count(""):
            break
        if len(hits) < limit or limit == MAX_LIMIT:
            hits = _read_in_ranges(hits, score, k, question)
            break
        limit = min(GROWTH * limit, MAX_LIMIT)
        hits = question.ask(limit, "")
    return best_first(hits, k=k, min_score=min_score)


def _last_needed_score(hits: Sequence[SearchHit], k: int, min_score: float | None) -> float:
    last_of_k = sorted((hit.score for hit in hits), reverse=True)[:k][-1:]
    return max([*last_of_k, -1.0 if min_score is None else min_score])


def _last_score(hits: Sequence[SearchHit]) -> float:
    """No row that is missing from the answer has a better one."""
    return min((hit.score for hit in hits), default=-2.0)


def _read_in_ranges(hits: Sequence[SearchHit], score: float, k: int, question: Question) -> list[SearchHit]:
    better = [hit for hit in hits if hit.score > score]  # fewer than k, so no answer cuts them
    return [*better, *islice(_equal_by_id(score, "", question), k - len(better))]


def _equal_by_id(score: float, prefix: str, question: Question) -> Iterator[SearchHit]:
    for digit in ID_DIGITS:
        part = begins_with("id", prefix + digit)
        hits = question.ask(MAX_LIMIT, part)
        cut = len(hits) >= MAX_LIMIT and _last_score(hits) >= score
        trusted = len(prefix + digit) >= TRUSTED_DIGITS
        lost = not cut and not trusted and len(hits) < min(MAX_LIMIT, question.count(part))
        if cut or lost:
            yield from _equal_by_id(score, prefix + digit, question)
        else:
            yield from sorted((hit for hit in hits if hit.score == score), key=lambda hit: hit.id)

"""Requests with an Idempotency-Key in both databases: one attempt at a time, and known until a time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.types import KeyedRequest, RequestState

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NEW, IN_FLIGHT, ANSWERED, OTHER = RequestState


def attempt(number: int, *, digest: str = "a", until: datetime = NOW + MINUTE) -> KeyedRequest:
    return KeyedRequest(name="monday", digest=digest, attempt=str(number), until=until)


def test_a_request_is_new_then_in_flight_then_answered_and_then_forgotten(ledger: SqlLedger) -> None:
    book, first = ledger.requests, attempt(1)
    assert [book.begin(first, now=NOW) for _ in range(2)] == [NEW, NEW], "its answer may have been lost"
    assert book.begin(attempt(2), now=NOW) is IN_FLIGHT
    assert book.begin(attempt(3, digest="b"), now=NOW) is OTHER
    book.end(first, kept_until=NOW + 3 * MINUTE)
    assert book.begin(attempt(4), now=NOW + 2 * MINUTE) is ANSWERED
    assert book.begin(attempt(5, digest="b"), now=NOW + 2 * MINUTE) is OTHER
    assert book.begin(attempt(6, digest="b", until=NOW + 9 * MINUTE), now=NOW + 3 * MINUTE) is NEW


def test_an_answer_is_kept_with_its_request_and_no_longer(ledger: SqlLedger) -> None:
    book, first = ledger.requests, attempt(1)
    book.begin(first, now=NOW)
    book.end(attempt(2), kept_until=NOW + 3 * MINUTE, answer="another attempt's")
    assert book.answer_of(first) == ""
    book.end(first, kept_until=NOW + 3 * MINUTE, answer='{"a": 1}')
    assert book.answer_of(attempt(3)) == '{"a": 1}'
    book.begin(attempt(4, until=NOW + 9 * MINUTE), now=NOW + 3 * MINUTE)
    assert book.answer_of(attempt(4)) == ""


def test_an_attempt_that_took_too_long_is_not_the_request_s_any_more(ledger: SqlLedger) -> None:
    book, slow, second = ledger.requests, attempt(1), attempt(2, until=NOW + 9 * MINUTE)
    book.begin(slow, now=NOW)
    assert book.begin(second, now=NOW + MINUTE) is NEW
    book.end(slow, kept_until=NOW + 9 * MINUTE)
    book.forget(slow)
    assert book.begin(attempt(3), now=NOW + MINUTE) is IN_FLIGHT
    book.forget(second)
    assert book.begin(attempt(4, until=NOW + 9 * MINUTE), now=NOW + MINUTE) is NEW


def test_of_many_attempts_at_once_one_is_new(ledger: SqlLedger) -> None:
    with ThreadPoolExecutor(4) as threads:
        states = list(threads.map(lambda n: ledger.requests.begin(attempt(n), now=NOW), range(4)))
    assert sorted(states) == [IN_FLIGHT, IN_FLIGHT, IN_FLIGHT, NEW]

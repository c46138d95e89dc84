"""Keys in both databases: what one process writes, the next look of any other sees."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.adapters.ledger.sql_key_book import SqlKeyBook
from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import ConflictError
from pipeline.types import ApiKey, Justification, KeyRole, KnownKey, Session

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def book(ledger: SqlLedger) -> SqlKeyBook:
    return ledger.keys


def known(key_id: str, **more: object) -> KnownKey:
    key = ApiKey(
        key_id=key_id, name="k", tenant="acme", roles=(KeyRole.ADMIN,), created_at=NOW, created_by="me"
    )
    return KnownKey(key=replace(key, **more), digest=f"digest of {key_id}")  # type: ignore[arg-type]


def test_a_key_is_found_as_it_was_added_and_never_written_over(book: SqlKeyBook) -> None:
    every_field = known(
        "a",
        roles=(KeyRole.AUDITOR, KeyRole.WRITER),
        collections=("x", "y*"),
        buckets=(),
        acts_for_others=True,
        justification=Justification(purpose="p", case="Ä-1"),
        expires_at=NOW + HOUR,
    )
    book.add_key(every_field)
    book.add_key(every_field)
    book.add_key(known("a"))
    assert book.find_key("a") == every_field
    assert book.find_key("b") is None
    book.add_key(known("b", created_at=NOW + HOUR))
    assert [key.key_id for key in book.list_keys()] == ["b", "a"]


def test_of_many_first_keys_at_once_one_is_added(book: SqlKeyBook) -> None:
    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(lambda number: book.add_first_key(known(f"k{number}")), range(4)))
    assert sorted(added) == [False, False, False, True]
    assert len(book.list_keys()) == 1


def test_a_replaced_key_expires_at_the_earlier_time(book: SqlKeyBook) -> None:
    book.add_key(known("lasting"))
    book.add_key(known("short", expires_at=NOW))
    for former in ("lasting", "short"):
        successor = known(f"after {former}", replaces=former)
        for _ in range(2):
            book.replace_key(successor, former_expires_at=NOW + HOUR)
    expiries = {key.key_id: key.expires_at for key in book.list_keys()}
    assert expiries == {
        "lasting": NOW + HOUR,
        "short": NOW,
        "after lasting": None,
        "after short": None,
    }


def test_a_key_that_was_revoked_meanwhile_is_not_replaced(book: SqlKeyBook) -> None:
    """Else whoever has a stolen key goes on with its successor."""
    book.add_key(known("stolen"))
    book.revoke_key("stolen", NOW)
    with pytest.raises(ConflictError, match="stolen"):
        book.replace_key(known("after stolen", replaces="stolen"), former_expires_at=NOW + HOUR)
    assert [key.key_id for key in book.list_keys()] == ["stolen"]


def test_a_revocation_keeps_its_time_and_ends_sessions(book: SqlKeyBook) -> None:
    book.add_key(known("a"))
    book.add_session("s", Session(key_id="a", expires_at=NOW + HOUR), now=NOW, most=9)
    for at in (NOW, NOW + HOUR):
        book.revoke_key("a", at)
    found = book.find_key("a")
    assert found is not None
    assert found.key.revoked_at == NOW
    assert book.find_session("s") is None


def test_use_is_noted_unless_it_was_of_late(book: SqlKeyBook) -> None:
    book.add_key(known("a"))
    noted = []
    for minutes in (0, 10, 20):
        at = NOW + timedelta(minutes=minutes)
        book.note_use("a", at, unless_since=at - timedelta(minutes=15))
        found = book.find_key("a")
        assert found is not None
        noted.append(found.key.last_used_at)
    assert noted == [NOW, NOW, NOW + timedelta(minutes=20)]


def test_sessions_are_found_ended_and_forgotten(book: SqlKeyBook) -> None:
    book.add_key(known("a"))
    old, new = (Session(key_id="a", expires_at=NOW + hours * HOUR) for hours in (1, 3))
    book.add_session("old", old, now=NOW, most=9)
    assert book.find_session("old") == old
    book.add_session("new", new, now=NOW + 2 * HOUR, most=9)
    assert book.find_session("old") is None
    assert book.find_session("new") == new
    for _ in range(2):
        book.end_session("new")
    assert book.find_session("new") is None


def test_of_too_many_sessions_of_a_key_the_oldest_end(book: SqlKeyBook) -> None:
    for key_id in ("a", "b"):
        book.add_key(known(key_id))
    for minute in range(4):
        ends = NOW + HOUR + timedelta(minutes=minute)
        for key_id in ("a", "b"):
            session = Session(key_id=key_id, expires_at=ends)
            for _ in range(2):
                book.add_session(f"{key_id}{minute}", session, now=NOW, most=2 if key_id == "a" else 9)
    found = [name for key in "ab" for minute in range(4) if book.find_session(name := f"{key}{minute}")]
    assert found == ["a2", "a3", "b0", "b1", "b2", "b3"]

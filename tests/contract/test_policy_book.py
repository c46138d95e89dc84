"""What every book of policies keeps to, in SQLite and in PostgreSQL."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.adapters.ledger.sql_ledger import open_ledger
from pipeline.errors import ConflictError, NotFoundError
from pipeline.ports import PolicyBook
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.types import (
    AuthorisationRule,
    CaseClock,
    CollectionPolicy,
    PolicyState,
    PolicyVersion,
    Purpose,
)
from tests.contract.ledger_databases import empty_tables

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
POLICY = CollectionPolicy(
    purposes=(Purpose(code="theft", text="Diebstähle, „schwere“"),),
    keys=("k1",),
    roles=("searcher", "local"),
    case_required=True,
    case_patterns=("@@-####",),
    min_score=0.1 + 0.2,
    max_k=20,
    authorisation=AuthorisationRule.WITHIN_48H,
    retention_days=365,
    verifications=2,
)
FIRST = PolicyVersion(
    collection="faces",
    version=1,
    policy=POLICY,
    state=PolicyState.IN_FORCE,
    replaces=0,
    loosens=(),
    proposed_by="ann",
    proposed_at=NOON,
)
SECOND = replace(
    FIRST,
    version=2,
    policy=replace(POLICY, min_score=None),
    state=PolicyState.PROPOSED,
    replaces=1,
    loosens=("min_score",),
)


@pytest.fixture
def book(memory_or_database: str) -> Iterator[PolicyBook]:
    """Without a version."""
    if not memory_or_database:
        yield MemoryPolicyBook()
        return
    empty_tables(memory_or_database)
    with open_ledger(memory_or_database) as ledger:
        yield ledger.policies


def states(book: PolicyBook) -> list[tuple[int, PolicyState]]:
    return [(version.version, version.state) for version in book.history("faces")]


def test_a_policy_comes_back_as_it_was_written(book: PolicyBook) -> None:
    assert book.in_force("faces") is None
    book.add(FIRST)
    book.add(replace(FIRST, collection="Faces", policy=CollectionPolicy()))
    assert book.in_force("faces") == FIRST
    assert book.in_force("Faces") == replace(FIRST, collection="Faces", policy=CollectionPolicy())
    assert [version.collection for version in book.list_in_force()] == ["Faces", "faces"]


def test_a_proposal_waits_and_takes_the_place_of_the_former_once_it_is_agreed_to(book: PolicyBook) -> None:
    book.add(FIRST)
    book.add(SECOND)
    assert book.in_force("faces") == FIRST
    for _ in range(2):
        agreed = book.decide("faces", 2, PolicyState.IN_FORCE, decided_by="bob", at=NOON)
        assert agreed == book.in_force("faces")
        assert (agreed.policy, agreed.decided_by, agreed.decided_at) == (SECOND.policy, "bob", NOON)
    assert states(book) == [(2, PolicyState.IN_FORCE), (1, PolicyState.REPLACED)]


def test_what_was_decided_stays_decided(book: PolicyBook) -> None:
    book.add(FIRST)
    book.add(SECOND)
    book.decide("faces", 2, PolicyState.REFUSED, decided_by="bob", at=NOON)
    with pytest.raises(ConflictError, match="of 'faces' is refused"):
        book.decide("faces", 2, PolicyState.IN_FORCE, decided_by="bob", at=NOON)
    with pytest.raises(NotFoundError, match="no version 3"):
        book.decide("faces", 3, PolicyState.IN_FORCE, decided_by="bob", at=NOON)
    assert states(book) == [(2, PolicyState.REFUSED), (1, PolicyState.IN_FORCE)]


def test_a_version_that_was_written_against_another_one_is_not_taken(book: PolicyBook) -> None:
    book.add(FIRST)
    book.add(FIRST)  # the answer of the first try was lost
    stricter = replace(FIRST, version=2, replaces=1, policy=replace(POLICY, max_k=5))
    book.add(stricter)
    for late in (
        replace(FIRST, policy=CollectionPolicy()),  # the same number
        replace(stricter, policy=POLICY),
        replace(stricter, version=3),  # replaces 1, and 2 is in force
        replace(SECOND, version=3),
    ):
        with pytest.raises(ConflictError, match="somebody else"):
            book.add(late)
    assert book.in_force("faces") == stricter


def test_a_newer_version_ends_a_proposal(book: PolicyBook) -> None:
    """Or a stricter policy would be undone by agreeing to what was proposed before it."""
    book.add(FIRST)
    book.add(SECOND)
    book.add(replace(FIRST, version=3, replaces=1, policy=replace(POLICY, max_k=5)))
    assert states(book) == [(3, PolicyState.IN_FORCE), (2, PolicyState.REPLACED), (1, PolicyState.REPLACED)]
    with pytest.raises(ConflictError, match="is replaced"):
        book.decide("faces", 2, PolicyState.IN_FORCE, decided_by="bob", at=NOON)


def test_the_first_start_of_a_clock_counts(book: PolicyBook) -> None:
    assert book.find_clock("faces", "AB-1") is None
    started = book.start_clock("faces", "AB-1", NOON)
    assert started == CaseClock(collection="faces", case="AB-1", started_at=NOON)
    assert book.start_clock("faces", "AB-1", NOON + timedelta(hours=5)) == started
    assert book.find_clock("faces", "AB-1") == started
    assert book.find_clock("faces", "ab-1") is None
    assert book.find_clock("other", "AB-1") is None


@pytest.mark.parametrize("is_running", [True, False])
def test_what_an_authority_decided_is_entered_once(book: PolicyBook, is_running: bool) -> None:
    if is_running:
        book.start_clock("faces", "AB-1", NOON - timedelta(hours=5))
    decided = CaseClock(
        collection="faces",
        case="AB-1",
        started_at=NOON,
        granted=False,
        authorisation="W 1/26",
        authority="District court",
        decided_by="bob",
        decided_at=NOON,
    )
    for _ in range(2):
        entered = book.decide_case(decided)
        assert entered == replace(decided, started_at=NOON - timedelta(hours=5 * is_running))
    with pytest.raises(ConflictError, match="was refused by District court"):
        book.decide_case(replace(decided, granted=True))
    assert book.find_clock("faces", "AB-1") == entered

"""What every book of verifications keeps to: it is what the entries of the log give, in whatever order."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters.ledger.sql_audit_log import open_audit_log
from pipeline.adapters.ledger.sql_ledger import open_ledger
from pipeline.audit.note import SigningKey
from pipeline.audit.verifications import MatchesOfEntries
from pipeline.ports import AuditLog, VerificationBook
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_verifications import MemoryVerificationBook
from pipeline.types import AuditRecord, Match, MatchDecision, MatchState
from tests.audit_records import erasure_of, search_by
from tests.contract.ledger_databases import empty_tables
from tests.verifications import CONFIRM, REJECT, decision_on, search_to_verify

KEY = SigningKey.generate("pictor.test/log")
PERSONS = ["ann", "bob", "cat", "dan", "eve", "Insp. Roe"]


@dataclass(frozen=True, kw_only=True)
class World:
    """`logs` are those of two processes, where there can be two."""

    logs: Sequence[AuditLog]
    book: VerificationBook
    rebuild: Callable[[], None]

    @property
    def log(self) -> AuditLog:
        return self.logs[0]

    def given(self) -> list[Match]:
        """By the entries alone."""
        found = MatchesOfEntries()
        for entry in self.log.entries():
            if entry.record is not None:
                found.take(entry.index, json.loads(entry.record))
        return sorted(found.matches.values(), key=lambda match: (match.opened, match.rank))


@pytest.fixture
def world(memory_or_database: str) -> Iterator[World]:
    """Without an entry."""
    url = memory_or_database
    if not url:
        log = MemoryAuditLog()
        yield World(logs=[log], book=MemoryVerificationBook(log), rebuild=lambda: None)
        return
    empty_tables(url)
    with ExitStack() as opened:
        ledger = opened.enter_context(open_ledger(url))
        logs = [opened.enter_context(open_audit_log(url, KEY)) for _ in range(2)]
        yield World(logs=logs, book=ledger.verifications, rebuild=logs[1].rebuild_verifications)


def queued(world: World, person: str = "zoe", *collections: str, **rest: object) -> list[str]:
    found = world.book.queue(collections=collections or ("faces",), person=person, limit=100, **rest)  # type: ignore[arg-type]
    return [match.match_id for match in found]


def test_a_search_opens_its_matches_and_only_where_its_policy_says_so(world: World) -> None:
    mine, plain = search_to_verify(hits=3), search_by("ann")
    refused = search_to_verify(hits=0)
    world.log.append([plain, mine, refused])
    assert [match.rank for match in world.book.of_search(mine.record_id)] == [1, 2, 3]
    assert list(world.book.matches()) == world.given()
    match = world.book.find(mine.record_id, 2)
    assert match is not None
    assert (match.candidate_id, match.score, match.opened) == (f"{2:032x}", 0.88, 1)
    assert (match.state, match.persons_needed) == (MatchState.TO_VERIFY, 2)
    assert world.book.find(plain.record_id, 1) is None
    assert world.book.find(mine.record_id, 4) is None


def test_the_queue_has_what_a_person_may_decide_oldest_first_and_by_page(world: World) -> None:
    first, second = search_to_verify("ann (k1)", hits=2), search_to_verify("bob (k2)", on_behalf_of="Cat")
    world.log.append([first, second, decision_on(first, "dan", rank=1)])
    one, two, three = f"{first.record_id}-1", f"{first.record_id}-2", f"{second.record_id}-1"
    assert queued(world) == [one, two, three]
    assert queued(world, "ANN") == [three]
    assert queued(world, "bob") == queued(world, "cat") == [one, two]
    assert queued(world, "dan") == [two, three]
    assert queued(world, after=(0, 1)) == [two, three]
    assert queued(world, "zoe", "other") == []
    assert world.book.open_collections() == ["faces"]
    world.log.append([decision_on(second, person, REJECT) for person in ("dan", "eve")])
    assert queued(world) == [one, two]
    assert world.book.open_places() == {(first.record_id, 1), (first.record_id, 2)}


def test_a_decision_that_is_late_or_made_twice_or_the_searchers_counts_for_nothing(
    world: World,
) -> None:
    search = search_to_verify("ann (k1)")
    world.log.append([search])
    world.log.append([decision_on(search, "ann", CONFIRM), decision_on(search, "bob", CONFIRM)])
    world.log.append([decision_on(search, "bob", REJECT), decision_on(search, "cat", CONFIRM)])
    world.log.append([decision_on(search, "dan", REJECT), decision_on(search_to_verify(), "bob")])
    [match] = world.book.matches()
    assert [made.person for made in match.decisions] == ["bob", "cat"]
    assert match.state is MatchState.CONFIRMED
    assert [match] == world.given()


def test_an_erased_search_leaves_no_match_and_an_erased_decision_does_not_count(world: World) -> None:
    search, other = search_to_verify(), search_to_verify()
    said = [decision_on(search, person, CONFIRM) for person in ("bob", "cat")]
    late = decision_on(search, "dan", REJECT)
    world.log.append([search, other, *said, late])
    world.log.erase([said[0].record_id], erasure_of([said[0]]))
    match = world.book.find(search.record_id, 1)
    assert match is not None
    assert [made.person for made in match.decisions] == ["cat", "dan"]
    assert list(world.book.matches()) == world.given()
    world.log.erase([search.record_id], erasure_of([search]))
    assert [match.search_id for match in world.book.matches()] == [other.record_id]


Step = tuple[int, str, MatchDecision]
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(PERSONS), st.sampled_from(MatchDecision)), max_size=14
)


def searches_for_steps() -> list[AuditRecord]:
    return [
        search_to_verify("ann (k1)"),
        search_to_verify("zoe (k9)", persons=1),
        search_to_verify("portal (k2)", on_behalf_of="insp. roe"),
        search_to_verify("bob (k3)", persons=2),
    ]


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_decided_in_whatever_order_the_state_is_what_the_entries_give(
    world: World, steps: list[Step]
) -> None:
    searches = searches_for_steps()
    world.log.append(searches)
    for number, (which, person, decision) in enumerate(steps):
        world.logs[number % len(world.logs)].append([decision_on(searches[which], person, decision)])
    assert list(world.book.matches()) == world.given()
    check_rules(world, searches)
    world.rebuild()
    assert list(world.book.matches()) == world.given()


def check_rules(world: World, searches: Sequence[AuditRecord]) -> None:
    """What must hold of each match, whoever decided."""
    for search in searches:
        [match] = world.book.of_search(search.record_id)
        names = [made.person for made in match.decisions]
        said = [made.decision for made in match.decisions]
        assert len(set(names)) == len(names) <= match.persons_needed + 1
        assert search.actor.id.split(" ")[0] not in names
        assert not search.on_behalf_of or search.on_behalf_of not in {name.casefold() for name in names}
        assert (match.state is MatchState.CONFIRMED) == (said.count(CONFIRM) >= match.persons_needed)
        assert (match.match_id in queued(world, "nobody")) == (not match.is_closed)


def test_of_two_who_decide_at_once_each_counts_once_and_a_third_too_many_does_not(world: World) -> None:
    for _ in range(4):
        search = search_to_verify()
        world.log.append([search])
        start = threading.Barrier(4)

        def decide(number: int, search: AuditRecord = search, start: threading.Barrier = start) -> None:
            start.wait()
            person = PERSONS[1 + number % 3]  # one of them twice
            world.logs[number % len(world.logs)].append([decision_on(search, person, CONFIRM)])

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(decide, range(4)))
        [match] = world.book.of_search(search.record_id)
        assert match.state is MatchState.CONFIRMED
        assert len(match.decisions) == len({made.person for made in match.decisions}) == 2
    assert list(world.book.matches()) == world.given()


def test_the_tables_are_made_anew_of_the_entries(world: World) -> None:
    search = search_to_verify(hits=2)
    world.log.append([search, decision_on(search, "bob"), decision_on(search, "cat", rank=2)])
    before = list(world.book.matches())
    world.rebuild()
    world.rebuild()
    assert list(world.book.matches()) == before == world.given()

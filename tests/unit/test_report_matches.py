"""Reports and reviews say of a match what the book of verifications says of it."""

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import wiring_audit
from pipeline.reports.coverage import Period
from pipeline.reports.findings import FindingKind
from pipeline.reports.report import Shape
from pipeline.service.access import local_caller
from pipeline.service.audit_reports import Wanted, make_report
from pipeline.service.audit_review import review_log
from pipeline.settings import Settings
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_verifications import MemoryVerificationBook
from pipeline.types import MatchDecision, MatchState
from tests.audit_records import NOON, erasure_of
from tests.verifications import CONFIRM, REJECT, decision_on, search_to_verify

ME = local_caller()
PERSONS = ["ann", "ANN", "bob", "Bob ", "cat", "dan", "eve"]  # ann searched

Said = tuple[str, MatchDecision, int, bool]  # person, decision, rank, and whether it was erased
orders = st.lists(
    st.tuples(
        st.sampled_from(PERSONS),
        st.sampled_from(MatchDecision),
        st.integers(1, 3),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=14,
)


def log_of(persons: int, hits: int, order: Sequence[Said]) -> MemoryAuditLog:
    """One search and the decisions on its hits, in this order."""
    log = MemoryAuditLog()
    search = search_to_verify("ann (k1)", hits=hits, persons=persons)
    log.append([search])
    for person, decision, rank, is_erased in order:
        made = decision_on(search, person, decision, rank=min(rank, hits))
        log.append([made])
        if is_erased:
            log.erase([made.record_id], erasure_of([made]))
    return log


def column_of(log: MemoryAuditLog) -> str:
    """Where the year's report counts the one search."""
    [systems] = [
        table for table in make_report(Wanted(shape=Shape.ANNUAL), log, ME).tables if table.name == "systems"
    ]
    [row] = systems.rows
    counted = dict(zip(systems.columns, row, strict=True))
    [column] = [name for name in ("led on", "rejected", "disputed", "open") if counted[name]]
    return column


def column_by_book(log: MemoryAuditLog) -> str:
    matches = list(MemoryVerificationBook(log).matches())
    states = {match.state for match in matches}
    if MatchState.CONFIRMED in states:
        return "led on"
    if not all(match.is_closed for match in matches):
        return "open"
    return "rejected" if states == {MatchState.REJECTED} else "disputed"


def is_listed(log: MemoryAuditLog) -> bool:
    """Whether a review of a month later lists the search as not verified."""
    review = review_log(
        Period(), wiring_audit.review_thresholds(Settings()), log, ME, now=NOON + timedelta(days=30)
    )
    return any(finding.kind is FindingKind.NOT_VERIFIED for finding in review.findings)


@settings(max_examples=150)
@given(st.integers(1, 2), st.integers(1, 3), orders)
@example(1, 1, [("ann", CONFIRM, 1, False)])  # the searcher's own
@example(2, 1, [("bob", CONFIRM, 1, False), ("Bob ", CONFIRM, 1, False)])  # one person, spelled twice
@example(1, 1, [("bob", REJECT, 1, False), ("cat", CONFIRM, 1, False)])  # late: it was rejected
def test_a_report_and_a_review_say_what_the_book_says(persons: int, hits: int, order: Sequence[Said]) -> None:
    log = log_of(persons, hits, order)
    expected = column_by_book(log)
    assert column_of(log) == expected
    assert is_listed(log) is (expected == "open")

"""Assistance for a reviewer: which entries to look at, and why."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from pipeline.errors import ArgumentError
from pipeline.ports import AuditLog
from pipeline.reports.coverage import Coverage, Period, acts_of
from pipeline.reports.findings import Finding, find_all
from pipeline.reports.thresholds import Thresholds
from pipeline.service.access import Caller, Permission, require
from pipeline.service.audit_entries import record_of
from pipeline.service.audit_search import enter, is_seen, said_of
from pipeline.types.audit import AuditKind

USUAL = timedelta(days=30)
MAX_SEARCHES = 200_000  # kept at once, some 500 MB, and 1 GB if each has ten hits to verify
MAX_ENTRIES_TOLD = 100  # of one finding, as JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    period: Period
    tree_size: int
    searched: Coverage
    findings: Sequence[Finding]


def usual_period(now: datetime | None = None) -> Period:
    """The last 30 days."""
    return Period(since=(now or datetime.now(UTC)) - USUAL)


def review_log(
    period: Period, thresholds: Thresholds, log: AuditLog, caller: Caller, *, now: datetime | None = None
) -> Review:
    """Look through the searches of a period. The review is an entry of its own.

    Raises:
        ArgumentError: the period has too many searches.
        AuditError: the review could not be recorded.
    """
    require(caller, Permission.AUDIT)
    size = log.head().size
    enter(log, record_of(AuditKind.READ, caller, details={"review": said_of(asdict(period))}))
    covered = Coverage()
    acts = acts_of(log.entries(end=size), period, covered, is_seen=lambda entry: is_seen(entry, caller))
    try:
        findings = find_all(acts, thresholds, now or datetime.now(UTC), most=MAX_SEARCHES)
    except OverflowError:
        raise ArgumentError(
            f"{period} has more than {MAX_SEARCHES} searches; give a shorter period"
        ) from None
    return Review(period=period, tree_size=size, searched=covered, findings=findings)


def finding_json(finding: Finding) -> dict[str, object]:
    return {
        "look_at": finding.kind.value,
        "person": finding.person,
        "why": finding.words,
        "count": len(finding.entries),
        "entries": list(finding.entries[:MAX_ENTRIES_TOLD]),
    }

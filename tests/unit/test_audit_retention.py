"""Records are erased when their time is over, and no others, by a clock that the test sets."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain, repeat
from typing import Any

import pytest

from pipeline.api.retention import DailyRetention
from pipeline.audit.verify import verify_log
from pipeline.errors import DeniedError, TransientError
from pipeline.service.access import Caller, Permission, local_caller
from pipeline.service.audit import PAGE_ENTRIES
from pipeline.service.audit_retention import erase_due
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import AuditEntry, AuditQuery
from tests.audit_records import NOON, erasure_of, search_by

ME = local_caller()


@pytest.fixture
def log() -> MemoryAuditLog:
    log = MemoryAuditLog()
    log.append(
        [
            search_by("ann", retention_class="30d", case_ref="AB-1"),
            search_by("bob", retention_class="30d", case_ref="AB-2"),
            search_by("eve", retention_class="365d"),
            search_by("ivy"),  # under no policy
        ]
    )
    return log


def kept(log: MemoryAuditLog) -> list[str]:
    return [entry.found_by["actor"] for entry in log.entries() if entry.found_by.get("kind") == "search"]


def reasons(log: MemoryAuditLog) -> list[str]:
    erasures = [entry for entry in log.entries() if entry.found_by.get("kind") == "erasure"]
    return [json.loads(entry.record or b"")["details"]["reason"] for entry in erasures]


@pytest.mark.parametrize(
    ("passed", "left"),
    [
        (timedelta(days=30) - timedelta(microseconds=1), ["ann", "bob", "eve", "ivy"]),
        (timedelta(days=30), ["eve", "ivy"]),
        (timedelta(days=365), ["ivy"]),
        (timedelta(days=36_500), ["ivy"]),
    ],
)
def test_a_record_goes_when_the_days_of_its_class_are_over(
    log: MemoryAuditLog, passed: timedelta, left: list[str]
) -> None:
    erased = erase_due(log, ME, now=NOON + passed)
    assert (erased, kept(log)) == (4 - len(left), left)


def test_an_erasure_is_one_entry_that_counts_and_the_log_is_sound(log: MemoryAuditLog) -> None:
    assert erase_due(log, ME, now=NOON + timedelta(days=400)) == 3
    assert erase_due(log, ME, now=NOON + timedelta(days=400)) == 0
    assert reasons(log) == ["retention: 2 of 30d, 1 of 365d"]
    assert not verify_log(log, log.key.verifier).faults


def test_the_records_of_a_held_case_stay(log: MemoryAuditLog) -> None:
    assert erase_due(log, ME, now=NOON + timedelta(days=30), held_cases={"AB-2"}) == 1
    assert kept(log) == ["bob", "eve", "ivy"]


def test_many_are_erased_in_pages_and_erasures_stay(log: MemoryAuditLog) -> None:
    gone = search_by("old", retention_class="1d")
    log.append([gone])
    log.erase([gone.record_id], erasure_of([gone], retention_class="1d"))
    log.append([search_by(f"s{number}", retention_class="1d") for number in range(2 * PAGE_ENTRIES + 1)])
    assert erase_due(log, ME, now=NOON + timedelta(days=2)) == 2 * PAGE_ENTRIES + 1
    assert kept(log) == ["ann", "bob", "eve", "ivy"]
    assert len([entry for entry in log.entries() if entry.found_by.get("kind") == "erasure"]) == 1 + 3


class CountingLog(MemoryAuditLog):
    """Counts the records that are read, without those of erasures."""

    read = 0

    def find(self, query: AuditQuery, *, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        found = super().find(query, limit=limit, before=before)
        self.read += len(found) if query.kind is None else 0
        return found


def test_a_sweep_ends_where_an_earlier_one_left_no_class() -> None:
    log = CountingLog()
    log.append([search_by(f"none {number}") for number in range(3 * PAGE_ENTRIES)])
    log.append([search_by("ann", retention_class="1d"), search_by("bob", retention_class="3d")])
    assert erase_due(log, ME, now=NOON + timedelta(days=1)) == 1
    everything, log.read = log.read, 0
    assert erase_due(log, ME, now=NOON + timedelta(days=3)) == 1
    assert (everything > 3 * PAGE_ENTRIES, log.read <= PAGE_ENTRIES) == (True, True)
    log.append([search_by("eve", retention_class="1d")])
    assert erase_due(log, ME, now=NOON + timedelta(days=3)) == 1, "what came later is found"


@pytest.mark.parametrize(
    ("kept_by", "later"),
    [
        ({"retention_class": "5d"}, {}),  # it is not due yet
        ({"retention_class": "1d", "case_ref": "AB-1"}, {"held_cases": ()}),  # the court has let it go
        ({"retention_class": "1d", "minute": 3 * 24 * 60}, {}),  # it began later than the sweep
    ],
    ids=["undue", "held", "ahead"],
)
def test_what_a_sweep_has_left_is_found_by_a_later_one(
    kept_by: dict[str, Any], later: dict[str, Any]
) -> None:
    """Whatever came before or after it in the log, and however often the sweep ran."""
    log = MemoryAuditLog()
    due = [search_by(f"due {number}", retention_class="1d") for number in range(2)]
    log.append([due[0], search_by("left", **kept_by), search_by("none"), due[1]])
    for erased in (2, 0):
        assert erase_due(log, ME, now=NOON + timedelta(days=2), held_cases={"AB-1"}) == erased
    assert kept(log) == ["left", "none"]
    assert erase_due(log, ME, now=NOON + timedelta(days=9), **{"held_cases": {"AB-1"}, **later}) == 1
    assert kept(log) == ["none"]


def test_a_class_that_a_later_version_understands_is_read_again(log: MemoryAuditLog) -> None:
    """A sweep passes over what it cannot read, and does not say that there is nothing."""
    other = MemoryAuditLog()
    other.append([search_by("old", retention_class="2 years"), search_by("ann", retention_class="1d")])
    assert erase_due(other, ME, now=NOON + timedelta(days=2)) == 1
    erasure = json.loads([*other.entries()][-1].record or b"")
    assert erasure["details"] == {"reason": "retention: 1 of 1d", "settled_before": 0}
    assert erase_due(log, ME, now=NOON + timedelta(days=400)) == 3
    assert json.loads([*log.entries()][-1].record or b"")["details"]["settled_before"] == 4


def test_only_an_operator_erases(log: MemoryAuditLog) -> None:
    auditor = Caller(who="a", permissions=frozenset({Permission.AUDIT, Permission.READ}))
    with pytest.raises(DeniedError):
        erase_due(log, auditor, now=NOON)


def test_a_service_erases_when_it_starts_and_again_after_an_error() -> None:
    third = threading.Event()
    outcomes: Iterator[int | Exception] = chain([1, TransientError("away")], repeat(0))

    def erase() -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == 0:
            third.set()
        return outcome

    retention = DailyRetention(erase, every_s=0)
    assert third.wait(30)
    retention.close()

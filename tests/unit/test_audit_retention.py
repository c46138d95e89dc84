"""Records are erased when their time is over, and no others, by a clock that the test sets."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain, repeat

import pytest

from pipeline.api.retention import DailyRetention
from pipeline.audit.verify import verify_log
from pipeline.errors import DeniedError, TransientError
from pipeline.service.access import Caller, Permission, local_caller
from pipeline.service.audit import PAGE_ENTRIES
from pipeline.service.audit_retention import erase_due
from pipeline.testing.memory_audit import MemoryAuditLog
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

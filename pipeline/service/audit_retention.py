"""Erase the records whose time is over, as the policies said under which they were written."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pipeline.ports import AuditLog
from pipeline.service.access import Caller, Permission, require
from pipeline.service.audit import PAGE_ENTRIES, erase_records
from pipeline.types.audit import AuditKind, AuditQuery

_DAYS = re.compile(r"([1-9][0-9]{0,5})d")  # a retention class, see `CollectionPolicy.retention_class`


def erase_due(log: AuditLog, caller: Caller, *, now: datetime, held_cases: Collection[str] = ()) -> int:
    """Take out each record, with its salt, that is older than its retention class. Safe to run twice.

    The class of a record is that of the policy under which it was written, whatever the policy says today.
    A record without a class stays. Each thousand has an entry of its own, with how many were of which class.

    Args:
        held_cases: references of cases whose records stay, for example since a court wants them.

    Returns:
        How many were erased.
    """
    require(caller, Permission.OPERATE)
    erased, page = 0, dict[str, str]()  # class by record id
    for record in _records(log, before=now):
        if _is_due(record, now) and record["case_ref"] not in held_cases:
            page[record["record_id"]] = record["retention_class"]
        if len(page) == PAGE_ENTRIES:
            erased += _erase(page, log, caller)
            page.clear()
    return erased + (_erase(page, log, caller) if page else 0)


def _records(log: AuditLog, *, before: datetime) -> Iterator[Mapping[str, Any]]:
    """The newest first."""
    place: int | None = None
    while found := log.find(AuditQuery(until=before), limit=PAGE_ENTRIES, before=place):
        for entry in found:
            if entry.record is not None and entry.found_by["kind"] != AuditKind.ERASURE:
                yield json.loads(entry.record)
        place = found[-1].index


def _is_due(record: Mapping[str, Any], now: datetime) -> bool:
    days = _DAYS.fullmatch(record["retention_class"])
    if days is None:
        return False
    return datetime.fromisoformat(record["started_at"]) + timedelta(days=int(days[1])) <= now


def _erase(page: Mapping[str, str], log: AuditLog, caller: Caller) -> int:
    counts = ", ".join(f"{count} of {days}" for days, count in sorted(Counter(page.values()).items()))
    erase_records(list(page), log, caller, reason=f"retention: {counts}")
    return len(page)

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
from pipeline.types.audit import AuditEntry, AuditKind, AuditQuery, Json

_DAYS = re.compile(r"([1-9][0-9]{0,5})d")  # a retention class, see `CollectionPolicy.retention_class`
SETTLED = "settled_before"  # of an erasure: each record of a lower index was erased or has no class


def erase_due(log: AuditLog, caller: Caller, *, now: datetime, held_cases: Collection[str] = ()) -> int:
    """Take out each record, with its salt, that is older than its retention class. Safe to run twice.

    The class of a record is that of the policy under which it was written, whatever the policy says today.
    A record without a class stays. Each thousand has an entry of its own, with how many were of which class.
    The last of these entries says below which index no record is left that has a class, so that the next
    sweep ends there (decision 0158).

    Args:
        held_cases: references of cases whose records stay, for example since a court wants them.

    Returns:
        How many were erased.
    """
    require(caller, Permission.OPERATE)
    erased, page, settled = 0, dict[str, str](), 0  # class by record id
    for entry, record in _records(log, start=_settled_before(log)):
        settled = settled or entry.index + 1
        if not record["retention_class"] or entry.found_by["kind"] == AuditKind.ERASURE:
            continue
        if not _is_due(record, now) or record["case_ref"] in held_cases:
            settled = entry.index  # also of a class that only a later version understands
            continue
        if len(page) == PAGE_ENTRIES:
            erased += _erase(page, log, caller)
            page.clear()
        page[record["record_id"]] = record["retention_class"]
    return erased + (_erase(page, log, caller, settled_before=settled) if page else 0)


def _records(log: AuditLog, *, start: int) -> Iterator[tuple[AuditEntry, Mapping[str, Any]]]:
    """The newest first, down to an index. All of them: what is left out here would count as settled."""
    place: int | None = None
    while found := log.find(AuditQuery(), limit=PAGE_ENTRIES, before=place):
        for entry in found:
            if entry.index < start:
                return
            yield entry, json.loads(entry.record or b"{}")
        place = found[-1].index


def _settled_before(log: AuditLog) -> int:
    """What the newest sweep said that told it. 0 if there was none lately: then all is read once more."""
    for entry in log.find(AuditQuery(kind=AuditKind.ERASURE), limit=PAGE_ENTRIES):
        details = json.loads(entry.record or b"{}")["details"]
        if SETTLED in details:
            return int(details[SETTLED])
    return 0


def _is_due(record: Mapping[str, Any], now: datetime) -> bool:
    days = _DAYS.fullmatch(record["retention_class"])
    if days is None:
        return False
    return datetime.fromisoformat(record["started_at"]) + timedelta(days=int(days[1])) <= now


def _erase(
    page: Mapping[str, str], log: AuditLog, caller: Caller, *, settled_before: int | None = None
) -> int:
    counts = ", ".join(f"{count} of {days}" for days, count in sorted(Counter(page.values()).items()))
    noted: Mapping[str, Json] = {} if settled_before is None else {SETTLED: settled_before}
    erase_records(list(page), log, caller, reason=f"retention: {counts}", noted=noted)
    return len(page)

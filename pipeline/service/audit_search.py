"""Find entries of the log: who searched for whom, and why. Each look is an entry of its own."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from pipeline.errors import ArgumentError, AuditError, PictorError
from pipeline.ports import AuditLog
from pipeline.service.access import ALL_TENANTS, Caller, Permission, is_like_any, require
from pipeline.service.audit_entries import record_of
from pipeline.service.audit_subject import Subject, persons_found
from pipeline.service.query_text import PERSON
from pipeline.types.audit import AuditEntry, AuditKind, AuditOutcome, AuditQuery, AuditRecord, Json

MAX_PAGE_ENTRIES = 1000  # of one question, and so of one entry about it
MAX_SCANNED = 20_000  # entries whose records are read for one page, about a second of work


@dataclass(frozen=True, kw_only=True, slots=True)
class Sought:
    """All conditions that are given must hold. Those that are empty are not given.

    "Who searched for this picture?" is `probe_sha256`, `probe_image` or both: one of them must hold then.
    "Who was shown it?" is `candidate`. "Who searched for this person?" is `subject`, which is either of them.
    `person:ID` as `candidate` asks for a person whom a search found by the mean of their faces.
    """

    query: AuditQuery = field(default_factory=AuditQuery)  # without a digest
    outcome: AuditOutcome | None = None
    probe_sha256: str = ""
    probe_image: str = ""  # id of the stored image that was searched with
    candidate: str = ""  # id of an image that was among the hits, or `person:ID`
    subject: Subject | None = None

    def said(self) -> dict[str, Json]:
        """What was asked for, for the entry of the question."""
        rest = {name: getattr(self, name) for name in ("outcome", "probe_sha256", "probe_image", "candidate")}
        subject = self.subject.text if self.subject else ""
        return said_of({**asdict(self.query), **rest, "subject": subject})

    def indexed(self) -> AuditQuery:
        """The part that the ledger has an index for. A digest alone is, a digest or an id is not."""
        if self.probe_sha256 and not self.probe_image:
            return replace(self.query, probe_sha256=self.probe_sha256)
        return self.query

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether the rest holds of a record's JSON."""
        return (
            (self.outcome is None or record["decision"]["outcome"] == self.outcome)
            and (not (self.probe_sha256 or self.probe_image) or self._is_probe(record["probe"]))
            and (not self.candidate or self._was_shown(record))
            and (self.subject is None or self.subject.matches(record))
        )

    def _was_shown(self, record: Mapping[str, Any]) -> bool:
        if self.candidate.startswith(PERSON):
            return self.candidate.removeprefix(PERSON) in persons_found(record)
        return any(hit["id"] == self.candidate for hit in record["candidates"])

    def _is_probe(self, probe: Mapping[str, Any]) -> bool:
        return bool(
            (self.probe_sha256 and probe["sha256"] == self.probe_sha256)
            or (self.probe_image and probe["source"] == self.probe_image)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditPage:
    """`before` is where the next page begins; None on the last one. A page may be short of entries, since no
    more than `MAX_SCANNED` are read for it.
    """

    entries: tuple[AuditEntry, ...]
    before: int | None = None


def search_log(
    sought: Sought,
    log: AuditLog,
    caller: Caller,
    *,
    limit: int,
    before: int | None = None,
    scan: int | None = MAX_SCANNED,
) -> AuditPage:
    """Newest first. The question is an entry before its answer is out.

    Args:
        limit: entries, 1..1000.
        before: an index; only entries below it.
        scan: entries that are read at most; None for all of them.

    Raises:
        ArgumentError: another limit.
        AuditError: the question could not be recorded.
    """
    require(caller, Permission.AUDIT)
    if not 1 <= limit <= MAX_PAGE_ENTRIES:
        raise ArgumentError(f"{limit} entries of a page; 1 to {MAX_PAGE_ENTRIES} can be asked for")
    page = _find(sought, log, caller, limit, before, scan)
    details: dict[str, Json] = {"query": sought.said(), "entries": len(page.entries)}
    if before is not None:
        details["before"] = before
    enter(log, record_of(AuditKind.READ, caller, details=details))
    return page


def entry_json(entry: AuditEntry) -> dict[str, object]:
    """The entry with its record, for every door."""
    record = json.loads(entry.record) if entry.record is not None else None
    return {"index": entry.index, "record_id": entry.record_id, "erased": record is None, "record": record}


def is_seen(entry: AuditEntry, caller: Caller) -> bool:
    """Whether the entry is of the caller's tenant and collections. An erased one is nobody's any more.

    What is about no collection is seen by whoever may reach all of them.
    """
    if caller.tenant == ALL_TENANTS or not entry.found_by:
        return True
    found_by = entry.found_by
    return found_by["tenant"] == caller.tenant and is_like_any(found_by["collection"], caller.collections)


def within_tenant(query: AuditQuery, caller: Caller) -> AuditQuery:
    return query if caller.tenant == ALL_TENANTS else replace(query, tenant=caller.tenant)


def enter(log: AuditLog, record: AuditRecord) -> None:
    """Raises AuditError: it could not be written, so that what it is about is not told."""
    try:
        log.append([record])
    except PictorError as err:
        raise AuditError(f"your reading could not be recorded, so nothing is shown: {err}") from err


def said_of(given: Mapping[str, object]) -> dict[str, Json]:
    """Conditions of a question as texts, without those that are not given."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in given.items()
        if value
    }


def _find(
    sought: Sought, log: AuditLog, caller: Caller, limit: int, before: int | None, scan: int | None
) -> AuditPage:
    """Reads on until there is one more than a page has, so that the last page says that it is the last."""
    query = within_tenant(sought.indexed(), caller)
    found: list[AuditEntry] = []
    for scanned, entry in enumerate(_newest_first(query, log, limit + 1, before), 1):
        if is_seen(entry, caller) and sought.matches(json.loads(entry.record or b"{}")):
            found.append(entry)
        if len(found) > limit:
            return AuditPage(entries=tuple(found[:limit]), before=found[limit - 1].index)
        if scanned == scan:
            return AuditPage(entries=tuple(found), before=entry.index)
    return AuditPage(entries=tuple(found))


def _newest_first(query: AuditQuery, log: AuditLog, first: int, before: int | None) -> Iterator[AuditEntry]:
    size = min(first, MAX_PAGE_ENTRIES)
    while page := log.find(query, limit=size, before=before):
        yield from page
        before, size = page[-1].index, MAX_PAGE_ENTRIES

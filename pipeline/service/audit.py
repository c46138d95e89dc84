"""Read, prove, export and erase what the transparency log holds. Each of these is an entry, too."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType

from pipeline.audit.export import export_lines
from pipeline.audit.records import no_such_record
from pipeline.errors import ArgumentError, NotFoundError
from pipeline.ports import AuditLog
from pipeline.ports.audit import PublishedLog
from pipeline.service.access import ALL_TENANTS, Caller, Permission, require
from pipeline.service.audit_entries import record_of
from pipeline.service.audit_search import enter, is_seen, said_of, within_tenant
from pipeline.types.audit import AuditEntry, AuditKind, AuditQuery, AuditReceipt, Json

PAGE_ENTRIES = 1000  # of one question to the log, and of one erasure
MAX_REASON_CHARS = 1000
MAX_INDEX_DIGITS = 18  # more are the id of a record


def prove_record(record_id: str, log: AuditLog, caller: Caller) -> AuditReceipt:
    """Raises NotFoundError for a record of another tenant, too."""
    require(caller, Permission.AUDIT)
    _get(record_id, log, caller)
    return log.prove(record_id)


def show_record(record_id: str, log: AuditLog, caller: Caller) -> AuditEntry:
    require(caller, Permission.AUDIT)
    entry = _get(record_id, log, caller)
    enter(log, record_of(AuditKind.READ, caller, refers_to=(record_id,)))
    return entry


def show_entry(place: str, log: AuditLog, caller: Caller) -> AuditEntry:
    """One entry. Whoever searched may see that of their own search. Reading is an entry of its own.

    Args:
        place: an index, or the id of a record.

    Raises:
        NotFoundError: there is none, or it is of another tenant.
        DeniedError: it is somebody else's, and the caller is no auditor.
    """
    entry = _visible_entry(place, log, caller)
    enter(log, record_of(AuditKind.READ, caller, refers_to=(entry.record_id,)))
    return entry


def prove_place(place: str, log: AuditLog, caller: Caller) -> AuditReceipt:
    """As `show_entry`, with the proof under the newest checkpoint in the place of the record."""
    return log.prove(_visible_entry(place, log, caller).record_id)


def log_of(log: AuditLog | None) -> AuditLog:
    """Raises NotFoundError where nothing is recorded."""
    if log is None:
        raise NotFoundError("there is no log: PICTOR_AUDIT is off")
    return log


def export_records(
    log: PublishedLog, caller: Caller, *, since: datetime | None, until: datetime | None
) -> Iterator[bytes]:
    """Lines of all entries whose acts began in a span of time, see `audit.export`.

    The export is an entry of its own before its first line is out.

    Args:
        until: this moment is out.
    """
    require(caller, Permission.AUDIT)
    span = AuditQuery(since=since, until=until)
    log.append([record_of(AuditKind.EXPORT, caller, details={"query": said_of(asdict(span))})])
    tenant = "" if caller.tenant == ALL_TENANTS else caller.tenant
    return export_lines(log.entries(), since=since, until=until, tenant=tenant)


def erase_records(
    record_ids: Sequence[str],
    log: AuditLog,
    caller: Caller,
    *,
    reason: str,
    noted: Mapping[str, Json] = MappingProxyType({}),
) -> AuditReceipt:
    """Take out records with their salts, and say so in an entry. The tree is proved as before.

    Args:
        noted: further details of the entry.

    Raises:
        ArgumentError: no record, too many, or no reason.
        NotFoundError: one of them is not there, or of another tenant.
    """
    require(caller, Permission.OPERATE)
    if not reason.strip() or len(reason) > MAX_REASON_CHARS:
        raise ArgumentError(f"an erasure needs a reason of up to {MAX_REASON_CHARS} characters")
    if not 1 <= len(record_ids) <= PAGE_ENTRIES:
        raise ArgumentError(f"{len(record_ids)} records to erase; 1 to {PAGE_ENTRIES} are expected")
    for record_id in record_ids:
        _get(record_id, log, caller)
    details = {"reason": reason, **noted}
    erasure = record_of(AuditKind.ERASURE, caller, refers_to=tuple(record_ids), details=details)
    return log.erase(record_ids, erasure)


def erase_found(query: AuditQuery, log: AuditLog, caller: Caller, *, reason: str) -> int:
    """Erase all records that a query is about, but for erasures. Returns how many."""
    require(caller, Permission.OPERATE)
    erased, page = 0, list[str]()
    for entry in _all(within_tenant(query, caller), log):
        if entry.found_by["kind"] != AuditKind.ERASURE:
            page.append(entry.record_id)
        if len(page) == PAGE_ENTRIES:
            erase_records(page, log, caller, reason=reason)
            erased, page = erased + len(page), []
    if page:
        erase_records(page, log, caller, reason=reason)
    return erased + len(page)


def _all(query: AuditQuery, log: AuditLog) -> Iterator[AuditEntry]:
    before: int | None = log.head().size
    while page := log.find(query, limit=PAGE_ENTRIES, before=before):
        yield from page
        before = page[-1].index


def _get(record_id: str, log: AuditLog, caller: Caller) -> AuditEntry:
    entry = log.get(record_id)
    _check_tenant(entry, caller)
    return entry


def _visible_entry(place: str, log: AuditLog, caller: Caller) -> AuditEntry:
    if Permission.SEARCH not in caller.permissions:
        require(caller, Permission.AUDIT)
    entry = _entry_at(place, log)
    if not _is_own(entry, caller):
        require(caller, Permission.AUDIT)
        _check_tenant(entry, caller)
    return entry


def _entry_at(place: str, log: AuditLog) -> AuditEntry:
    if not (place.isascii() and place.isdecimal() and len(place) <= MAX_INDEX_DIGITS):
        return log.get(place)
    found = next(iter(log.entries(start=int(place), end=int(place) + 1)), None)
    if found is None:
        raise NotFoundError(f"no entry {place} in the log; it has {log.head().size}")
    return found


def _is_own(entry: AuditEntry, caller: Caller) -> bool:
    """The entry of a search that this caller made."""
    made = [entry.found_by.get(name) for name in ("kind", "tenant", "actor")]
    return made == [AuditKind.SEARCH, caller.tenant, caller.who]


def _check_tenant(entry: AuditEntry, caller: Caller) -> None:
    """An erased record belongs to nobody any more, and shows nothing."""
    if not is_seen(entry, caller):
        raise no_such_record(entry.record_id)

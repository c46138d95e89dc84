"""Between entries of the transparency log and rows."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.audit_schema import audit_entry, audit_reference
from pipeline.adapters.ledger.rows import Values
from pipeline.adapters.ledger.statements import slices
from pipeline.audit.queries import asked_facets, facets_in, said_references
from pipeline.types.audit import AuditEntry, AuditQuery, AuditRecord

FACETS = ("kind", "actor", "tenant", "collection", "purpose_code", "case_ref", "probe_sha256")
ERASED: Values = {"salt": None, "record": None, "started_at": None} | dict.fromkeys(FACETS, "")

# Made once: every search runs it.
BY_IDS = sa.select(audit_entry).where(audit_entry.c.record_id.in_(sa.bindparam("record_ids", expanding=True)))


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEntry:
    """A record on its way into the log."""

    record: AuditRecord
    canonical: bytes
    salt: bytes
    commitment: bytes

    @property
    def record_id(self) -> str:
        return self.record.record_id


def entry_values(index: int, new: NewEntry) -> Values:
    return {
        "entry_index": index,
        "record_id": new.record_id,
        "commitment": new.commitment,
        "salt": new.salt,
        "record": new.canonical,
        "started_at": new.record.started_at,
        **facets_in(json.loads(new.canonical)),  # where odd characters are escaped, as in no other place
    }


def reference_values(index: int, new: NewEntry) -> list[Values]:
    return [{"refers_to": record_id, "entry_index": index} for record_id in sorted(set(new.record.refers_to))]


def entry_of(row: sa.Row[Any]) -> AuditEntry:
    return AuditEntry(
        index=row.entry_index,
        record_id=row.record_id,
        commitment=_bytes(row.commitment) or b"",
        salt=_bytes(row.salt),
        record=_bytes(row.record),
        found_by={name: getattr(row, name) for name in FACETS} if row.record is not None else {},
    )


def _bytes(value: bytes | str | None) -> bytes | None:
    """SQLite keeps whatever type somebody wrote. A verification must get to see it."""
    return value.encode() if isinstance(value, str) else value


def select_found(query: AuditQuery) -> sa.Select[Any]:
    """Entries that a query is about, in no order."""
    found = sa.select(audit_entry).where(audit_entry.c.record.is_not(None))
    for name, value in asked_facets(query).items():
        found = found.where(audit_entry.c[name] == value)
    if query.since is not None:
        found = found.where(audit_entry.c.started_at >= query.since)
    if query.until is not None:
        found = found.where(audit_entry.c.started_at < query.until)
    if query.refers_to:
        speaking = sa.select(audit_reference.c.entry_index).where(
            audit_reference.c.refers_to == query.refers_to
        )
        found = found.where(audit_entry.c.entry_index.in_(speaking))
    return found


def with_references(connection: sa.Connection, page: list[AuditEntry]) -> list[AuditEntry]:
    """The same entries, in their order, with the references that they are found by."""
    if not page:
        return page
    place = audit_reference.c.entry_index
    rows = connection.execute(
        sa.select(audit_reference).where(place >= page[0].index, place <= page[-1].index)
    )
    by_index: dict[int, list[str]] = {}
    for row in rows:
        by_index.setdefault(row.entry_index, []).append(row.refers_to)
    return [
        replace(
            entry, found_by={**entry.found_by, "refers_to": said_references(by_index.get(entry.index, ()))}
        )
        if entry.record is not None
        else entry
        for entry in page
    ]


def select_by_ids(connection: sa.Connection, record_ids: Iterable[str]) -> dict[str, AuditEntry]:
    """The entries that are there, by record id."""
    found: dict[str, AuditEntry] = {}
    for mine in slices(sorted(set(record_ids))):
        rows = connection.execute(BY_IDS, {"record_ids": mine})
        found |= {row.record_id: entry_of(row) for row in rows}
    return found

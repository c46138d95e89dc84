"""Between entries of the transparency log and rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.audit_schema import audit_entry, audit_reference
from pipeline.adapters.ledger.rows import Values
from pipeline.adapters.ledger.statements import slices
from pipeline.audit.queries import asked_facets, said_facets, said_references
from pipeline.types.audit import AuditEntry, AuditQuery, AuditRecord

FACETS = ("kind", "actor", "tenant", "collection", "purpose_code", "case_ref", "probe_sha256")
ERASED: Values = {"salt": None, "record": None, "started_at": None} | dict.fromkeys(FACETS, "")

ENTRY = tuple(
    audit_entry.c[name] for name in ("entry_index", "record_id", "commitment", "salt", "record", *FACETS)
)
"""The columns that `entry_of` takes, in its order."""

# Made once: every search runs it.
BY_IDS = sa.select(*ENTRY).where(audit_entry.c.record_id.in_(sa.bindparam("record_ids", expanding=True)))


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
        **said_facets(new.record),
    }


def reference_values(index: int, new: NewEntry) -> list[Values]:
    return [{"refers_to": record_id, "entry_index": index} for record_id in sorted(set(new.record.refers_to))]


def entry_of(row: sa.Row[Any], **also_found_by: str) -> AuditEntry:
    """Args: `row` has the columns `ENTRY`. A million of them are read at once, so it is unpacked by place."""
    values: Sequence[Any] = row
    index, record_id, commitment, salt, record, *facets = values
    return AuditEntry(
        index=index,
        record_id=record_id,
        commitment=_bytes(commitment) or b"",
        salt=_bytes(salt),
        record=_bytes(record),
        found_by={} if record is None else dict(zip(FACETS, facets, strict=True)) | also_found_by,
    )


def _bytes(value: bytes | str | None) -> bytes | None:
    """SQLite keeps whatever type somebody wrote. A verification must get to see it."""
    return value.encode() if isinstance(value, str) else value


def select_found(query: AuditQuery) -> sa.Select[Any]:
    """Entries that a query is about, in no order."""
    found = sa.select(*ENTRY).where(audit_entry.c.record.is_not(None))
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


def with_references(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[AuditEntry]:
    """The entries of these rows, in their order, with the references that they are found by."""
    if not rows:
        return []
    place = audit_reference.c.entry_index
    found = connection.execute(
        sa.select(place, audit_reference.c.refers_to).where(place >= rows[0][0], place <= rows[-1][0])
    )
    by_index: dict[int, list[str]] = {}
    for index, refers_to in found:
        by_index.setdefault(index, []).append(refers_to)
    said = {index: said_references(ids) for index, ids in by_index.items()}
    return [entry_of(row, refers_to=said.get(row[0], "")) for row in rows]


def select_by_ids(connection: sa.Connection, record_ids: Iterable[str]) -> dict[str, AuditEntry]:
    """The entries that are there, by record id."""
    found: dict[str, AuditEntry] = {}
    for mine in slices(sorted(set(record_ids))):
        rows = connection.execute(BY_IDS, {"record_ids": mine})
        found |= {row.record_id: entry_of(row) for row in rows}
    return found

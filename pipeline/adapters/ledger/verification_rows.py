"""Keep the tables of verifications in step with the log. Each function runs inside the log's transaction.

Only the log's one writer calls them, so no two decisions are taken at once.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.audit_schema import audit_entry, audit_reference
from pipeline.adapters.ledger.audit_tree_rows import lock_tree
from pipeline.adapters.ledger.rows import Values
from pipeline.adapters.ledger.statements import slices
from pipeline.adapters.ledger.verification_schema import verification, verification_decision
from pipeline.audit.verifications import decision_in, matches_in
from pipeline.types import (
    AuditEntry,
    AuditKind,
    Match,
    MatchDecision,
    PersonDecision,
    person_key,
)

Decisions = dict[tuple[str, int], list[PersonDecision]]


def take_entry(connection: sa.Connection, index: int, canonical: bytes) -> None:
    """Open the matches of a search, or let a decision count. Args: `index` is the entry's place."""
    record = json.loads(canonical)
    opened = [_match_values(match) for match in matches_in(index, record)]
    if opened:
        connection.execute(verification.insert(), opened)
    if (found := decision_in(record)) is not None:
        (search_id, rank), made = found
        _take_decision(connection, select_match(connection, search_id, rank), made, index)


def make_anew_without(connection: sa.Connection, erased: Iterable[AuditEntry]) -> None:
    """After an erasure: what these entries said is not known any more. Args: `erased`, as they were."""
    searches = set[str]()
    for record in (json.loads(entry.record) for entry in erased if entry.record is not None):
        if record["kind"] == AuditKind.SEARCH:
            searches.add(record["record_id"])
        elif (found := decision_in(record)) is not None:
            searches.add(found[0][0])
    for search_id in sorted(searches):
        _delete(connection, verification.c.search_id == search_id)
        _take_all(connection, _select_speaking_of(search_id))


def make_all_anew(connection: sa.Connection) -> None:
    lock_tree(connection)
    _delete(connection, sa.true())
    _take_all(connection, audit_entry.c.kind.in_([AuditKind.SEARCH.value, AuditKind.VERIFICATION.value]))


def select_match(connection: sa.Connection, search_id: str, rank: int) -> Match | None:
    mine = (verification.c.search_id == search_id, verification.c.rank == rank)
    row = connection.execute(sa.select(verification).where(*mine)).first()
    return with_decisions(connection, [row])[0] if row else None


def with_decisions(connection: sa.Connection, rows: list[sa.Row[Any]]) -> list[Match]:
    """The matches of these rows, in their order."""
    made = Decisions()
    for mine in slices(sorted({row.search_id for row in rows})):
        found = sa.select(verification_decision).where(verification_decision.c.search_id.in_(mine))
        for row in connection.execute(found.order_by(verification_decision.c.entry_index)):
            made.setdefault((row.search_id, row.rank), []).append(_decision_of(row))
    return [_match_of(row, made) for row in rows]


def _take_all(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    entries = sa.select(audit_entry.c.entry_index, audit_entry.c.record)
    alive = entries.where(which, audit_entry.c.record.is_not(None)).order_by(audit_entry.c.entry_index)
    start = -1
    while page := connection.execute(alive.where(audit_entry.c.entry_index > start).limit(1000)).all():
        for row in page:
            take_entry(connection, row.entry_index, row.record)
        start = page[-1].entry_index


def _select_speaking_of(search_id: str) -> sa.ColumnElement[bool]:
    speaking = sa.select(audit_reference.c.entry_index).where(audit_reference.c.refers_to == search_id)
    return sa.or_(audit_entry.c.record_id == search_id, audit_entry.c.entry_index.in_(speaking))


def _take_decision(connection: sa.Connection, match: Match | None, made: PersonDecision, index: int) -> None:
    if match is None or (now := match.with_decision(made)) is match:
        return
    place = {"search_id": match.search_id, "rank": match.rank}
    connection.execute(verification_decision.insert(), place | _decision_values(made, index))
    mine = (verification.c.search_id == match.search_id, verification.c.rank == match.rank)
    connection.execute(verification.update().where(*mine).values(_open_values(now)))


def _delete(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    places = sa.select(verification.c.search_id).where(which)
    connection.execute(verification_decision.delete().where(verification_decision.c.search_id.in_(places)))
    connection.execute(verification.delete().where(which))


def _match_values(match: Match) -> Values:
    names = [column.name for column in verification.c if column.name != "is_open"]
    return {name: getattr(match, name) for name in names} | _open_values(match)


def _open_values(match: Match) -> Values:
    return {"is_open": not match.is_closed}


def _decision_values(made: PersonDecision, index: int) -> Values:
    return {
        "person": person_key(made.person),
        "name": made.person,
        "decision": made.decision.value,
        "reason": made.reason,
        "at": made.at,
        "record_id": made.record_id,
        "entry_index": index,
    }


def _match_of(row: sa.Row[Any], made: Mapping[tuple[str, int], list[PersonDecision]]) -> Match:
    fields = {name: value for name, value in row._mapping.items() if name != "is_open"}
    return Match(**fields, decisions=tuple(made.get((row.search_id, row.rank), ())))


def _decision_of(row: sa.Row[Any]) -> PersonDecision:
    return PersonDecision(
        person=row.name,
        decision=MatchDecision(row.decision),
        reason=row.reason,
        at=row.at,
        record_id=row.record_id,
    )

"""Policies of collections and clocks of cases, in the ledger's database."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.policy_schema import (
    case_clock,
    collection_policy,
    is_in_force,
    is_proposed,
)
from pipeline.adapters.ledger.statements import insert_into
from pipeline.errors import ConflictError, NotFoundError
from pipeline.types import (
    AuthorisationRule,
    CaseClock,
    CollectionPolicy,
    PolicyState,
    PolicyVersion,
    Purpose,
)

TURN = 0x706963746F70  # no other application of this database takes it: "pictop"


class SqlPolicyBook(InTransactions):
    """Implements `ports.PolicyBook`."""

    def in_force(self, collection: str) -> PolicyVersion | None:
        mine = sa.select(collection_policy).where(collection_policy.c.collection == collection, is_in_force)
        row = self._read(lambda connection: connection.execute(mine).first())
        return _version_of(row) if row else None

    def history(self, collection: str) -> list[PolicyVersion]:
        mine = sa.select(collection_policy).where(collection_policy.c.collection == collection)
        newest_first = mine.order_by(collection_policy.c.version.desc())
        return self._read(lambda connection: list(map(_version_of, connection.execute(newest_first))))

    def list_in_force(self) -> list[PolicyVersion]:
        by_name = sa.select(collection_policy).where(is_in_force).order_by(collection_policy.c.collection)
        return self._read(lambda connection: list(map(_version_of, connection.execute(by_name))))

    def add(self, version: PolicyVersion) -> None:
        try:
            self._write(lambda connection: _add(connection, version))
        except _TakenError as err:
            raise _taken(version) from err

    def decide(
        self, collection: str, version: int, state: PolicyState, *, decided_by: str, at: datetime
    ) -> PolicyVersion:
        decided = {"state": state.value, "decided_by": decided_by, "decided_at": at}

        def write(connection: sa.Connection) -> PolicyVersion:
            _wait_for_turn(connection)
            found = _find(connection, collection, version)
            if (found.state, found.decided_by) == (state, decided_by):
                return found  # by an earlier try, whose answer was lost
            if found.state is not PolicyState.PROPOSED:
                raise ConflictError(
                    f"version {version} of the policy of {collection!r} is {found.state}; only one that is "
                    "proposed can be decided over"
                )
            if state is PolicyState.IN_FORCE:
                _replace(connection, collection, is_in_force)
            connection.execute(collection_policy.update().where(*_is(collection, version)).values(decided))
            return _find(connection, collection, version)

        return self._write(write)

    def find_clock(self, collection: str, case: str) -> CaseClock | None:
        return self._read(lambda connection: _clock(connection, collection, case))

    def start_clock(self, collection: str, case: str, at: datetime) -> CaseClock:
        return self._write(lambda connection: _start(connection, collection, case, at))

    def decide_case(self, clock: CaseClock) -> CaseClock:
        decided = {
            "granted": clock.granted,
            "authorisation": clock.authorisation,
            "authority": clock.authority,
            "decided_by": clock.decided_by,
            "decided_at": clock.decided_at,
        }
        mine = (case_clock.c.collection == clock.collection, case_clock.c.case_ref == clock.case)
        undecided = case_clock.update().where(*mine, case_clock.c.granted.is_(None))

        def write(connection: sa.Connection) -> CaseClock:
            _start(connection, clock.collection, clock.case, clock.started_at)
            connection.execute(undecided.values(decided))
            found = _clock(connection, clock.collection, clock.case)
            assert found is not None
            entered = (found.granted, found.authorisation, found.authority)
            if entered != (clock.granted, clock.authorisation, clock.authority):
                said = "granted" if found.granted else "refused"
                raise ConflictError(
                    f"case {clock.case!r} in {clock.collection!r} was {said} by {found.authority} "
                    f"({found.authorisation}); what was entered stays"
                )
            return found

        return self._write(write)


class _TakenError(Exception):
    """The number of a version is that of another one, or somebody was faster."""


def _wait_for_turn(connection: sa.Connection) -> None:
    """Two that change policies at once would each compare with what the other replaces."""
    if connection.dialect.name == "postgresql":  # in SQLite the transaction itself is the lock
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(TURN)))


def _add(connection: sa.Connection, version: PolicyVersion) -> None:
    _wait_for_turn(connection)
    present = connection.execute(
        sa.select(collection_policy).where(*_is(version.collection, version.version))
    ).first()
    if present is not None:
        if _version_of(present) == version:
            return  # by an earlier try, whose answer was lost
        raise _TakenError
    current = connection.scalar(
        sa.select(collection_policy.c.version).where(
            collection_policy.c.collection == version.collection, is_in_force
        )
    )
    if (current or 0) != version.replaces:
        raise _TakenError
    _replace(connection, version.collection, is_proposed)
    if version.state is PolicyState.IN_FORCE:
        _replace(connection, version.collection, is_in_force)
    try:
        connection.execute(collection_policy.insert(), _values(version))
    except exc.IntegrityError as err:
        raise _TakenError from err


def _replace(connection: sa.Connection, collection: str, which: sa.ColumnElement[bool]) -> None:
    mine = collection_policy.update().where(collection_policy.c.collection == collection, which)
    connection.execute(mine.values(state=PolicyState.REPLACED.value))


def _find(connection: sa.Connection, collection: str, version: int) -> PolicyVersion:
    row = connection.execute(sa.select(collection_policy).where(*_is(collection, version))).first()
    if row is None:
        raise NotFoundError(f"collection {collection!r} has no version {version} of a policy")
    return _version_of(row)


def _is(collection: str, version: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (collection_policy.c.collection == collection, collection_policy.c.version == version)


def _taken(version: PolicyVersion) -> ConflictError:
    return ConflictError(
        f"somebody else has changed the policy of {version.collection!r} meanwhile; look at it again"
    )


def _values(version: PolicyVersion) -> dict[str, Any]:
    fields = {name: getattr(version, name) for name in PolicyVersion.__dataclass_fields__}
    return fields | {"policy": asdict(version.policy), "state": version.state.value}


def _version_of(row: sa.Row[Any]) -> PolicyVersion:
    fields = dict(row._mapping)
    state, policy = PolicyState(fields.pop("state")), fields.pop("policy")
    return PolicyVersion(state=state, policy=_policy_of(policy), **fields)


def _policy_of(fields: dict[str, Any]) -> CollectionPolicy:
    texts = {name: tuple(fields[name]) for name in ("keys", "roles", "case_patterns")}
    purposes = tuple(Purpose(**purpose) for purpose in fields["purposes"])
    rule = AuthorisationRule(fields["authorisation"])
    return CollectionPolicy(**fields | texts | {"purposes": purposes, "authorisation": rule})


def _start(connection: sa.Connection, collection: str, case: str, at: datetime) -> CaseClock:
    nothing = {"granted": None, "authorisation": "", "authority": "", "decided_by": "", "decided_at": None}
    first = insert_into(connection, case_clock).values(
        collection=collection, case_ref=case, started_at=at, **nothing
    )
    connection.execute(first.on_conflict_do_nothing())
    found = _clock(connection, collection, case)
    assert found is not None
    return found


def _clock(connection: sa.Connection, collection: str, case: str) -> CaseClock | None:
    row = connection.execute(
        sa.select(case_clock).where(case_clock.c.collection == collection, case_clock.c.case_ref == case)
    ).first()
    if row is None:
        return None
    fields = dict(row._mapping)
    return CaseClock(case=fields.pop("case_ref"), **fields)

"""The keys of the HTTP service, in the ledger's database."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.schema import api_key, api_session
from pipeline.adapters.ledger.statements import insert_into
from pipeline.errors import ConflictError
from pipeline.types import ApiKey, Justification, KeyRole, KnownKey, Session

FIRST_KEY_LOCK = 0x706963746F6B  # no other application of this database takes it: "pictok"


class SqlKeyBook(InTransactions):
    """Implements `ports.KeyBook`."""

    def add_key(self, known: KnownKey) -> None:
        self._write(lambda connection: _insert(connection, known))

    def add_first_key(self, known: KnownKey) -> bool:
        def add(connection: sa.Connection) -> bool:
            if connection.dialect.name == "postgresql":  # in SQLite the transaction itself is the lock
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(FIRST_KEY_LOCK)))
            first = connection.scalar(sa.select(api_key.c.key_id).limit(1))
            if first is None:
                _insert(connection, known)
            return first in (None, known.key.key_id)  # there already when only the answer was lost

        return self._write(add)

    def replace_key(self, known: KnownKey, *, former_expires_at: datetime) -> None:
        lasts_longer = api_key.c.expires_at.is_(None) | (api_key.c.expires_at > former_expires_at)
        mine = api_key.c.key_id == known.key.replaces
        # Locked: a revocation comes before or after, and is seen in the first case.
        held = sa.select(api_key.c.key_id).where(mine, api_key.c.revoked_at.is_(None)).with_for_update()
        former = api_key.update().where(mine, lasts_longer)

        def replace(connection: sa.Connection) -> None:
            if connection.execute(held).first() is None:
                raise ConflictError(f"key {known.key.replaces} was revoked meanwhile")
            _insert(connection, known)
            connection.execute(former.values(expires_at=former_expires_at))

        self._write(replace)

    def find_key(self, key_id: str) -> KnownKey | None:
        query = sa.select(api_key).where(api_key.c.key_id == key_id)
        row = self._read(_first(query))
        return None if row is None else KnownKey(key=_key_of(row), digest=row.digest)

    def list_keys(self) -> list[ApiKey]:
        query = sa.select(api_key).order_by(api_key.c.created_at.desc(), api_key.c.key_id)
        return [_key_of(row) for row in self._read(lambda connection: connection.execute(query).all())]

    def revoke_key(self, key_id: str, at: datetime) -> None:
        def revoke(connection: sa.Connection) -> None:
            valid = api_key.update().where(api_key.c.key_id == key_id, api_key.c.revoked_at.is_(None))
            connection.execute(valid.values(revoked_at=at))
            connection.execute(api_session.delete().where(api_session.c.key_id == key_id))

        self._write(revoke)

    def note_use(self, key_id: str, at: datetime, *, unless_since: datetime) -> None:
        is_old = api_key.c.last_used_at.is_(None) | (api_key.c.last_used_at <= unless_since)
        noted = api_key.update().where(api_key.c.key_id == key_id, is_old).values(last_used_at=at)
        self._write(lambda connection: connection.execute(noted))

    def add_session(self, digest: str, session: Session, *, now: datetime, most: int) -> None:
        of_key = api_session.c.key_id == session.key_id
        newest = sa.select(api_session.c.digest).where(of_key)
        newest = newest.order_by(api_session.c.expires_at.desc(), api_session.c.digest).limit(most)

        def add(connection: sa.Connection) -> None:
            connection.execute(api_session.delete().where(api_session.c.expires_at <= now))
            values = {"digest": digest} | asdict(session)
            connection.execute(insert_into(connection, api_session).values(values).on_conflict_do_nothing())
            connection.execute(api_session.delete().where(of_key, api_session.c.digest.not_in(newest)))

        self._write(add)

    def find_session(self, digest: str) -> Session | None:
        row = self._read(_first(sa.select(api_session).where(api_session.c.digest == digest)))
        return None if row is None else Session(key_id=row.key_id, expires_at=row.expires_at)

    def end_session(self, digest: str) -> None:
        ended = api_session.delete().where(api_session.c.digest == digest)
        self._write(lambda connection: connection.execute(ended))


def _first(query: sa.Select[Any]) -> Callable[[sa.Connection], sa.Row[Any] | None]:
    return lambda connection: connection.execute(query).first()


def _insert(connection: sa.Connection, known: KnownKey) -> None:
    values = asdict(known.key) | {"roles": [role.value for role in known.key.roles], "digest": known.digest}
    connection.execute(insert_into(connection, api_key).values(values).on_conflict_do_nothing())


def _key_of(row: sa.Row[Any]) -> ApiKey:
    fields = {name: value for name, value in row._mapping.items() if name != "digest"}
    read = {"roles": tuple(map(KeyRole, row.roles)), "justification": Justification(**row.justification)}
    return ApiKey(**(fields | read))

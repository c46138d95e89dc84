"""Statements on the driver's own cursor, for the one transaction that every search waits for.

Between two searches their code leaves the processor's caches. SQLAlchemy then takes 0.1 to 0.2 ms for each
statement and for each begin, and SQLite itself takes 0.05 ms for the whole transaction.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.adapters.ledger.rows import Values


class Prepared:
    """A statement in the words of one database. Args: `statement` has named parameters of the types `of`."""

    def __init__(self, statement: Any, dialect: str, of: Sequence[sa.Column[Any]] = ()) -> None:
        named = sqlite.dialect(paramstyle="named") if dialect == "sqlite" else postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
        self._text = str(statement.compile(dialect=named))
        found = ((column.name, column.type.dialect_impl(named).bind_processor(named)) for column in of)
        self._processors = {name: processor for name, processor in found if processor is not None}

    def run(self, cursor: Any, values: Values) -> int:
        """Returns how many rows there were."""
        return int(cursor.execute(self._text, self._stored(values)).rowcount)

    def run_each(self, cursor: Any, rows: Sequence[Values]) -> None:
        cursor.executemany(self._text, list(map(self._stored, rows)))

    def _stored(self, values: Values) -> Values:
        return values | {name: stored(values[name]) for name, stored in self._processors.items()}


@contextmanager
def driver_transaction(engine: sa.Engine) -> Iterator[Any]:
    """A cursor in a writing transaction, which ends with what is raised inside. Errors are the driver's."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        if engine.dialect.name == "sqlite":  # psycopg begins by itself
            cursor.execute("BEGIN IMMEDIATE")
        yield cursor
        connection.commit()
    finally:
        connection.close()  # back to the pool, which rolls back what is open

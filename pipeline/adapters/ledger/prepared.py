"""Statements on the driver's own cursor, for the one transaction that every search waits for.

Between two searches their code leaves the processor's caches. SQLAlchemy then takes 0.1 to 0.2 ms for each
statement and for each begin, and SQLite itself takes 0.05 ms for the whole transaction.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.adapters.ledger.rows import Values

ROWS_OF_ONE_INSERT = 64  # each number of rows is a text of its own, which the driver keeps


class Prepared:
    """A statement in the words of one database. Its named parameters are of types that the driver takes."""

    def __init__(self, statement: Any, dialect: str) -> None:
        named = _dialect(dialect, sqlite="named", postgresql="pyformat")
        self._text = str(statement.compile(dialect=named))

    def run(self, cursor: Any, values: Values) -> int:
        """Returns how many rows there were."""
        return int(cursor.execute(self._text, values).rowcount)


class PreparedInsert:
    """Rows of a table, many in one statement: for each statement, Python's lock is given up."""

    def __init__(self, table: sa.Table, dialect: str) -> None:
        self._table, self._dialect = table, _dialect(dialect, sqlite="qmark", postgresql="format")
        self._names = [column.name for column in table.columns]
        self._processors = _processors(table, self._dialect)
        self._text = cache(self._text_of)

    def run(self, cursor: Any, rows: Sequence[Values]) -> None:
        """Args: `rows` has a value for each column. There may be no rows."""
        for start in range(0, len(rows), ROWS_OF_ONE_INSERT):
            some = list(map(self._stored, rows[start : start + ROWS_OF_ONE_INSERT]))
            cursor.execute(self._text(len(some)), [row[name] for row in some for name in self._names])

    def _stored(self, values: Values) -> Values:
        return values | {name: stored(values[name]) for name, stored in self._processors.items()}

    def _text_of(self, rows: int) -> str:
        """Its marks are in the order of the columns, row by row."""
        made = self._table.insert().values([dict.fromkeys(self._names)] * rows)
        return str(made.compile(dialect=self._dialect))


class DriverTransactions:
    """Transactions of the thread that has the turn. Errors are the driver's."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._is_file = engine.dialect.name == "sqlite"
        self._kept: Any = None  # a connection to a file; a server's is asked each time whether it is alive

    @contextmanager
    def begin(self) -> Iterator[Any]:
        """A cursor in a writing transaction, which ends with what is raised inside."""
        connection, self._kept = self._kept or self._engine.raw_connection(), None
        try:
            cursor = connection.cursor()
            if self._is_file:  # psycopg begins by itself
                cursor.execute("BEGIN IMMEDIATE")
            yield cursor
            connection.commit()
        except BaseException:
            connection.close()  # back to the pool, which rolls back what is open
            raise
        if self._is_file:
            self._kept = connection
        else:
            connection.close()

    def close(self) -> None:
        """Give the connection back, before the engine is closed."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def _dialect(name: str, **paramstyles: str) -> Any:
    kind: Any = {"sqlite": sqlite.dialect, "postgresql": postgresql.psycopg.dialect}[name]
    return kind(paramstyle=paramstyles[name])


def _processors(table: sa.Table, dialect: Any) -> dict[str, Any]:
    columns = table.columns
    found = ((column.name, column.type.dialect_impl(dialect).bind_processor(dialect)) for column in columns)
    return {name: processor for name, processor in found if processor is not None}

"""Empty databases for the ledger's tests: a SQLite file, or a database of its own on a PostgreSQL server."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from pipeline.adapters.ledger.schema import metadata
from tests.conftest import missing

KINDS = ("sqlite", "postgresql")


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/ledger.db"
        return
    name = f"pictor_test_{secrets.token_hex(6)}"
    server = postgres_server()
    # A language's order, where "Z" comes after "a": byte order must come from the ledger, not the server.
    run_on(server, f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    try:
        yield with_database(server, name)
    finally:
        run_on(server, f"DROP DATABASE {name} WITH (FORCE)")


def postgres_server() -> str:
    url = os.environ.get("PICTOR_TEST_POSTGRES_URL", "")
    if not url:
        missing("no PostgreSQL: set PICTOR_TEST_POSTGRES_URL")
    return url


def with_database(url: str, name: str) -> str:
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


def run_on(url: str, *statements: str) -> None:
    """Run SQL behind the ledger's back, each statement on its own."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def empty_tables(url: str) -> None:
    """Delete every row of a ledger behind its back."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


def ask(url: str, question: str) -> object:
    """The one value that a query answers."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        return connection.scalar(sa.text(question))

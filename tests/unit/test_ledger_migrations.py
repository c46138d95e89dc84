"""The migrations and the tables that the queries use are two texts of one schema."""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pipeline.adapters.ledger_migrate import MIGRATIONS, VERSION_TABLE, migrate
from pipeline.adapters.ledger_schema import REVISION, metadata


def test_migrations_make_the_tables_that_the_queries_use(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/migrated.db"
    migrate(url)
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_migrations_make_the_same_constraints(tmp_path: Path) -> None:
    """Alembic compares neither checks nor the conditions of partial indexes."""
    migrated, created = f"sqlite:///{tmp_path}/migrated.db", f"sqlite:///{tmp_path}/created.db"
    migrate(migrated)
    metadata.create_all(sa.create_engine(created, poolclass=sa.NullPool))
    assert statements_of(migrated) == statements_of(created)
    assert any("batch_done_adds_up" in statement for statement in statements_of(created))


def test_the_revision_of_the_tables_is_that_of_the_last_migration() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_heads() == [REVISION]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True), "newer and older are told apart by their order"


def statements_of(url: str) -> set[str]:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        query = sa.text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> :ours")
        return {in_any_order(text) for text in connection.scalars(query, {"ours": VERSION_TABLE})}


def in_any_order(statement: str) -> str:
    """A table's columns and constraints sorted: ALTER TABLE puts a new column behind the constraints."""
    if not statement.startswith("CREATE TABLE"):
        return " ".join(statement.split())
    begin, _, parts = " ".join(statement.split()).partition("(")
    lines = re.split(r", (?![^(]*\))", parts.removesuffix(")").strip())
    return f"{begin}({', '.join(sorted(line.strip() for line in lines))})"

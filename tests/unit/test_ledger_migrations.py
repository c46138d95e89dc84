"""The migrations and the tables that the queries use are two texts of one schema; older ledgers go on."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pipeline.adapters.ledger.migrate import MIGRATIONS, VERSION_TABLE, migrate
from pipeline.adapters.ledger.schema import REVISION, metadata
from pipeline.adapters.ledger.sql_ledger import SqlLedger, open_ledger
from pipeline.types import WORKERS, JobCounts, JobState, embedded_on
from tests.old_ledgers import DRIVERS_OF_0001, write_ledger_0001


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
    assert definitions_of(migrated) == definitions_of(created)
    assert any("batch_done_adds_up" in definition for definition in definitions_of(created))


def test_the_revision_of_the_tables_is_that_of_the_last_migration() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_heads() == [REVISION]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True), "newer and older are told apart by their order"


def test_definitions_are_told_apart_by_what_they_say_and_not_by_their_order() -> None:
    one = "CREATE TABLE t (a INTEGER, b TEXT DEFAULT 'x, (y)', CHECK (a IN (1, 2)))"
    assert table_parts(one) == {
        "CREATE TABLE t: a INTEGER",
        "CREATE TABLE t: b TEXT DEFAULT 'x, (y)'",
        "CREATE TABLE t: CHECK (a IN (1, 2))",
    }
    assert table_parts(one) == table_parts(
        "CREATE TABLE t (CHECK (a IN (1, 2)), b TEXT DEFAULT 'x, (y)', a INTEGER)"
    )


# Older ledgers


@pytest.fixture
def old_ledger(tmp_path: Path) -> SqlLedger:
    """A ledger of revision 0001, opened, and so migrated, by this build."""
    path = tmp_path / "ledger.db"
    write_ledger_0001(path)
    return open_ledger(f"sqlite:///{path}")


def test_jobs_of_revision_0001_get_the_driver_that_must_have_run_them(old_ledger: SqlLedger) -> None:
    with old_ledger as ledger:
        drivers = {job.job_id: job.driver for job in ledger.list_jobs()}
    assert drivers == DRIVERS_OF_0001


def test_an_old_ledger_keeps_what_it_counted_and_old_jobs_go_on(old_ledger: SqlLedger) -> None:
    here = embedded_on("here")
    with old_ledger as ledger:
        stopped = ledger.get_job("20261101T080000-aaaaaa")
        assert stopped.counts == JobCounts(scanned=2, indexed=0, unchanged=0, failed=0, pending=2, ignored=1)
        assert ledger.find_unfinished(stopped.request, driver=here) is not None
        assert ledger.take_up(stopped.job_id, here)
        assert [batch.path for batch in ledger.pending(stopped.job_id)] == ["00000000"]
        assert sorted(ledger.plan_claims()) == [
            "job-just-submitted",
            "job-under-way",
        ]
        assert ledger.get_job("products-2026-11-24").counts.failed == 1


def test_a_worker_of_the_former_build_may_go_on_beside_the_new_ledger(old_ledger: SqlLedger) -> None:
    """It holds a connection, and its statements do not name the column."""
    with old_ledger as ledger, ledger._writer.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO job (job_id, source, bucket, prefix, collection, model_name, fingerprint, include,"
            " exclude, batch_items, state, planned, planned_batches, ignored, error, created_at, updated_at,"
            " plan_step, plan_nonce) SELECT 'job-new', source, bucket, prefix, collection, model_name,"
            " fingerprint, include, exclude, batch_items, state, planned, planned_batches, ignored, error,"
            " created_at, updated_at, -1, '' FROM job WHERE job_id = 'job-just-submitted'"
        )
    with old_ledger as ledger:
        job = ledger.get_job("job-new")
        assert (job.driver, job.state) == (WORKERS, JobState.RUNNING)


def definitions_of(url: str) -> set[str]:
    """Columns, constraints and indexes. A column that was added later stands at the end of its table."""
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        query = sa.text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> :ours")
        texts = [" ".join(text.split()) for text in connection.scalars(query, {"ours": VERSION_TABLE})]
    return {part for text in texts for part in table_parts(text)}


def table_parts(text: str) -> set[str]:
    """Of a CREATE TABLE each column and constraint with the table's name; else the text itself."""
    if not text.startswith("CREATE TABLE"):
        return {text}
    head, _, body = text.partition("(")
    parts, depth = [""], 0
    for token in re.findall(r"'[^']*'|.", body.strip().removesuffix(")")):
        depth += (token == "(") - (token == ")")
        if token == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return {f"{head.strip()}: {part.strip()}" for part in parts}

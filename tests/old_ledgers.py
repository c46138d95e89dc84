"""Ledgers as builds of older revisions left them, and what must have driven the jobs in them."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from pipeline.adapters.ledger.engine import WRITES, make_engine, read_url
from pipeline.adapters.ledger.migrate import MIGRATIONS
from pipeline.types import EMBEDDED, WORKERS

FILES = Path(__file__).parent / "ledgers"  # dumps of SQLite files
DRIVERS_OF_0001 = {
    "20261101T080000-aaaaaa": EMBEDDED,  # a folder, stopped half-way
    "20261101T080100-bbbbbb": EMBEDDED,  # a bucket, done in one process
    "20261101T080200-cccccc": EMBEDDED,  # a folder, killed before it was listed
    "20261101T080300-dddddd": EMBEDDED,  # a folder that a plan worker took for its own and failed
    "20261101T080350-eeeeee": EMBEDDED,  # a bucket in which everything was ignored
    "job-just-submitted": WORKERS,  # its first message may be on the queue still
    "job-under-way": WORKERS,
    "products-2026-11-24": WORKERS,  # done
    "job-of-no-bucket": WORKERS,  # failed before it was planned
    "refused-1b2c": WORKERS,  # its source says file://, and a worker refused it
}


def write_ledger_0001(path: Path) -> None:
    """A SQLite file of revision 0001."""
    connection = sqlite3.connect(path)
    connection.executescript((FILES / "revision_0001.sql").read_text())
    connection.close()


def copy_ledger_0001(url: str, folder: Path) -> None:
    """Make the schema of revision 0001 in an empty database, and fill it with the rows of the file."""
    write_ledger_0001(folder / "0001.db")
    source = sa.create_engine(f"sqlite:///{folder}/0001.db", poolclass=sa.NullPool)
    target = make_engine(read_url(url)).execution_options(**{WRITES: True})
    with target.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    for name in ("job", "batch", "failure"):
        table = _table(name, target)  # looked at before it is written to
        with source.connect() as reading, target.begin() as writing:
            rows = reading.execute(sa.select(_table(name, source))).mappings().all()
            writing.execute(table.insert(), [dict(row) for row in rows])
    target.dispose()


def _table(name: str, engine: sa.Engine) -> sa.Table:
    return sa.Table(name, sa.MetaData(), autoload_with=engine)

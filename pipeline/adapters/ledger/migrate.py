"""The ledger's schema: bring it up to date, or refuse one that is not."""

import threading
from pathlib import Path

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import (
    WRITES,
    location_of,
    make_engine,
    make_folder,
    read_url,
    repeated,
    translated,
    use_wal,
)
from pipeline.adapters.ledger.schema import REVISION
from pipeline.errors import ConfigError

VERSION_TABLE = "ledger_revision"  # not Alembic's usual name: the database may have another tenant
ADVISORY_LOCK = 0x706963746F72  # any number that no other application of this database takes: "pictor"
MIGRATIONS = Path(__file__).parent / "migrations"

_alembic_turn = threading.Lock()  # Alembic keeps its context in module globals


def migrate(url: str, *, ca_file: str = "") -> str:
    """Bring the schema to the revision of this Pictor. An empty database gets all of it.

    Safe to run twice and from several processes at once: one works, the others wait and find it done.

    Args:
        ca_file: see `read_url`.

    Returns:
        The revision.

    Raises:
        ConfigError: the schema is of a newer Pictor.
    """
    address = read_url(url, ca_file=ca_file)
    make_folder(address)
    engine = make_engine(address, answer_s=None)
    try:
        repeated(lambda: _migrate(engine))
    finally:
        engine.dispose()
    return REVISION


def open_migrated(url: str, *, ca_file: str = "", for_log: bool = False) -> sa.Engine:
    """Connect to a ledger's database.

    A SQLite file is made and migrated here. A PostgreSQL schema is only checked: it serves many processes,
    and `pictor init` changes it once, when its operator says so.

    Args:
        ca_file: see `read_url`.
        for_log: see `make_engine`.

    Raises:
        ConfigError: the URL cannot be a ledger's, or the schema is not of this Pictor's revision.
    """
    address = read_url(url, ca_file=ca_file)
    make_folder(address)
    engine = make_engine(address, for_log=for_log)
    try:
        if address.drivername != "sqlite":
            repeated(lambda: check_schema(engine))
        elif not repeated(lambda: is_current(engine)):
            migrate(url)
    except BaseException:
        engine.dispose()
        raise
    return engine


def is_current(engine: sa.Engine) -> bool:
    """Whether the schema is of this Pictor's revision.

    Raises:
        ConfigError: it is of a newer one.
    """
    with translated(engine.url), engine.connect() as connection:
        return _is_current(connection)


def check_schema(engine: sa.Engine) -> None:
    """Raises ConfigError unless the schema is of this Pictor's revision."""
    with translated(engine.url), engine.connect() as connection:
        if not _is_current(connection):
            raise ConfigError(
                f"ledger {location_of(engine.url)}: its schema is at revision "
                f"{_present_revision(connection) or 'none'}, this Pictor needs {REVISION}; run `pictor init`"
            )


def _migrate(engine: sa.Engine) -> None:
    with translated(engine.url):
        use_wal(engine)
        with _alembic_turn, engine.execution_options(**{WRITES: True}).begin() as connection:
            _wait_for_turn(connection)
            if not _is_current(connection):
                _upgrade(connection)


def _wait_for_turn(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":  # in SQLite the transaction itself is the lock
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))  # large tables take their time
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))


def _is_current(connection: sa.Connection) -> bool:
    present = _present_revision(connection)
    if present is not None and present > REVISION:
        raise ConfigError(
            f"ledger {location_of(connection.engine.url)}: its schema is at revision {present}, this Pictor "
            f"knows {REVISION}; install the newer Pictor that made it, `pictor init` does not go back"
        )
    return present == REVISION


def _present_revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    table = sa.table(VERSION_TABLE, sa.column("version_num", sa.Text))
    return connection.scalar(sa.select(table.c.version_num))


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # a tenth of a second that only a new ledger pays
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # % is special in .ini
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

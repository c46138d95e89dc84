"""Connections to the ledger's database, and its errors in our words."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from pipeline.adapters.ledger.silence import AwayError, Silence, SilentError
from pipeline.adapters.ledger.tls import tls_fault, with_tls
from pipeline.addresses import show_url
from pipeline.errors import ConfigError, CredentialsError, FatalError, PictorError, TransientError

Answer = TypeVar("Answer")

RETRY_DELAYS_S = (0.1, 0.3, 0.6)  # a dropped connection, a deadlock, a fail-over behind a proxy
PAGE_ROWS = 1000  # of a stream
WRITES = "ledger_writes"  # execution option: this transaction is going to write

SQLITE_BUSY_TIMEOUT_S = 5.0  # a write takes milliseconds; a queue of many processes is through by then
SQLITE_SETTINGS = (
    "PRAGMA foreign_keys = ON",  # SQLite's default is to ignore them
    # With WAL a commit survives kill -9 of any process. A power cut may undo the last ones, never half of
    # one: the batches are then pending again and are done again, which changes nothing in the index.
    "PRAGMA synchronous = NORMAL",
)
SQLITE_FOR_THE_LOG = (
    # A checkpoint that was given away must not be forgotten, or the next one contradicts it.
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",  # what is erased is overwritten, and not only given free
)

POSTGRES_POOL = {
    "pool_size": 4,  # a worker writes one row per batch; the server's connections are for many workers
    "max_overflow": 4,
    "pool_timeout": 5.0,  # seconds for a free connection, as for a new one; a transaction takes milliseconds
    "pool_recycle": 1800,  # seconds; firewalls forget idle connections silently
}
POSTGRES_CONNECT = {
    "application_name": "pictor",  # who it is, in pg_stat_activity
    "connect_timeout": "5",  # seconds; the caller waits and comes back
    "tcp_user_timeout": "30000",  # ms until a silent peer counts as gone; the system's own is 15 minutes
    "options": "-c statement_timeout=30000",  # ms; the longest statement here takes seconds
}
ANSWER_S = 35.0  # a server that has not given up on a statement by now is frozen


def read_url(text: str, *, ca_file: str = "") -> sa.URL:
    """Check a ledger's URL, choose its driver, and say in it how a server's certificate is verified.

    Args:
        ca_file: of the authorities to trust. "" are those of this machine.

    Raises:
        ConfigError: not a URL, or not of a kind that a ledger can be. The text is not shown, it may hold
            a password. Or it asks for TLS without verification.
    """
    try:
        url = sa.make_url(text)
    except exc.ArgumentError as err:
        raise ConfigError(
            "the ledger's address is not a URL such as sqlite:////home/me/ledger.db or "
            "postgresql://user:password@host/database"
        ) from err
    match url.drivername:
        case "sqlite":
            if url.database in (None, "", ":memory:"):
                raise ConfigError(
                    "a ledger in memory would forget what it counted; name a file: sqlite:////…"
                )
            return url
        case "postgresql" | "postgres" | "postgresql+psycopg":
            return with_tls(url.set(drivername="postgresql+psycopg"), ca_file)
        case other:
            raise ConfigError(f"a ledger is a sqlite or postgresql database, not {other}")


def location_of(url: sa.URL) -> str:
    """Where the ledger is, for messages: without user, password and options."""
    if url.drivername == "sqlite":
        return str(url.database)
    return show_url(url.set(drivername="postgresql", query={}).render_as_string(hide_password=False))


def make_engine(url: sa.URL, *, for_log: bool = False, answer_s: float | None = ANSWER_S) -> sa.Engine:
    """Open nothing yet. `url` comes from `read_url`, and its query wins over the settings above.

    Args:
        for_log: in SQLite a commit survives a power cut, and what is deleted is overwritten.
        answer_s: longest wait for one answer of a PostgreSQL server; None for a migration, which takes as
            long as it takes.
    """
    if url.drivername == "sqlite":
        return _make_sqlite_engine(url, (*SQLITE_SETTINGS, *(SQLITE_FOR_THE_LOG if for_log else ())))
    settings = {name: value for name, value in POSTGRES_CONNECT.items() if name not in url.query}
    try:
        engine = sa.create_engine(url, connect_args=settings, **POSTGRES_POOL)
    except ImportError as err:
        raise ConfigError("a PostgreSQL ledger needs psycopg: pip install 'pictor[worker]'") from err
    if answer_s is not None:
        from pipeline.adapters.ledger.patient_connection import use_patient_connections  # imports psycopg

        use_patient_connections(engine, answer_s=answer_s)
    return engine


class Transactions:
    """Runs work as transactions of one database; again when a connection dropped or a lock was held."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.writer = engine.execution_options(**{WRITES: True})
        self._silence = Silence()

    def read(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        return repeated(lambda: self._run(self._engine, work))

    def write(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        """Args: `work` may find itself done, when only the answer of its first run was lost."""
        return repeated(lambda: self._run(self.writer, work))

    def stream(self, query: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
        """Rows of one reading transaction, a page of them in memory."""
        with translated(self._engine.url), self._engine.connect() as connection:
            yield from connection.execution_options(yield_per=PAGE_ROWS).execute(query)

    def _run(self, engine: sa.Engine, work: Callable[[sa.Connection], Answer]) -> Answer:
        with self._silence.asking(), translated(engine.url), engine.begin() as connection:
            return work(connection)


class InTransactions:
    """A part of the ledger. All parts share the transactions of one database."""

    def __init__(self, transactions: Transactions) -> None:
        self._read, self._write = transactions.read, transactions.write
        self._stream = transactions.stream


def repeated(work: Callable[[], Answer]) -> Answer:
    """Call again after a `TransientError`, three times within a second: longer pauses are the caller's.

    A server that is silent is not asked again.

    Args:
        work: may have been carried out even when it failed, if only the answer was lost.
    """
    for delay_s in RETRY_DELAYS_S:
        try:
            return work()
        except SilentError:
            raise
        except TransientError:
            time.sleep(delay_s)
    return work()


@contextmanager
def translated(url: sa.URL) -> Iterator[None]:
    """Let no error of SQLAlchemy or of a driver through."""
    try:
        yield
    except exc.DBAPIError as err:
        raise _explain(err, url) from err
    except sqlite3.Error as err:  # from the settings that are made while connecting
        raise _explain_sqlite(err, location_of(url)) from err
    except exc.TimeoutError as err:
        raise AwayError(f"ledger {location_of(url)}: no connection was free in time") from err
    except exc.SQLAlchemyError as err:
        raise PictorError(f"ledger {location_of(url)}: internal error, see the log") from err


def _make_sqlite_engine(url: sa.URL, settings: Sequence[str]) -> sa.Engine:
    patience = {} if "timeout" in url.query else {"timeout": SQLITE_BUSY_TIMEOUT_S}
    engine = sa.create_engine(url, connect_args=patience)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions late, and commit before DDL
        for statement in settings:
            connection.execute(statement)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A reader that turns into a writer fails at once when another wrote in between, without waiting:
        # writers take the lock at the start.
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def use_wal(engine: sa.Engine) -> None:
    """Readers and one writer side by side. The file remembers it. Nothing to do for PostgreSQL."""
    if engine.dialect.name == "sqlite":
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()


def forget_copies(engine: sa.Engine) -> None:
    """Empty SQLite's log of writes, which holds what was erased; unless somebody is reading just now.

    What a PostgreSQL server keeps until its next VACUUM, in archives and in backups is its operator's.
    """
    if engine.dialect.name == "sqlite":
        with translated(engine.url), engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def folder_of(url: sa.URL) -> Path | None:
    """The folder of a SQLite file. None for a server."""
    return Path(url.database).parent if url.drivername == "sqlite" and url.database else None


def make_folder(url: sa.URL) -> None:
    """The folder of a SQLite file."""
    if folder := folder_of(url):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise ConfigError(f"ledger {url.database}: its folder cannot be made") from err


def _explain(err: exc.DBAPIError, url: sa.URL) -> PictorError:
    where = location_of(url)
    if isinstance(err.orig, sqlite3.Error):
        return _explain_sqlite(err.orig, where)
    if fault := tls_fault(str(err.orig), url):
        return ConfigError(f"ledger {where}: {fault}")
    return _explain_postgres(err, where)


def _explain_sqlite(err: sqlite3.Error, where: str) -> PictorError:
    code = getattr(err, "sqlite_errorname", "")
    match re.sub(r"^(SQLITE_[A-Z]+).*", r"\1", code):  # SQLITE_BUSY_SNAPSHOT is a kind of SQLITE_BUSY
        case "SQLITE_BUSY" | "SQLITE_LOCKED" | "SQLITE_PROTOCOL":
            return TransientError(f"ledger {where}: locked by another process for too long")
        case "SQLITE_FULL":
            return TransientError(f"ledger {where}: the disk is full")
        case "SQLITE_IOERR" | "SQLITE_NOMEM":
            return TransientError(f"ledger {where}: the file cannot be read or written now")
        case "SQLITE_READONLY" | "SQLITE_PERM":
            return FatalError(f"ledger {where}: the file or its folder is read-only")
        case "SQLITE_CANTOPEN":
            return ConfigError(f"ledger {where}: the file cannot be opened; is its folder there and allowed?")
        case "SQLITE_NOTADB":
            return ConfigError(f"ledger {where}: the file is not a ledger")
        case "SQLITE_CORRUPT":
            return FatalError(f"ledger {where}: the file is damaged")
        case "SQLITE_CONSTRAINT":
            return PictorError(f"ledger {where}: refused rows that contradict what it holds")
        case _ if "no such" in str(err):
            return ConfigError(f"ledger {where}: tables are missing; run `pictor init`")
        case _:
            return PictorError(f"ledger {where}: internal error, see the log")


# The driver gives no code for a connection that was refused. A server that says this in another language
# counts as away.
_REFUSED = ("password authentication failed", "no password supplied", "no pg_hba.conf entry")


def _explain_postgres(err: exc.DBAPIError, where: str) -> PictorError:
    code = str(getattr(err.orig, "sqlstate", None) or "")
    if not code and isinstance(err, exc.OperationalError | exc.InterfaceError):
        return _explain_lost_connection(str(err.orig), where)
    match code[:2], code:
        case "28", _:
            return CredentialsError(f"ledger {where}: refused these credentials")
        case _, "42501":
            return CredentialsError(f"ledger {where}: this user may not do that")
        case _, "42P01" | "42703" | "3F000":
            return ConfigError(f"ledger {where}: tables are missing; run `pictor init`")
        case "23", _:
            return PictorError(f"ledger {where}: refused rows that contradict what it holds")
        case _, "53100":
            return TransientError(f"ledger {where}: the server's disk is full")
        case _, "57014":
            return TransientError(f"ledger {where}: a statement took too long")
        case _, "25006":  # a standby, or a failover under way
            return TransientError(f"ledger {where}: the server is read-only now")
        # connection, rolled back by a conflict, resources, locks, shutdown, the server's own system
        case "08" | "40" | "53" | "55" | "57" | "58", _:
            return TransientError(f"ledger {where}: the server is away or overloaded")
        case _:
            return PictorError(f"ledger {where}: internal error, see the log")


def _explain_lost_connection(text: str, where: str) -> PictorError:
    if any(refusal in text for refusal in _REFUSED):
        return CredentialsError(f"ledger {where}: refused these credentials")
    if 'database "' in text and "does not exist" in text:
        return ConfigError(f"ledger {where}: there is no such database")
    return AwayError(f"ledger {where}: the server is away")

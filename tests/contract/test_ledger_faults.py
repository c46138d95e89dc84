"""What a ledger says when its database is away, wrong, old, locked or full. Never an SDK's exception."""

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.adapters.ledger.engine import Transactions, make_engine, read_url
from pipeline.adapters.ledger.migrate import ADVISORY_LOCK, VERSION_TABLE, migrate
from pipeline.adapters.ledger.schema import REVISION
from pipeline.adapters.ledger.sql_ledger import open_ledger
from pipeline.errors import ConfigError, CredentialsError, FatalError, PictorError, TransientError
from pipeline.types import WORKERS, JobRequest, JobState, PlannedBatch
from tests.contract.ledger_databases import KINDS, ask, empty_database, run_on, with_database
from tests.old_ledgers import DRIVERS_OF_0001, copy_ledger_0001

REQUEST = JobRequest(
    location="file:///photos",
    bucket="/photos",
    prefix="",
    collection="images",
    model_name="builtin",
    fingerprint="ab" * 32,
)
BATCHES = [PlannedBatch(path="00000000", items=3, body=b"body")]
MIGRATE_ON_A_SIGN = """
import sys
import alembic.command
from pipeline.adapters.ledger.migrate import migrate
print("ready", flush=True)
sys.stdin.readline()
print(migrate(sys.argv[1]))
"""


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with empty_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def empty_postgres(tmp_path: Path) -> Iterator[str]:
    with empty_database("postgresql", tmp_path) as url:
        yield url


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in 20 s"
        time.sleep(0.01)


# The schema


def test_four_processes_that_migrate_at_once_all_succeed(empty: str) -> None:
    command = [sys.executable, "-c", MIGRATE_ON_A_SIGN, empty]
    processes = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [(process.returncode, out) for process, (out, _) in zip(processes, answers, strict=True)] == [
        (0, f"{REVISION}\n")
    ] * 4, answers
    assert ask(empty, f"SELECT count(*) FROM {VERSION_TABLE}") == 1  # noqa: S608 - our own name
    with open_ledger(empty) as ledger:
        assert ledger.list_jobs() == []


def test_a_migration_of_postgres_waits_for_the_one_under_way(empty_postgres: str) -> None:
    first = sa.create_engine(empty_postgres, poolclass=sa.NullPool)
    with first.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        second = threading.Thread(target=migrate, args=(empty_postgres,))
        second.start()
        wait_until(lambda: waiting_for_a_lock(empty_postgres) == 1)
        assert ask(empty_postgres, "SELECT to_regclass('job')") is None
    second.join(timeout=20)
    assert ask(empty_postgres, "SELECT to_regclass('job')") is not None


def test_migrating_again_keeps_what_is_there(empty: str) -> None:
    migrate(empty)
    with open_ledger(empty) as ledger:
        job = ledger.create_job(REQUEST, driver=WORKERS)
    assert migrate(empty) == REVISION
    with open_ledger(empty) as ledger:
        assert ledger.list_jobs() == [job]


def test_a_ledger_of_revision_0001_is_taken_over_with_its_jobs(empty: str, tmp_path: Path) -> None:
    copy_ledger_0001(empty, tmp_path)
    for _ in range(2):
        assert migrate(empty) == REVISION
        with open_ledger(empty) as ledger:
            assert {job.job_id: job.driver for job in ledger.list_jobs()} == DRIVERS_OF_0001


@pytest.mark.parametrize("call", [open_ledger, migrate])
def test_a_schema_of_a_newer_pictor_is_refused_with_both_revisions(
    empty: str, call: Callable[[str], object]
) -> None:
    migrate(empty)
    set_revision(empty, "9999")
    with pytest.raises(ConfigError, match=rf"9999.*{REVISION}.*pictor init"):
        call(empty)


def set_revision(url: str, revision: str) -> None:
    run_on(url, f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")  # noqa: S608 - our own name


def test_an_empty_postgres_is_refused_and_pictor_init_is_named(empty_postgres: str) -> None:
    with pytest.raises(ConfigError, match=f"none, this Pictor needs {REVISION}; run `pictor init`"):
        open_ledger(empty_postgres)


def test_an_old_postgres_schema_is_refused_with_both_revisions(empty_postgres: str) -> None:
    migrate(empty_postgres)
    set_revision(empty_postgres, "0000")
    with pytest.raises(ConfigError, match=rf"0000.*{REVISION}.*pictor init"):
        open_ledger(empty_postgres)


def test_a_table_that_is_missing_later_is_a_config_error(empty: str) -> None:
    migrate(empty)
    with open_ledger(empty) as ledger:
        run_on(empty, "DROP TABLE failure", "DROP TABLE batch")
        with pytest.raises(ConfigError, match="run `pictor init`"):
            ledger.list_jobs()


def test_a_sqlite_ledger_makes_its_own_folder(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/100%/of it/ledger.db"
    with open_ledger(url) as ledger:
        assert ledger.describe() == f"{tmp_path}/100%/of it/ledger.db, schema {REVISION}"


# Addresses and credentials


@pytest.mark.parametrize(
    "url",
    ["", "secret-word", "mysql://u:secret-word@host/db", "sqlite://", "sqlite:///:memory:", "sqlite:///"],
)
def test_an_address_that_cannot_be_a_ledger_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_ledger(url)
    assert "secret-word" not in str(caught.value)


def test_a_wrong_password_is_a_credentials_error_that_does_not_show_it(empty_postgres: str) -> None:
    url = sa.make_url(empty_postgres).set(password="secret-word").render_as_string(hide_password=False)
    with pytest.raises(CredentialsError) as caught:
        open_ledger(url)
    assert "secret-word" not in str(caught.value)


def test_an_unknown_database_is_a_config_error(empty_postgres: str) -> None:
    with pytest.raises(ConfigError, match="no such database"):
        open_ledger(with_database(empty_postgres, "pictor_nowhere"))


def test_a_server_that_is_not_there_is_a_transient_error_without_the_password() -> None:
    with pytest.raises(TransientError, match=r"ledger postgresql://\*\*\*@127.0.0.1:1/images") as caught:
        open_ledger("postgresql://me:secret-word@127.0.0.1:1/images?application_name=secret-word")
    assert "secret-word" not in str(caught.value)


def test_a_file_that_is_no_database_is_a_config_error(sqlite: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"once upon a time " * 1000)
    with pytest.raises(ConfigError, match="not a ledger"):
        open_ledger(sqlite)


def test_a_folder_in_the_place_of_the_file_is_a_config_error(sqlite: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_ledger(sqlite)


def test_a_file_in_the_place_of_the_folder_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"")
    with pytest.raises(ConfigError, match="folder cannot be made"):
        open_ledger(f"sqlite:///{tmp_path}/home/ledger.db")


# Trouble while working


def test_a_lock_that_is_held_is_a_transient_error_and_passes(sqlite: str) -> None:
    with open_ledger(f"{sqlite}?timeout=0.01") as ledger:
        job, paused = ledger.create_job(REQUEST, driver=WORKERS), ledger.create_job(REQUEST, driver=WORKERS)
        ledger.set_state(paused.job_id, JobState.PAUSED)
        other = sa.create_engine(sqlite, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with other.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(TransientError, match="locked"):
                ledger.record_plan(job.job_id, BATCHES, cursor="a", ignored=0)
            with pytest.raises(TransientError, match="locked"):  # a state is looked at under the lock
                ledger.record_plan(paused.job_id, BATCHES, cursor="a", ignored=0)
            assert ledger.get_job(job.job_id) == job, "readers do not wait for a writer"
            connection.exec_driver_sql("ROLLBACK")
        assert ledger.record_plan(job.job_id, BATCHES, cursor="a", ignored=0)


def test_a_full_disk_is_named_and_nothing_is_half_written(sqlite: str) -> None:
    with limited_pages(60), open_ledger(sqlite) as ledger:
        job = ledger.create_job(REQUEST, driver=WORKERS)
        huge = [PlannedBatch(path=f"{number:08d}", items=1, body=bytes(50_000)) for number in range(9)]
        with pytest.raises(TransientError, match="disk is full"):
            ledger.record_plan(job.job_id, huge, cursor="a", ignored=0)
        assert ledger.get_job(job.job_id) == job


class limited_pages:  # noqa: N801 - reads as a condition of the test
    """Connections made inside see a disk of so many pages of 4 KB."""

    def __init__(self, pages: int) -> None:
        self._statement = f"PRAGMA max_page_count = {pages}"

    def __enter__(self) -> None:
        sa.event.listen(sa.pool.Pool, "connect", self._limit)

    def __exit__(self, *_: object) -> None:
        sa.event.remove(sa.pool.Pool, "connect", self._limit)

    def _limit(self, connection: object, _record: object) -> None:
        connection.cursor().execute(self._statement)  # type: ignore[attr-defined]


def test_a_read_only_ledger_is_a_fatal_error(sqlite: str, tmp_path: Path) -> None:
    migrate(sqlite)
    with (
        open_ledger(f"sqlite:///file:{tmp_path}/ledger.db?mode=ro&uri=true") as ledger,
        pytest.raises(FatalError, match="read-only"),
    ):
        ledger.create_job(REQUEST, driver=WORKERS)


def test_a_connection_that_the_server_dropped_is_replaced(empty_postgres: str) -> None:
    migrate(empty_postgres)
    with open_ledger(empty_postgres) as ledger:
        job = ledger.create_job(REQUEST, driver=WORKERS)
        drop_connections(empty_postgres)
        assert list(ledger.failures(job.job_id)) == [], (
            "a stream is not repeated: its connection is tried first"
        )
        drop_connections(empty_postgres)
        assert ledger.get_job(job.job_id) == job


def test_a_plan_whose_connection_drops_half_way_is_recorded_once(empty_postgres: str) -> None:
    migrate(empty_postgres)
    with open_ledger(empty_postgres) as ledger:
        job = ledger.create_job(REQUEST, driver=WORKERS)
        blocker = sa.create_engine(empty_postgres, poolclass=sa.NullPool)
        with blocker.begin() as connection:
            connection.execute(sa.text("SELECT 1 FROM job FOR UPDATE"))
            planner = threading.Thread(
                target=ledger.record_plan, args=(job.job_id, BATCHES), kwargs={"cursor": "a", "ignored": 2}
            )
            planner.start()
            wait_until(lambda: waiting_for_a_lock(empty_postgres) == 1)
            drop_connections(empty_postgres, "AND wait_event_type = 'Lock'")
        planner.join(timeout=20)
        after = ledger.get_job(job.job_id)
        assert (after.counts.pending, after.counts.ignored, after.cursor) == (3, 2, "a")


def test_a_postgres_that_does_not_answer_is_a_transient_error_and_its_connection_is_replaced(
    empty_postgres: str,
) -> None:
    """As one that is frozen: it has taken the question, and says nothing."""
    transactions = Transactions(make_engine(read_url(empty_postgres), answer_s=0.2))
    asked = itertools.count()

    def ask_slowly_at_first(connection: sa.Connection) -> object:
        seconds = 60 if next(asked) < 2 else 0
        return connection.scalar(sa.text("SELECT 7 FROM pg_sleep(:seconds)"), {"seconds": seconds})

    assert transactions.read(ask_slowly_at_first) == 7
    assert next(asked) == 3
    with pytest.raises(TransientError, match="the server is away"):
        transactions.read(lambda connection: connection.execute(sa.text("SELECT pg_sleep(60)")))
    transactions.writer.dispose()


def waiting_for_a_lock(url: str) -> object:
    return ask(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pictor' "
        "AND datname = current_database() AND wait_event_type = 'Lock'",
    )


def drop_connections(url: str, which: str = "") -> None:
    run_on(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608 - written here
        f"WHERE application_name = 'pictor' AND datname = current_database() {which}",
    )


def test_rows_that_the_schema_refuses_are_our_error_and_nothing_is_written(empty: str) -> None:
    migrate(empty)
    with open_ledger(empty) as ledger:
        job = ledger.create_job(REQUEST, driver=WORKERS)
        negative = [PlannedBatch(path="0", items=-1, body=b"")]
        with pytest.raises(PictorError, match="items are below 0"):
            ledger.record_plan(job.job_id, negative, cursor="a", ignored=0)
        assert ledger.get_job(job.job_id) == job

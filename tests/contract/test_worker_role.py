"""The database user of workers: it reads and writes rows, and changes nothing else."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from pipeline.adapters.ledger.engine import make_engine, read_url
from pipeline.adapters.ledger.migrate import migrate
from pipeline.adapters.ledger.sql_audit_log import open_audit_log
from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.adapters.ledger.worker_role import make_service_role, make_worker_role
from pipeline.audit.note import SigningKey
from pipeline.errors import ConfigError, CredentialsError
from pipeline.types import WORKERS, Person, PersonFace
from tests.audit_records import erasure_of, proves, search_by
from tests.contract.ledger_databases import empty_database, postgres_server, run_on
from tests.unit.fakes import request_of
from tests.verifications import decision_on, search_to_verify

FORBIDDEN = [
    "CREATE TABLE mine (a int)",
    "ALTER TABLE job ADD COLUMN mine int",
    "DROP TABLE failure",
    "TRUNCATE failure",
    "UPDATE ledger_revision SET version_num = '0001'",
    "CREATE ROLE mine LOGIN",
    "CREATE DATABASE mine",
    "CREATE SCHEMA mine",
    "COPY job TO PROGRAM 'cat'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT digest FROM api_key",
    "UPDATE api_key SET roles = '[\"admin\"]'",
    "UPDATE audit_entry SET record = NULL",
    "DELETE FROM audit_entry",
    "DELETE FROM audit_tree",
    "UPDATE audit_tile SET root = hashes",
    "DELETE FROM api_request",
    "INSERT INTO person_face SELECT * FROM person_face",
    "UPDATE person_face SET person_id = 'mine'",
    "DELETE FROM person",
    "INSERT INTO api_session SELECT 'mine', key_id, now() FROM api_key",
]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Of the owner, and of the workers, whose user has been made twice."""
    name = f"worker_{secrets.token_hex(4)}"
    with empty_database("postgresql", tmp_path_factory.mktemp("ledger")) as owner:
        worker = sa.make_url(owner).set(username=name, password='it\'s 100% "odd"')
        text = worker.render_as_string(hide_password=False)
        migrate(owner)
        assert [make_worker_role(owner, text) for _ in range(2)] == [name, name]
        yield owner, text
    run_on(postgres_server(), f"DROP ROLE {name}")


def test_a_worker_keeps_the_ledger(urls: tuple[str, str]) -> None:
    with SqlLedger(make_engine(read_url(urls[1]))) as ledger:
        job = ledger.create_job(request_of(), driver=WORKERS, job_id="mine")
        assert ledger.get_job("mine") == job


def test_a_worker_takes_faces_from_persons_and_gives_them_to_nobody(urls: tuple[str, str]) -> None:
    face = PersonFace(row_id="a" * 32 + ":00")
    anna = Person(collection="faces", person_id="anna", created_at=datetime.now(UTC))
    with (
        SqlLedger(make_engine(read_url(urls[0]))) as of_the_owner,
        SqlLedger(make_engine(read_url(urls[1]))) as ledger,
    ):
        assert of_the_owner.persons.create(anna)
        of_the_owner.persons.add_faces("faces", "anna", [face])
        with pytest.raises(CredentialsError):
            ledger.persons.add_faces("faces", "anna", [face])
        ledger.persons.forget_images("faces", ["a" * 32])
        assert of_the_owner.persons.owners("faces", [face.row_id]) == {}


def test_a_worker_adds_to_the_transparency_log(urls: tuple[str, str]) -> None:
    key = SigningKey.generate("pictor.test/log")
    with open_audit_log(urls[1], key) as log:
        record = search_by("ann")
        (receipt,) = log.append([record])
        assert proves(receipt, record, key.verifier)
        log.append([search_by("ann") for _ in range(300)])
        with pytest.raises(CredentialsError):
            log.erase([record.record_id], erasure_of([record]))
        search = search_to_verify()
        log.append([search])
        with pytest.raises(CredentialsError):
            log.append([decision_on(search, "bob")])
    with open_audit_log(urls[0], key) as of_the_owner:  # a worker reads no decisions of persons
        assert [match.rank for match in of_the_owner.verifications.of_search(search.record_id)] == [1]


def test_the_service_keeps_keys_besides_and_changes_nothing_else(urls: tuple[str, str]) -> None:
    name = f"service_{secrets.token_hex(4)}"
    service = sa.make_url(urls[0]).set(username=name, password="of the service")
    text = service.render_as_string(hide_password=False)
    assert [make_service_role(urls[0], text) for _ in range(2)] == [name, name]
    try:
        run_on(text, "DELETE FROM api_key", "DELETE FROM api_session", "DELETE FROM api_request")
        run_on(text, "UPDATE job SET error = error")
        for statement in FORBIDDEN:
            if "api_" not in statement and "person" not in statement:
                with pytest.raises(exc.ProgrammingError, match="InsufficientPrivilege"):
                    run_on(text, statement)
    finally:
        run_on(urls[0], f"DROP OWNED BY {name}", f"DROP ROLE {name}")
    with pytest.raises(ConfigError, match="PICTOR_LEDGER_SERVICE_URL"):
        make_service_role(urls[0], urls[0])


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_a_worker_may_change_nothing_else(urls: tuple[str, str], statement: str) -> None:
    with pytest.raises(exc.ProgrammingError, match="InsufficientPrivilege"):
        run_on(urls[1], statement)


def test_who_is_no_owner_can_make_no_user(urls: tuple[str, str]) -> None:
    other = sa.make_url(urls[1]).set(username="somebody").render_as_string(hide_password=False)
    with pytest.raises((CredentialsError, ConfigError)):
        make_worker_role(urls[1], other)


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        ("sqlite:////tmp/ledger.db", "a PostgreSQL URL with user and password is expected"),
        ("postgresql://a:b@127.0.0.1:1/elsewhere", "names another database"),
    ],
)
def test_an_address_that_is_not_the_workers_is_refused(urls: tuple[str, str], worker: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_worker_role(urls[0], worker)
    with pytest.raises(ConfigError, match="give it one of its own"):
        make_worker_role(urls[0], urls[0])

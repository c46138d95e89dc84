"""What an entry of the log costs: how many statements each search waits for."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.adapters.ledger.sql_audit_log import SqlAuditLog, open_audit_log
from pipeline.audit.note import SigningKey
from pipeline.types import AuditRecord
from tests.audit_records import proves, search_by

KEY = SigningKey.generate("pictor.test/log")
SHORT = ["BEGIN IMMEDIATE", "UPDATE audit_tree", "INSERT INTO audit_entry", "COMMIT"]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlAuditLog]:
    with open_audit_log(f"sqlite:///{tmp_path}/ledger.db", KEY) as log:
        log.append([search_by("ann")])
        yield log


@contextmanager
def noted(log: SqlAuditLog) -> Iterator[list[str]]:
    """The statements that the database runs meanwhile, by their first words."""
    found: list[str] = []
    connection = log._engine.raw_connection()
    driver = connection.driver_connection
    connection.close()  # it is the only one of the pool, and the next to be used
    assert driver is not None
    driver.set_trace_callback(lambda text: found.append(re.match(r"\w+( INTO)?( \w+)?", text)[0]))  # type: ignore[index]
    yield found
    driver.set_trace_callback(None)


def statements_of(log: SqlAuditLog, *records: AuditRecord) -> list[str]:
    with noted(log) as found:
        receipts = log.append(records)
    assert all(
        proves(receipt, record, KEY.verifier) for receipt, record in zip(receipts, records, strict=True)
    )
    return found


def test_the_next_search_of_a_process_takes_two_statements_and_a_commit(log: SqlAuditLog) -> None:
    assert statements_of(log, search_by("bob")) == SHORT


def test_searches_at_once_share_them(log: SqlAuditLog) -> None:
    assert set(statements_of(log, search_by("bob"), search_by("eve"))) == set(SHORT)
    assert log.head().size == 3


def test_what_another_process_has_written_is_read_first(log: SqlAuditLog, tmp_path: Path) -> None:
    with open_audit_log(f"sqlite:///{tmp_path}/ledger.db", KEY) as other:
        other.append([search_by("bob")])
    assert any(text.startswith("SELECT") for text in statements_of(log, search_by("eve")))
    assert statements_of(log, search_by("eve")) == SHORT


def test_an_entry_that_speaks_of_another_goes_the_usual_way(log: SqlAuditLog) -> None:
    (earlier,) = log.append([search_by("bob")])
    found = statements_of(log, search_by("eve", refers_to=(earlier.record_id,)))
    assert "INSERT INTO audit_reference" in found

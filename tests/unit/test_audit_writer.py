"""What an entry of the log costs: how many statements each search waits for."""

import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.ledger.prepared import ROWS_OF_ONE_INSERT
from pipeline.adapters.ledger.sql_audit_log import SqlAuditLog, open_audit_log
from pipeline.audit.note import SigningKey
from pipeline.audit.queries import facets_in, said_facets
from pipeline.audit.records import canonical_json
from pipeline.audit.tiles import TILE_HASHES
from pipeline.types import AuditRecord, ReferenceDb
from tests.audit_records import proves, search_by

KEY = SigningKey.generate("pictor.test/log")
TEXTS = st.text(st.characters(exclude_categories=()), max_size=8)  # also lone surrogates and controls
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
    listened = list[sqlite3.Connection]()

    def listen(driver: sqlite3.Connection, *_: object) -> None:
        listened.append(driver)
        driver.set_trace_callback(lambda text: found.append(re.match(r"\w+( INTO)?( \w+)?", text)[0]))  # type: ignore[index]

    sa.event.listen(log._engine, "checkout", listen)
    if (kept := log._short._kept) is not None:
        listen(kept.driver_connection)
    yield found
    sa.event.remove(log._engine, "checkout", listen)
    for driver in listened:
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


def test_a_statement_takes_no_more_rows_than_a_driver_keeps_texts_for(log: SqlAuditLog) -> None:
    rows = 2 * ROWS_OF_ONE_INSERT + 1
    found = statements_of(log, *[search_by("bob", minute=minute) for minute in range(rows)])
    assert found == [*SHORT[:2], *["INSERT INTO audit_entry"] * 3, "COMMIT"]
    assert [entry.index for entry in log.entries()] == list(range(1 + rows))


def test_the_row_that_fills_a_tile_writes_it(log: SqlAuditLog) -> None:
    log.append([search_by("bob") for _ in range(TILE_HASHES - 2)])
    assert statements_of(log, search_by("eve")) == [*SHORT[:-1], "INSERT INTO audit_tile", "COMMIT"]
    assert log.full_tiles() == [(0, 0)]


def test_searches_that_wait_for_another_process_share_one_commit(log: SqlAuditLog, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other, ThreadPoolExecutor(3) as pool:
        other.execute("BEGIN IMMEDIATE")
        with noted(log) as found:
            answers = [pool.submit(log.append, [search_by(name)]) for name in ("bob", "eve", "ann")]
            while len(log._group._pending) < 3:
                threading.Event().wait(0.001)
            other.rollback()
            places = {answer.result()[0].index for answer in answers}
    assert places == {1, 2, 3}
    assert found == SHORT


def test_a_transaction_that_fails_leaves_the_log_to_others(log: SqlAuditLog, tmp_path: Path) -> None:
    twice = search_by("bob")
    first, again = log.append([twice]), log.append([twice])  # refused by the database, and then found
    assert [one.index for one in first] == [one.index for one in again] == [1]
    with open_audit_log(f"sqlite:///{tmp_path}/ledger.db", KEY) as other:
        other.append([search_by("eve")])
    assert log.append([search_by("bob")])[0].index == 3


@given(TEXTS, TEXTS, TEXTS)
def test_a_record_is_found_by_what_its_json_says(actor: str, case: str, collection: str) -> None:
    record = search_by(actor, case_ref=case, reference_db=ReferenceDb(collection=collection))
    assert said_facets(record) == facets_in(json.loads(canonical_json(record)))


def test_what_another_process_has_written_is_read_first(log: SqlAuditLog, tmp_path: Path) -> None:
    with open_audit_log(f"sqlite:///{tmp_path}/ledger.db", KEY) as other:
        other.append([search_by("bob")])
    assert any(text.startswith("SELECT") for text in statements_of(log, search_by("eve")))
    assert statements_of(log, search_by("eve")) == SHORT


def test_an_entry_that_speaks_of_another_goes_the_usual_way(log: SqlAuditLog) -> None:
    (earlier,) = log.append([search_by("bob")])
    found = statements_of(log, search_by("eve", refers_to=(earlier.record_id,)))
    assert "INSERT INTO audit_reference" in found

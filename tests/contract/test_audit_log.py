"""The transparency log, in memory and in both databases."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import pytest

from pipeline.adapters.ledger.sql_audit_log import open_audit_log
from pipeline.audit.note import SigningKey
from pipeline.audit.records import canonical_json, commit
from pipeline.audit.verify import verify_log
from pipeline.errors import ArgumentError, ConfigError, FatalError, NotFoundError
from pipeline.ports.audit import PublishedLog
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import AuditKind, AuditQuery, AuditReceipt, Candidate, Probe
from tests.audit_records import NOON, erasure_of, proves, search_by
from tests.contract.ledger_databases import empty_tables


class KeyedLog(PublishedLog, Protocol):
    """A log whose key the test knows."""

    key: SigningKey


KEY = SigningKey.generate("pictor.test/log")
OTHER_KEY = SigningKey.generate("pictor.test/other")


@pytest.fixture
def log(memory_or_database: str) -> Iterator[KeyedLog]:
    """Without an entry."""
    if not memory_or_database:
        yield MemoryAuditLog()
        return
    empty_tables(memory_or_database)
    with open_audit_log(memory_or_database, KEY) as log:
        yield log


def test_a_receipt_alone_proves_its_record_and_no_other(log: KeyedLog) -> None:
    mine, other = search_by("ann"), search_by("bob")
    receipt, _ = log.append([mine, other])
    assert proves(receipt, mine, log.key.verifier)
    assert not proves(receipt, replace(mine, purpose_code="another"), log.key.verifier)
    assert not proves(receipt, other, log.key.verifier)


def test_entries_have_the_order_of_their_records_across_tiles(log: KeyedLog) -> None:
    records = [search_by("ann", minute=minute) for minute in range(300)]
    log.append(records[:255])
    receipts = log.append(records[255:])  # past the end of a tile within one call
    assert [entry.record_id for entry in log.entries()] == [record.record_id for record in records]
    assert [entry.index for entry in log.entries(start=254, end=257)] == [254, 255, 256]
    assert log.commitments(254, 257) == [entry.commitment for entry in log.entries(start=254, end=257)]
    assert [receipt.index for receipt in receipts] == list(range(255, 300))
    assert all(proves(r, record, log.key.verifier) for r, record in zip(receipts, records[255:], strict=True))
    assert all(proves(log.prove(record.record_id), record, log.key.verifier) for record in records[::50])


def test_an_entry_is_the_commitment_to_its_record(log: KeyedLog) -> None:
    record = search_by("ann")
    log.append([record])
    entry = log.get(record.record_id)
    assert entry.record == canonical_json(record)
    assert entry.salt is not None
    assert entry.commitment == commit(entry.salt, entry.record)


def test_the_head_is_what_receipts_are_signed_with(log: KeyedLog) -> None:
    assert (log.head().size, log.head().checkpoint) == (0, "")
    (receipt,) = log.append([search_by("ann")])
    assert log.head().size == 1
    assert receipt.proof.endswith("\n\n" + log.head().checkpoint)


def test_a_record_that_is_appended_twice_keeps_its_place(log: KeyedLog) -> None:
    record = search_by("ann")
    log.append([record])
    log.append([search_by("bob")])
    (again,) = log.append([record])
    assert (again.index, log.head().size) == (0, 2)
    assert proves(again, record, log.key.verifier)


def test_a_log_that_begins_anew_has_its_first_entry_alone_and_refuses_the_old_key(database: str) -> None:
    empty_tables(database)
    first = search_by("ann")
    with open_audit_log(database, KEY) as old, open_audit_log(database, OTHER_KEY) as log:
        old.append([search_by("bob", minute=minute) for minute in range(300)])
        receipt = log.begin_anew(first)
        assert (receipt.index, log.head().size, log.full_tiles()) == (0, 1, [])
        assert proves(receipt, first, OTHER_KEY.verifier)
        with pytest.raises(FatalError, match="put back"):  # it was running meanwhile
            old.append([search_by("bob")])
        log.append([search_by("eve")])
        assert verify_log(log, OTHER_KEY.verifier, verifications=log.verifications).faults == ()
    with open_audit_log(database, KEY) as old, pytest.raises(ConfigError, match="signed by"):
        old.append([search_by("bob")])


def test_two_processes_go_on_from_each_other(database: str) -> None:
    records = [search_by("ann", minute=minute) for minute in range(262)]
    receipts: list[AuditReceipt] = []
    empty_tables(database)
    with open_audit_log(database, KEY) as one, open_audit_log(database, KEY) as other:
        receipts += one.append(records[:250])
        for number, log in enumerate((one, one, other, other, one, other) * 2, start=250):  # past a tile
            receipts += log.append([records[number]])
        verified = verify_log(other, KEY.verifier)
    assert (verified.entries, verified.faults) == (262, ())
    assert [receipt.index for receipt in receipts] == list(range(262))
    assert all(proves(r, record, KEY.verifier) for r, record in zip(receipts, records, strict=True))


def test_a_record_of_another_process_keeps_its_place(database: str) -> None:
    """As when that one was killed before it could answer."""
    record = search_by("ann")
    empty_tables(database)
    with open_audit_log(database, KEY) as one, open_audit_log(database, KEY) as other:
        one.append([record])
        other.append([search_by("bob")])
        again, more = other.append([record, search_by("eve")])
        assert [again.index, more.index, other.head().size] == [0, 2, 3]
    assert proves(again, record, KEY.verifier)


def test_equal_records_have_different_commitments(log: KeyedLog) -> None:
    """Who sees the tree cannot tell that one search was made twice."""
    one = search_by("ann")
    log.append([one, replace(one, record_id="f" * 32)])
    first, second = log.entries()
    assert first.salt != second.salt


def test_nothing_is_appended_when_one_record_cannot_be_written(log: KeyedLog) -> None:
    bad = search_by("ann", candidates=(Candidate(id="x", score=math.nan, rank=1),))
    with pytest.raises(ArgumentError, match=bad.record_id):
        log.append([search_by("ann"), bad])
    assert log.head().size == 0


def test_a_key_that_is_no_unicode_is_recorded_by_its_bytes(log: KeyedLog) -> None:
    record = search_by("ann", details={"key": "caf\udce9.jpg"})
    log.append([record])
    body = log.get(record.record_id).record
    assert body is not None
    assert json.loads(body)["details"] == {"key": "caf\\udce9.jpg"}


def test_records_are_found_newest_first_by_what_they_say(log: KeyedLog) -> None:
    ann = [search_by("ann", minute=minute, case_ref="C-1") for minute in range(3)]
    bob = search_by("bob", purpose_code="missing_person", probe=Probe(sha256="cd" * 32))
    verified = search_by("eve", refers_to=(bob.record_id,))
    log.append([*ann, bob, verified])

    def found(query: AuditQuery, limit: int = 100, before: int | None = None) -> list[int]:
        return [entry.index for entry in log.find(query, limit=limit, before=before)]

    assert found(AuditQuery()) == [4, 3, 2, 1, 0]
    assert found(AuditQuery(actor="ann")) == [2, 1, 0]
    assert found(AuditQuery(actor="ann"), limit=2) == [2, 1]
    assert found(AuditQuery(actor="ann"), before=1) == [0]
    assert found(AuditQuery(actor="bob", case_ref="C-1")) == []
    assert found(AuditQuery(case_ref="C-1", since=NOON + timedelta(minutes=1))) == [2, 1]
    assert found(AuditQuery(case_ref="C-1", until=NOON + timedelta(minutes=1))) == [0]
    assert found(AuditQuery(purpose_code="missing_person")) == [3]
    assert found(AuditQuery(probe_sha256="cd" * 32)) == [3]
    assert found(AuditQuery(refers_to=bob.record_id)) == [4]
    assert found(AuditQuery(kind=AuditKind.ERASURE)) == []
    assert found(AuditQuery(collection="faces", tenant="default")) == [4, 3, 2, 1, 0]
    assert found(AuditQuery(tenant="another")) == []


def test_an_erased_record_is_gone_and_its_place_is_proved_as_before(log: KeyedLog) -> None:
    gone, kept = search_by("ann"), search_by("bob")
    before, _ = log.append([gone, kept])
    erasure = erasure_of([gone])
    receipt = log.erase([gone.record_id], erasure)
    entry = log.get(gone.record_id)
    assert (entry.record, entry.salt) == (None, None)
    assert log.find(AuditQuery(actor="ann")) == []
    assert proves(receipt, erasure, log.key.verifier)
    assert proves(log.prove(kept.record_id), kept, log.key.verifier)
    assert proves(before, gone, log.key.verifier), "whoever has record and receipt can still show it"
    assert "extra" not in log.prove(gone.record_id).proof, "the salt would confirm a guess"
    assert log.erase([gone.record_id], erasure).index == receipt.index, "safe to run twice"


def test_an_erasure_says_what_it_erases_and_is_not_erased_itself(log: KeyedLog) -> None:
    one, two = search_by("ann"), search_by("bob")
    log.append([one, two])
    with pytest.raises(ArgumentError, match="refers to"):
        log.erase([one.record_id], erasure_of([two]))
    with pytest.raises(ArgumentError, match="erasure that refers"):
        log.erase([one.record_id], search_by("ann", refers_to=(one.record_id,)))
    erasure = erasure_of([one])
    log.erase([one.record_id], erasure)
    with pytest.raises(ArgumentError, match="stays"):
        log.erase([erasure.record_id], erasure_of([erasure]))
    assert log.get(two.record_id).record == canonical_json(two)


def test_what_is_not_there_is_not_found(log: KeyedLog) -> None:
    nobody = search_by("ann")
    for asked in (log.get, log.prove):
        with pytest.raises(NotFoundError, match=nobody.record_id):
            asked(nobody.record_id)
    with pytest.raises(NotFoundError, match=nobody.record_id):
        log.erase([nobody.record_id], erasure_of([nobody]))

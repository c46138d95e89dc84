"""`pictor audit`, from the first use of a home."""

import hashlib
import json
import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import wiring, wiring_audit
from pipeline.audit import offline
from pipeline.audit.key_file import load_or_make_key
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.types import AuditRecord, Candidate, Probe, image_id_of
from tests.audit_records import search_by
from tests.unit.commands import Output, pictor

Audit = Callable[..., int]


@pytest.fixture
def audit(home: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    return lambda *words: pictor(monkeypatch, "audit", *map(str, words))


@pytest.fixture
def records(home: Path) -> list[AuditRecord]:
    """Three searches in the log of the home."""
    made = [search_by(name, minute=minute) for minute, name in enumerate(("ann", "bob", "eve"))]
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        log.append(made)
    return made


def lines_of(output: Output) -> list[str]:
    return output.readouterr().out.splitlines()


def vkey() -> str:
    return str(wiring_audit.audit_key(Settings.from_env()).verifier)


def test_the_key_is_made_once_and_for_its_user_alone(home: Path, audit: Audit, capsys: Output) -> None:
    assert audit("key") == audit("key") == 0
    first, second = lines_of(capsys)
    assert first == second == vkey()
    file = home / "audit.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("PRIVATE+KEY+")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    load_or_make_key(tmp_path, "")
    (tmp_path / "audit.key").chmod(0o640)
    with pytest.raises(ConfigError, match="others may read the signing key"):
        load_or_make_key(tmp_path, "")


def test_a_key_of_the_settings_is_used_and_never_shown(
    home: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    audit("key")
    secret = (home / "audit.key").read_text().strip()
    (home / "audit.key").unlink()
    monkeypatch.setenv("PICTOR_AUDIT_KEY", secret)
    audit("key")
    first, second = lines_of(capsys)
    assert first == second
    monkeypatch.setenv("PICTOR_AUDIT_KEY", secret[:-8] + "AAAAAAA=")
    assert audit("key") == 2
    said = capsys.readouterr().err
    assert "PICTOR_AUDIT_KEY" in said
    assert secret[-20:-9] not in said


def test_the_name_of_the_log_is_a_setting(
    home: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PICTOR_AUDIT_ORIGIN", "audit.example.org/faces")
    audit("key")
    assert lines_of(capsys)[0].startswith("audit.example.org/faces+")
    monkeypatch.setenv("PICTOR_AUDIT_ORIGIN", "another")
    assert audit("key") == 2


def test_two_keys_for_one_ledger_are_refused(
    home: Path, audit: Audit, records: list[AuditRecord], capsys: Output
) -> None:
    (home / "audit.key").unlink()
    assert audit("search") != 0
    assert "audit" in capsys.readouterr().err


def test_a_sound_log_is_verified(audit: Audit, records: list[AuditRecord], capsys: Output) -> None:
    assert audit("verify", "--json") == 0
    found = json.loads(lines_of(capsys)[0])
    assert (found["size"], found["entries"], found["faults"]) == (3, 3, [])


def test_the_first_bad_entry_is_named_and_the_exit_code_is_1(
    home: Path, audit: Audit, records: list[AuditRecord], capsys: Output
) -> None:
    with closing(sqlite3.connect(home / "ledger.db")) as connection, connection:
        connection.execute("UPDATE audit_entry SET record = '{}' WHERE entry_index = 1")
    assert audit("verify") == 1
    assert "entry 1: its record does not match its commitment" in capsys.readouterr().err


def test_a_log_is_verified_since_a_checkpoint(
    home: Path, audit: Audit, records: list[AuditRecord], capsys: Output, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_text((home / "audit" / "checkpoint").read_text())
    audit("search")  # which is an entry
    capsys.readouterr()
    assert audit("verify", "--since", kept, "--json") == 0
    assert json.loads(lines_of(capsys)[0])["entries"] == 1
    kept.write_text("no checkpoint\n")
    assert audit("verify", "--since", kept) == 2


def test_a_checkpoint_that_somebody_kept_shows_a_rollback(
    home: Path, audit: Audit, records: list[AuditRecord], capsys: Output, tmp_path: Path
) -> None:
    before = (home / "ledger.db").read_bytes()
    audit("search")
    kept = tmp_path / "kept"
    kept.write_text((home / "audit" / "checkpoint").read_text())
    (home / "ledger.db").write_bytes(before)
    for file in (home / "audit").rglob("*"):
        if file.is_file():
            file.unlink()
    assert audit("verify", "--checkpoint", kept) == 1
    assert "rolled back. It has 3 entries, and this checkpoint has 4" in capsys.readouterr().err.replace(
        "\n", " "
    )


def test_a_proof_is_checked_without_the_ledger(
    audit: Audit, records: list[AuditRecord], capsys: Output, tmp_path: Path
) -> None:
    proof, body = tmp_path / "a.tlog-proof", tmp_path / "record.json"
    assert audit("prove", records[1].record_id, "--out", proof) == 0
    capsys.readouterr()
    audit("show", records[1].record_id)
    shown = json.loads(lines_of(capsys)[0])["record"]
    body.write_text(json.dumps(shown, indent=2))  # its spelling is not ours
    words = [str(proof), "--record", str(body), "--vkey", vkey()]
    assert offline.main(words) == 0
    body.write_text(json.dumps(shown | {"purpose_code": "other"}))
    assert offline.main(words) == 1
    assert "this record is not entry 1" in capsys.readouterr().err


def test_an_unknown_record_is_not_proved(audit: Audit, records: list[AuditRecord]) -> None:
    assert audit("prove", "0" * 32) == 2


def test_records_are_shown_by_what_they_say(audit: Audit, records: list[AuditRecord], capsys: Output) -> None:
    audit("search", "--actor", "bob", "--json")
    (shown,) = map(json.loads, lines_of(capsys))
    assert (shown["index"], shown["record_id"]) == (1, records[1].record_id)
    audit("search", "--from", "2026-11-27T12:01:00", "--to", "2026-11-27T12:02:00", "--json")
    assert [json.loads(line)["index"] for line in lines_of(capsys)] == [1]


def test_reading_the_log_is_an_entry(audit: Audit, records: list[AuditRecord], capsys: Output) -> None:
    audit("show", records[0].record_id)
    audit("search", "--case", "C-7")
    capsys.readouterr()
    audit("search", "--kind", "read", "--json")
    second, first = (json.loads(line)["record"] for line in lines_of(capsys))
    assert first["refers_to"] == [records[0].record_id]
    assert second["details"] == {"entries": 0, "query": {"case_ref": "C-7"}}


def test_an_export_is_checked_elsewhere_and_is_an_entry(
    audit: Audit, records: list[AuditRecord], capsys: Output, tmp_path: Path
) -> None:
    assert audit("export", tmp_path / "out", "--to", "2026-11-27T12:02:00") == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert [line["record"]["actor"]["id"] for line in lines] == ["ann", "bob"]
    words = [str(tmp_path / "out"), "--vkey", vkey()]
    assert offline.main(words) == 0
    assert "2 records are in the tree of 4 entries" in capsys.readouterr().out
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        assert [entry.found_by.get("kind") for entry in log.entries()][-1] == "export"
    assert audit("export", tmp_path / "out") == 2, "nothing is written over"


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("records.jsonl", b'"bob"', b'"rob"', "line 2: the record is not entry 1"),
        ("records.jsonl", b'"index":2', b'"index":0', "line 3: entry 0 is not in the tree"),
        ("records.jsonl", b'"index":2', b'"index":9', "line 3: entry 9 is not in the tree"),
        ("tile/0/000.p/4", None, b"", "does not match the entries"),
        ("tile/entries/000.p/4", None, b"", "does not match the entries"),
        ("checkpoint", b"\n4\n", b"\n3\n", "signature of .* is wrong"),
    ],
)
def test_a_change_of_an_export_is_named(
    audit: Audit,
    records: list[AuditRecord],
    capsys: Output,
    tmp_path: Path,
    name: str,
    old: bytes | None,
    new: bytes,
    said: str,
) -> None:
    audit("export", tmp_path / "out")
    file = tmp_path / "out" / name
    body = file.read_bytes()
    file.write_bytes(body[:-1] + bytes([body[-1] ^ 1]) if old is None else body.replace(old, new))
    assert offline.main([str(tmp_path / "out"), "--vkey", vkey()]) == 1
    with pytest.raises(offline.CheckError, match=said):
        offline.check_export(tmp_path / "out", wiring_audit.audit_key(Settings.from_env()).verifier)


def test_erased_records_are_gone_and_the_log_stays_provable(
    home: Path, audit: Audit, records: list[AuditRecord], capsys: Output, tmp_path: Path
) -> None:
    assert audit("erase", "--record", records[0].record_id, "--reason", "asked by the person") == 0
    assert audit("erase", "--actor", "bob", "--reason", "retention") == 0
    capsys.readouterr()
    assert audit("verify", "--json") == 0
    assert json.loads(lines_of(capsys)[0]) | {"tiles": 0} == {
        "size": 5,
        "entries": 5,
        "erased": 2,
        "tiles": 0,
        "checkpoints": 2,
        "faults": [],
    }
    audit("search", "--kind", "erasure", "--json")
    second, first = (json.loads(line)["record"] for line in lines_of(capsys))
    assert (first["refers_to"], first["details"]) == (
        [records[0].record_id],
        {"reason": "asked by the person"},
    )
    assert second["refers_to"] == [records[1].record_id]
    left = b"".join(file.read_bytes() for file in home.glob("ledger.db*"))
    assert b'"id":"eve"' in left
    assert b'"id":"ann"' not in left
    assert b'"id":"bob"' not in left
    audit("export", tmp_path / "out")
    assert offline.main([str(tmp_path / "out"), "--vkey", vkey()]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ("erase", "--reason", "why"),
        ("erase", "--record", "0" * 32, "--reason", " "),
        ("erase", "--record", "0" * 32, "--actor", "ann", "--reason", "why"),
        ("erase", "--record", "0" * 32),
    ],
)
def test_an_erasure_says_what_and_why(
    audit: Audit, records: list[AuditRecord], words: tuple[str, ...]
) -> None:
    assert audit(*words) == 2


def test_processes_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: load_or_make_key(tmp_path, "").verifier, range(8)))
    assert len(set(keys)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["audit.key"]


def test_who_searched_for_a_picture_is_found_by_file_digest_and_id(
    home: Path, audit: Audit, capsys: Output
) -> None:
    file = home / "photo.jpg"
    file.write_bytes(b"a picture")
    digest = hashlib.sha256(b"a picture").hexdigest()
    image = image_id_of(*wiring.locate_file(file))
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        uploaded = search_by("ann", probe=Probe(sha256=digest, source="upload"))
        by_place = search_by("bob", minute=1, probe=Probe(source=image))
        hit = Candidate(id=image, score=0.5, rank=1)
        persons = {"group_by": "person", "persons": ["ada"]}
        shown = search_by("eve", minute=2, candidates=(hit,), details=persons)
        log.append([uploaded, by_place, shown])
    asked = [("--probe", file), ("--probe", digest), ("--probe", image), ("--candidate", image)]
    asked.append(("--candidate", "person:ada"))
    found = []
    for words in asked:
        assert audit("search", "--json", *words) == 0
        found.append([json.loads(line)["index"] for line in lines_of(capsys)])
    assert found == [[1, 0], [0], [1], [2], [2]]
    assert audit("search", "--probe", "s3:/typo") == 2


def test_the_next_page_of_a_search_is_said(audit: Audit, records: list[AuditRecord], capsys: Output) -> None:
    assert audit("search", "--limit", 2) == 0
    output = capsys.readouterr()
    assert "--before 1" in output.err
    assert [line.split()[3] for line in output.out.splitlines()[1:]] == ["eve", "bob"]


def test_records_name_the_agency_and_searches_the_law(
    home: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("PICTOR_AUDIT_AGENCY", "Police of Example")
    monkeypatch.setenv("PICTOR_AUDIT_LEGAL_BASIS", "Police Act s. 12")
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        log.append([search_by("ann"), search_by("bob", agency="Customs", legal_basis="Customs Act")])
        audit("show", next(log.entries()).record_id)
        records = [json.loads(entry.record or b"") for entry in log.entries()]
    assert [record["agency"] for record in records] == ["Police of Example", "Customs", "Police of Example"]
    assert [record["legal_basis"] for record in records] == ["Police Act s. 12", "Customs Act", ""]


def test_records_whose_time_is_over_are_erased(
    home: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        old = [search_by(name, case_ref=name, retention_class="30d") for name in ("ann", "bob")]
        log.append([replace(record, started_at=datetime(2020, 1, 1, tzinfo=UTC)) for record in old])
        log.append([search_by("eve")])
    monkeypatch.setenv("PICTOR_AUDIT_HELD_CASES", "bob, other")
    assert audit("erase", "--due") == 0
    assert "1 records erased" in capsys.readouterr().err
    assert audit("verify") == 0
    assert audit("erase", "--due", "--actor", "eve") == 2


def test_an_erasure_that_is_not_of_retention_needs_a_reason(
    audit: Audit, records: list[AuditRecord], capsys: Output
) -> None:
    assert audit("erase", "--actor", "ann") == 2
    assert "needs a reason" in capsys.readouterr().err

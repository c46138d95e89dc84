"""`pictor audit restore`: what a ledger that was put back lacks, and how a new log begins."""

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from pipeline import wiring_audit
from pipeline.adapters.ledger.audit_anew import LOG_TABLES
from pipeline.adapters.ledger.schema import metadata
from pipeline.audit.offline import main as check_offline
from pipeline.errors import FatalError
from pipeline.settings import Settings
from pipeline.types import AuditRecord
from tests.audit_records import search_by
from tests.unit.commands import Output, pictor
from tests.verifications import decision_on, search_to_verify

OF_THE_LOG = ("audit_", "verification")  # how the names of its tables begin
SECRET = "old secret of 32 characters or more"


def append(*records: AuditRecord) -> None:
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        log.append(records)


def entries() -> list[dict[str, object]]:
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        return [json.loads(entry.record or b"{}") for entry in log.entries()]


def copy_rows(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def put_back(home: Path, tmp_path: Path) -> None:
    """Three entries, a backup, 300 more entries, and the backup takes the place of the ledger."""
    search = search_to_verify(hits=2)
    append(search, decision_on(search, "bob"), search_by("ann"))
    copy_rows(home / "ledger.db", tmp_path / "backup.db")
    append(*(search_by("eve", minute=minute) for minute in range(300)))
    copy_rows(tmp_path / "backup.db", home / "ledger.db")


@pytest.fixture
def old_log(home: Path, tmp_path: Path) -> Sequence[str]:
    """The last checkpoint of a log whose ledger was then put back: origin, size and root."""
    put_back(home, tmp_path)
    return (home / "audit" / "checkpoint").read_text().splitlines()[:3]


@pytest.fixture
def in_places(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with key, name and places of the log in the settings. Returns the old places' folder."""
    monkeypatch.setenv("PICTOR_AUDIT_KEY", SECRET)
    monkeypatch.setenv("PICTOR_AUDIT_ORIGIN", "audit.example.org/first")
    monkeypatch.setenv("PICTOR_AUDIT_TILES", str(tmp_path / "old" / "tiles"))
    monkeypatch.setenv("PICTOR_AUDIT_CHECKPOINTS", str(tmp_path / "old" / "second"))
    put_back(home, tmp_path)
    return tmp_path / "old"


def test_what_is_missing_is_said_and_nothing_is_changed(
    old_log: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert pictor(monkeypatch, "audit", "restore") == 1
    said = capsys.readouterr().out
    assert "the ledger has 3 entries" in said
    assert "missing: 300 entries, 3 to 302" in said
    assert "audit/checkpoint is of 303 entries" in said
    assert "the published tiles prove 300 of the missing entries" in said
    assert "cannot be brought back" in said
    with pytest.raises(FatalError, match=r"rolled back.*pictor audit restore"):
        append(search_by("ann"))
    assert len(entries()) == 3


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_tiles_that_are_not_whole_prove_nothing(
    damage: str, old_log: Sequence[str], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    bundle = home / "audit" / "tile" / "entries" / "000"
    whole = bundle.read_bytes()
    bundle.unlink()
    if damage != "gone":
        bundle.write_bytes(whole[:-1] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    assert pictor(monkeypatch, "audit", "restore") == 1
    said = capsys.readouterr().out
    assert "prove 0 of the missing entries" in said
    assert "missing: 300 entries, 3 to 302" in said


def test_a_new_log_begins_with_the_state_at_which_the_old_one_ended(
    home: Path, old_log: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    kept = tmp_path / "kept"
    old_key = (home / "audit.key").read_text()
    assert pictor(monkeypatch, "audit", "restore", "--keep", str(kept), "--yes") == 0
    append(search_by("ann"))
    capsys.readouterr()
    assert pictor(monkeypatch, "audit", "verify", "--json") == 0
    assert json.loads(capsys.readouterr().out)["size"] == 2
    first, _ = entries()
    assert first["kind"] == "new_log"
    details = first["details"]
    assert isinstance(details, dict)
    assert [details["old_origin"], str(details["old_size"]), details["old_root"]] == list(old_log)
    assert (details["entries_in_ledger"], details["first_missing"]) == (3, 3)
    assert not (home / "audit" / "checkpoint").read_text().startswith(old_log[0])
    assert (kept / "audit.key").read_text() == old_key
    assert (kept / "audit" / "checkpoint").read_text().splitlines()[:3] == list(old_log)
    assert check_offline([str(kept / "log"), "--vkey", str(details["old_vkey"])]) == 0


def test_a_log_of_the_settings_needs_its_own_name_key_and_places(
    in_places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    key, kept = tmp_path / "key", tmp_path / "kept"
    key.write_text("new secret of 32 characters or more\n")
    old_checkpoint = (in_places / "tiles" / "checkpoint").read_bytes()
    asked = ["audit", "restore", "--keep", str(kept), "--yes"]
    assert pictor(monkeypatch, *asked) == 2
    assert "give --origin, --new-key, --tiles, --checkpoints" in capsys.readouterr().err
    asked += ["--origin", "audit.example.org/second", "--new-key", str(key)]
    asked += ["--tiles", str(tmp_path / "new" / "tiles")]
    assert pictor(monkeypatch, *asked, "--checkpoints", str(in_places / "tiles")) == 2
    assert "has the checkpoint of a log already" in capsys.readouterr().err
    assert len(entries()) == 3
    second = str(tmp_path / "new" / "second")
    assert pictor(monkeypatch, *asked, "--checkpoints", second) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "set PICTOR_AUDIT_ORIGIN=audit.example.org/second" in said
    assert f"set PICTOR_AUDIT_CHECKPOINTS={second}" in said
    assert (in_places / "tiles" / "checkpoint").read_bytes() == old_checkpoint
    assert (
        (tmp_path / "new" / "second" / "checkpoint").read_text().startswith("audit.example.org/second\n1\n")
    )


def test_a_process_with_the_old_settings_appends_nothing(
    in_places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_text("new secret of 32 characters or more")
    asked = ["audit", "restore", "--yes", "--keep", str(tmp_path / "kept"), "--origin", "audit.example.org/b"]
    asked += [
        "--new-key",
        str(key),
        "--tiles",
        str(tmp_path / "new"),
        "--checkpoints",
        str(tmp_path / "copy"),
    ]
    assert pictor(monkeypatch, *asked) == 0
    with pytest.raises(Exception, match="the log is signed by"):
        append(search_by("ann"))
    assert len(entries()) == 1


def test_a_log_that_went_on_after_it_was_put_back_names_the_first_other_entry(
    home: Path, old_log: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    shutil.move(home / "audit", tmp_path / "aside")  # as if nobody could see what was published
    append(*(search_by("mallory", minute=minute) for minute in range(400)))
    shutil.rmtree(home / "audit")
    shutil.move(tmp_path / "aside", home / "audit")
    assert pictor(monkeypatch, "audit", "restore") == 1
    assert "missing: 300 entries, 3 to 302" in capsys.readouterr().out


def test_a_log_that_is_whole_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    append(search_by("ann"))
    assert pictor(monkeypatch, "audit", "restore") == 0
    assert "every entry that was published" in capsys.readouterr().err
    assert pictor(monkeypatch, "audit", "restore", "--keep", str(home / "kept"), "--yes") == 2
    assert len(entries()) == 1


def test_where_the_ledger_cannot_be_emptied_all_stays(
    home: Path, old_log: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (home / "audit.key").read_text()
    with closing(sqlite3.connect(home / "ledger.db")) as connection, connection:
        connection.execute(
            "CREATE TRIGGER kept BEFORE DELETE ON audit_tree BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    assert pictor(monkeypatch, "audit", "restore", "--keep", str(tmp_path / "kept"), "--yes") != 0
    assert (home / "audit.key").read_text() == before
    assert (home / "audit" / "checkpoint").read_text().splitlines()[:3] == list(old_log)
    assert len(entries()) == 3


def test_the_new_log_empties_every_table_of_the_log_and_no_other() -> None:
    emptied = sorted(table.name for table in LOG_TABLES)
    assert emptied == sorted(name for name in metadata.tables if name.startswith(OF_THE_LOG))


CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "shutil.copyfile", "shutil.rmtree")


def killed_before(step: int, arguments: Sequence[str], home: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run the command in a process that ends without a word before its n-th change of the home's log.

    Returns:
        Whether it was killed.
    """
    if (child := os.fork()) == 0:
        seen = 0

        def kill(event: str, about: tuple[object, ...]) -> None:
            nonlocal seen
            seen += event in CHANGES and any(str(each).startswith(f"{home}/audit") for each in about)
            if seen > step:
                os._exit(137)

        sys.addaudithook(kill)
        os._exit(pictor(monkeypatch, *arguments))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 137)
    return code == 137


def test_whoever_is_killed_at_any_step_runs_it_again(
    home: Path,
    old_log: Sequence[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old_key, place = (home / "audit.key").read_text(), tmp_path_factory.mktemp("place")
    shutil.copytree(home, place / "before")
    step, killed = 0, True
    while killed:
        shutil.rmtree(home)
        shutil.copytree(place / "before", home)
        asked = ["audit", "restore", "--yes", "--keep"]
        kept = [place / f"kept-{step}-{attempt}" for attempt in range(4)]
        killed = killed_before(step, [*asked, str(kept[0])], home, monkeypatch)
        if killed and [entry["kind"] for entry in entries()] != ["new_log"]:
            with pytest.raises(FatalError, match="rolled back"):
                append(search_by("mallory"))
        for again in kept[1:]:
            if len(entries()) == 1 and not (home / "audit.new").exists():
                break
            pictor(monkeypatch, *asked, str(again))
        append(search_by("ann"))
        assert pictor(monkeypatch, "audit", "verify") == 0
        assert [entry["kind"] for entry in entries()] == ["new_log", "search"]
        assert (home / "audit" / "checkpoint").read_text().splitlines()[1] == "2"
        assert (home / "audit.key").read_text() != old_key
        last = [folder for folder in kept if (folder / "audit.key").exists()][-1]
        assert (last / "audit.key").read_text() == old_key
        assert (last / "audit" / "checkpoint").read_text().splitlines()[:3] == list(old_log)
        step += 1
    assert step > 8

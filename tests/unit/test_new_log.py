"""How docs/accountability.md starts a new log after a ledger was put back."""

import json
import re
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from pipeline import wiring_audit
from pipeline.adapters.ledger.schema import metadata
from pipeline.errors import FatalError
from pipeline.settings import Settings
from pipeline.types import AuditRecord
from tests.audit_records import search_by
from tests.unit.commands import Output, pictor
from tests.verifications import decision_on, search_to_verify

PAGE = (Path(__file__).parents[2] / "docs" / "accountability.md").read_text(encoding="utf-8")
[EMPTY_THE_LOG] = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
OF_THE_LOG = ("audit_", "verification")  # how the names of its tables begin


def append(*records: AuditRecord) -> None:
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        log.append(records)


def copy_rows(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


@pytest.fixture
def old_log(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """The last checkpoint of a log whose ledger was then restored from a backup: origin, size and root."""
    monkeypatch.setenv("PICTOR_AUDIT_CHECKPOINTS", str(tmp_path / "second"))
    search = search_to_verify(hits=2)
    append(search, decision_on(search, "bob"))
    copy_rows(home / "ledger.db", tmp_path / "backup.db")
    append(search_by("eve"))
    copy_rows(tmp_path / "backup.db", home / "ledger.db")
    return (home / "audit" / "checkpoint").read_text().splitlines()[:3]


def start_new_log(home: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps 2 to 4."""
    kept.mkdir()
    for name in ("audit", "audit.key"):
        shutil.move(home / name, kept / name)
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as connection:
        connection.executescript(EMPTY_THE_LOG)
    monkeypatch.setenv("PICTOR_AUDIT_CHECKPOINTS", str(kept / "second"))
    monkeypatch.setenv("PICTOR_AUDIT_ORIGIN", "audit.example.org/second")


def test_a_new_log_begins_with_the_state_at_which_the_old_one_ended(
    home: Path, old_log: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    with pytest.raises(FatalError, match="rolled back"):
        append(search_by("ann"))
    start_new_log(home, tmp_path / "kept", monkeypatch)
    named = f"new log after {' '.join(old_log)}"
    assert pictor(monkeypatch, "audit", "search", "--case", named) == 0
    append(search_by("ann"))
    capsys.readouterr()
    assert pictor(monkeypatch, "audit", "verify", "--json") == 0
    assert json.loads(capsys.readouterr().out)["size"] == 2
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        first = json.loads(next(iter(log.entries())).record or b"{}")
    assert first["details"]["query"]["case_ref"] == named
    assert (home / "audit" / "checkpoint").read_text().startswith("audit.example.org/second\n2\n")


def test_the_page_empties_every_table_of_the_log_and_no_other() -> None:
    emptied = re.findall(r"DELETE FROM (\w+);", EMPTY_THE_LOG)
    assert sorted(emptied) == sorted(name for name in metadata.tables if name.startswith(OF_THE_LOG))

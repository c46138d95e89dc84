"""What `pictor doctor` says of the room on disks."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.cli.doctor import Finding, examine
from pipeline.settings import Settings

SERVER = "http://milvus:19530"
MB, GB = 2**20, 2**30


def find(component: str, settings: Settings) -> Finding:
    """Components are examined one by one: what comes later is not asked."""
    return next(finding for finding in examine(settings) if finding.component == component)


@pytest.mark.parametrize(
    ("milvus_uri", "free_bytes", "ok", "found"),
    [
        ("", 3 * GB, True, "3.0 GiB free"),
        ("", 1 * GB, False, "1.0 GiB free, 2.0 GiB are wanted"),
        (SERVER, 1 * GB, True, "1.0 GiB free"),
        (SERVER, 100 * MB, True, "100 MiB free"),
        (SERVER, 50 * MB, False, "50 MiB free, 64 MiB are wanted"),
        ("/elsewhere/milvus.db", 100 * MB, True, "100 MiB free"),
    ],
)
def test_home_needs_much_room_where_it_holds_the_index_and_little_elsewhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    milvus_uri: str,
    free_bytes: int,
    ok: bool,
    found: str,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free_bytes))
    finding = find("home", Settings(home=tmp_path / "home", milvus_uri=milvus_uri))
    assert (finding.ok, found in finding.found, bool(finding.remedy)) == (ok, True, not ok)


def test_an_index_in_another_place_needs_its_room_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_bytes = {tmp_path / "home": GB, tmp_path: 100 * MB}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free_bytes[folder]))
    settings = Settings(home=tmp_path / "home", milvus_uri=str(tmp_path / "milvus.db"))
    assert find("home", settings).ok
    finding = find("index", settings)
    assert (finding.ok, finding.found) == (False, f"{tmp_path}: 100 MiB free, 2.0 GiB are wanted")

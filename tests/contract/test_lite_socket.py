"""Who can reach Milvus Lite while an index in a folder is open: it asks for no password."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.adapters.milvus.connection import MilvusConnection
from pipeline.errors import ConfigError
from tests.unit.fakes import error_of

PROC = Path("/proc/self")


def own_sockets() -> set[str]:
    """The inodes of the sockets that this process has open."""
    targets = []
    for opened in (PROC / "fd").iterdir():
        with suppress(OSError):  # the one by which the folder is read
            targets.append(str(opened.readlink()))
    return {target[len("socket:[") : -1] for target in targets if target.startswith("socket:[")}


def rows_of(table: str) -> list[list[str]]:
    return [line.split() for line in (PROC / "net" / table).read_text().splitlines()[1:]]


def listening_ports() -> set[str]:
    """Of this process, on any address."""
    ours = own_sockets()
    return {row[1] for row in rows_of("tcp") + rows_of("tcp6") if row[3] == "0A" and row[9] in ours}


def rooms() -> set[Path]:
    """The folders of this process' sockets."""
    ours = own_sockets()
    bound = {Path(row[7]).parent for row in rows_of("unix") if len(row) > 7 and row[6] in ours}
    return {folder for folder in bound if folder.name.startswith("pictor-")}


def test_it_listens_on_a_socket_that_no_other_user_reaches(tmp_path: Path) -> None:
    before = listening_ports()
    umask = os.umask(0)
    try:
        connection = MilvusConnection(str(tmp_path / "milvus.db"), token="", timeout_s=30)
    finally:
        os.umask(umask)
    assert listening_ports() == before
    [room] = rooms()
    assert stat.S_IMODE(room.stat().st_mode) == 0o700
    connection.close()
    assert not room.exists()


def test_a_folder_for_temporary_files_with_a_long_path_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    connection = MilvusConnection(str(tmp_path / "milvus.db"), token="", timeout_s=30)
    assert connection.server_version().startswith("Milvus Lite")
    connection.close()


def test_an_index_that_cannot_be_opened_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "milvus.db").write_text("a file")
    open_it = lambda: MilvusConnection(str(tmp_path / "milvus.db"), token="", timeout_s=1)  # noqa: E731
    assert "is a file" in error_of(open_it, ConfigError)
    assert [path.name for path in tmp_path.iterdir()] == ["milvus.db"]

"""The home is one user's: made so, and closed where it was made otherwise."""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import wiring
from pipeline.cli import rights
from pipeline.errors import ConfigError
from pipeline.home import make_private
from pipeline.settings import Settings
from tests.unit.fakes import error_of


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """Each test may choose one."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def rights_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_home(folder: Path) -> Path:
    """As an earlier version made it."""
    os.umask(0)
    home = folder / "home"
    for name in ("milvus.db", "run", "models", "locks"):
        (home / name).mkdir(parents=True)
    for name in ("ledger.db", "ledger.db-wal", "host"):
        (home / name).touch()
    return home


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
def test_a_new_home_is_its_users_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    os.umask(umask)
    wiring.make_home(Settings(home=tmp_path / "home"))
    assert rights_of(tmp_path / "home") == 0o700


def test_what_was_open_to_others_is_closed_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = open_home(tmp_path)
    logging.getLogger().setLevel(logging.ERROR)  # as in a command
    make_private(home)
    assert {path.name: rights_of(path) for path in [home, *home.iterdir()]} == {
        **dict.fromkeys(("home", "milvus.db", "run", "models", "locks"), 0o700),
        **dict.fromkeys(("ledger.db", "ledger.db-wal", "host"), 0o600),
    }
    assert "other users could read PICTOR_HOME" in caplog.text
    caplog.clear()
    make_private(home)
    assert caplog.text == ""


def test_of_a_folder_that_holds_other_things_only_ours_are_closed(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    (home / "letters").mkdir()
    make_private(home)
    assert (rights_of(home), rights_of(home / "letters")) == (0o777, 0o777)
    assert rights_of(home / "ledger.db") == 0o600


def test_a_link_out_of_the_home_is_not_followed(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (home / "models").rmdir()
    (home / "models").symlink_to(elsewhere)
    make_private(home)
    assert rights_of(elsewhere) == 0o777


def test_the_home_of_another_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = open_home(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 10001)  # a container's, whose volume is root's
    make_private(home)
    assert rights_of(home) == 0o777


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert "is not a folder" in error_of(lambda: make_private(tmp_path / "home"), ConfigError)


def test_a_result_has_the_rights_that_the_shell_asks_for(tmp_path: Path) -> None:
    os.umask(0o027)
    rights.keep_private()
    result, other = tmp_path / "hits.html", tmp_path / "ledger.db"
    result.touch()
    other.touch()
    rights.share(result)
    assert (rights_of(result), rights_of(other)) == (0o640, 0o600)

"""Who drives a job that this process runs, and where its lock is."""

import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline import wiring
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.types import embedded_on


def test_a_job_run_here_is_driven_by_this_host(tmp_path: Path) -> None:
    assert wiring.driver_here(Settings(home=tmp_path / "new")) == embedded_on(socket.gethostname())


def test_a_home_keeps_its_host_where_host_names_change(tmp_path: Path) -> None:
    """A container's name is another at each start; its home is a volume."""
    wiring.driver_here(Settings(home=tmp_path))
    (tmp_path / "host").write_text("0a1b2c3d4e5f\n")
    assert wiring.driver_here(Settings(home=tmp_path)) == "embedded:0a1b2c3d4e5f"


def test_a_host_that_cannot_be_read_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    with pytest.raises(ConfigError, match="host cannot be read or written"):
        wiring.driver_here(Settings(home=tmp_path))


@pytest.mark.parametrize("home", ["one", "another"])
def test_locks_are_beside_a_ledger_that_is_a_file(tmp_path: Path, home: str) -> None:
    shared = SecretStr(f"sqlite:///{tmp_path}/shared/ledger.db")
    assert wiring.job_locks(Settings(home=tmp_path / home, ledger_url=shared)) == tmp_path / "shared/locks"


def test_locks_are_in_the_home_with_a_ledger_of_its_own_or_on_a_server(tmp_path: Path) -> None:
    server = SecretStr("postgresql://user:password@host/database")
    assert wiring.job_locks(Settings(home=tmp_path)) == tmp_path / "locks"
    assert wiring.job_locks(Settings(home=tmp_path, ledger_url=server)) == tmp_path / "locks"

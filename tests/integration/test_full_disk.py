"""A worker's signs on a disk that is really full."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import PictorError
from tests.conftest import missing
from workers.process.signs import drains, make_signs, sign_drains, sign_stopped, why_stopped


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Four pages, and a dozen files."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k,nr_inodes=12", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        missing(f"no disk can be mounted here: {mounted.stderr.decode(errors='replace').strip()}")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def fill(folder: Path) -> None:
    """Its room, then its list of files."""
    with pytest.raises(OSError, match="No space left"):
        (folder / "filler").write_bytes(bytes(2**20))
    with pytest.raises(OSError, match="No space left"):
        make_files(folder, 100)


def make_files(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"filler-{number}").touch()


def test_a_full_disk_keeps_no_worker_from_draining_and_stopping(tiny_disk: Path) -> None:
    make_signs(tiny_disk)
    fill(tiny_disk)
    sign_stopped(tiny_disk, PictorError("the device is lost"))
    sign_drains(tiny_disk)
    assert (drains(tiny_disk), why_stopped(tiny_disk)) == (True, "its log says why")

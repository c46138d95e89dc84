"""A file of models takes its place whole, or not at all."""

import os
import stat
import time
from pathlib import Path

import pytest

from pipeline.adapters.models.whole_file import open_whole, write_whole
from pipeline.errors import ModelError


def break_off(path: Path) -> None:
    with open_whole(path) as file:
        file.write(b"half")
        raise ModelError("not what was promised")


def test_a_file_is_written_into_a_folder_that_is_made_for_it_and_others_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "made" / "for" / "it.json"

    write_whole(path, b"whole")

    assert path.read_bytes() == b"whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [file.name for file in path.parent.iterdir()] == ["it.json"]


def test_what_was_there_stays_until_the_last_byte_is_written(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(b"before")

    with open_whole(path) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"

    assert path.read_bytes() == b"after"


def test_a_writer_that_fails_leaves_what_was_there_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(b"before")

    with pytest.raises(ModelError, match="not what was promised"):
        break_off(path)

    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["note.json"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "note.json"

    with open_whole(path) as first, open_whole(path) as second:
        first.write(b"first")
        second.write(b"second")

    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["note.json"]


def test_what_a_killed_writer_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    left, fresh, of_a_download = (tmp_path / f".part-{name}" for name in ("abcd_123", "abcd_124", "0" * 16))
    for part in (left, fresh, of_a_download):
        part.write_bytes(b"half")
    for part in (left, of_a_download):
        os.utime(part, (time.time() - 3700, time.time() - 3700))
    write_whole(tmp_path / "w", b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([fresh, of_a_download, tmp_path / "w"])

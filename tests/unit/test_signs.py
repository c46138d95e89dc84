"""How a worker ends on a disk that takes nothing more."""

import errno
import os
import signal
from pathlib import Path
from typing import NoReturn

import pytest

from pipeline.errors import FatalError, PictorError
from tests.unit.fakes import Signals, error_of, identity_of
from workers.identity import WORKER_VARIABLE, tell_children
from workers.process.context import stop_worker
from workers.process.lifecycle import mark_stopping
from workers.process.signs import drains, make_signs, sign_stopped, why_stopped

REASON = PictorError("the device is lost")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a worker that has started, and whose child this process is."""
    monkeypatch.setenv(WORKER_VARIABLE, "")
    tell_children(identity_of(tmp_path, main_pid=os.getppid()))
    make_signs(tmp_path)
    return tmp_path


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be made or written; names can be changed and removed."""

    def full(path: Path, *_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    for write in ("touch", "write_text", "write_bytes", "mkdir"):
        monkeypatch.setattr(Path, write, full)


def test_the_signal_comes_before_all_that_can_fail_or_hang(
    folder: Path, signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_before: list[int] = []
    monkeypatch.setattr(Path, "rename", lambda *_: sent_before.append(len(signals)))
    stop_worker(REASON)
    assert signals == [(os.getppid(), signal.SIGTERM)]
    assert sent_before == [1]


def test_on_a_full_disk_a_worker_stops_and_is_known_to_have_stopped_itself(
    folder: Path, signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch)
    stop_worker(REASON)
    assert signals == [(os.getppid(), signal.SIGTERM)]
    assert why_stopped(folder) == "its log says why"


def test_on_a_full_disk_a_child_that_takes_no_task_hears_that_its_worker_drains(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch)
    assert not drains(folder)
    mark_stopping()
    assert drains(folder)


def test_a_worker_that_was_told_to_end_did_not_stop_itself(folder: Path) -> None:
    mark_stopping()
    mark_stopping()
    assert why_stopped(folder) == ""


def test_the_last_reason_of_several_children_is_kept(folder: Path) -> None:
    sign_stopped(folder, PictorError("first"))
    sign_stopped(folder, REASON)
    assert why_stopped(folder) == "the device is lost"


def test_a_worker_does_not_start_where_it_could_not_say_that_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch)
    assert "No space left on device" in error_of(lambda: make_signs(tmp_path), FatalError)

"""What a worker's main process tells the processes that it starts."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import FatalError, PictorError
from tests.unit.fakes import Signals, identity_of
from workers.identity import (
    WORKER_VARIABLE,
    Identity,
    folder_of_worker,
    share_metrics_in,
    tell_children,
    told_identity,
)
from workers.process.context import stop_worker

REASON = PictorError("the device is lost")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test tells is forgotten after it."""
    monkeypatch.setenv(WORKER_VARIABLE, "")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/somebody/else")


def test_a_process_is_told_all_of_it(tmp_path: Path) -> None:
    identity = replace(identity_of(tmp_path / "ä b"), queues=("plan", "search"))
    tell_children(identity)
    assert told_identity() == identity
    command = [sys.executable, "-c", "from workers.identity import told_identity as x; print(x().folder)"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"{identity.folder}\n"


@pytest.mark.parametrize("environ", [{}, {WORKER_VARIABLE: ""}, {WORKER_VARIABLE: '{"folder": "/run"}'}])
def test_a_process_that_no_worker_started_says_so(environ: dict[str, str]) -> None:
    with pytest.raises(FatalError, match="no worker has started this process"):
        Identity.from_env(environ)


def test_a_worker_is_known_by_its_processes(tmp_path: Path) -> None:
    env = os.environ | identity_of(tmp_path).to_env()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"\n"  # it runs: before, its environment is empty
        assert folder_of_worker(process.pid) == tmp_path
    assert folder_of_worker(process.pid) is None
    assert folder_of_worker(os.getpid()) is None


def test_prometheus_is_told_of_our_folder_or_of_none(tmp_path: Path) -> None:
    share_metrics_in(tmp_path)
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(tmp_path)
    share_metrics_in(None)
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_a_child_that_stops_its_worker_says_why(tmp_path: Path, signals: Signals) -> None:
    tell_children(identity_of(tmp_path, main_pid=os.getppid()))
    stop_worker(REASON)
    assert (tmp_path / "stopped").read_text() == "the device is lost\n"
    assert signals == [(os.getppid(), signal.SIGTERM)]


def test_a_worker_stops_even_where_the_reason_cannot_be_written(tmp_path: Path, signals: Signals) -> None:
    tell_children(identity_of(tmp_path / "gone", main_pid=os.getppid()))
    stop_worker(REASON)
    assert signals == [(os.getppid(), signal.SIGTERM)]


def test_a_child_whose_worker_has_ended_signals_nobody_else(tmp_path: Path, signals: Signals) -> None:
    tell_children(identity_of(tmp_path, main_pid=os.getpid()))  # which is not this process's parent
    stop_worker(REASON)
    assert signals == []

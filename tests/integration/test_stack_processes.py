"""Processes and ports of the local services: never a stranger's."""

import os
import socket
import sys
from pathlib import Path
from signal import SIGKILL, SIGSTOP, SIGTERM

import pytest

from devstack.ports import Reservation
from devstack.process import Launch, ProcessId, end, freeze, members, wait_until


def test_a_recycled_pid_is_left_alone(tmp_path: Path) -> None:
    stranger = launch(tmp_path, "sleep", "60").spawn()
    recycled = ProcessId(pid=stranger.pid, started_ticks=stranger.started_ticks - 1)
    assert not recycled.is_alive()
    recycled.signal(SIGKILL)
    end([recycled], first=SIGKILL, patience_s=0)
    assert stranger.is_alive()
    end([stranger], first=SIGKILL, patience_s=5)
    assert not stranger.is_alive()


def test_an_end_takes_frozen_processes_and_children_along(tmp_path: Path) -> None:
    parent = launch(tmp_path, "sh", "-c", "trap '' TERM; sleep 60 & sleep 60 & echo ready; wait").spawn()
    assert wait_until(lambda: "ready" in (tmp_path / "log").read_text(), 10)
    children = [process for process in members(tmp_path) if process != parent]
    assert len(children) == 2
    parent.signal(SIGSTOP)
    end([parent], first=SIGTERM, patience_s=0.2)
    assert members(tmp_path) == []


def test_a_process_is_stopped_with_all_its_threads_and_children(tmp_path: Path) -> None:
    program = (
        "import threading as t; [t.Thread(target=t.Event().wait).start() for _ in range(50)]; print('ready')"
    )
    parent = launch(tmp_path, "sh", "-c", f'{sys.executable} -c "{program}" & sleep 60 & wait').spawn()
    assert wait_until(lambda: "ready" in (tmp_path / "log").read_text(), 10)
    freeze([parent])
    everyone = members(tmp_path)
    assert len(everyone) == 3
    assert all(process.is_stopped() for process in everyone)
    end([parent], first=SIGTERM, patience_s=0.2)


def test_a_reserved_port_is_free_for_its_server_and_taken_for_others() -> None:
    reservation, other = Reservation(), Reservation()
    port = reservation.take()
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", port))
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        reservation.release()
        assert is_listening(port)
    assert other.take() != port
    other.release()


def launch(tmp_path: Path, *argv: str) -> Launch:
    environment = os.environ | {"PICTOR_STACK_MEMBER": str(tmp_path)}
    return Launch(argv=argv, environment=environment, cwd=tmp_path, log=tmp_path / "log")


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

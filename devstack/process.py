"""Processes by pid and start time: a pid that the kernel has given to somebody else is never signalled."""

import os
import pwd
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from devstack.errors import StackError

MEMBER = "PICTOR_STACK_MEMBER"  # in the environment of every process of a stack: the stack's directory

_POLL_S = 0.05
_children: dict[int, subprocess.Popen[bytes]] = {}  # ours, to be reaped; others' children are init's


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    pid: int
    started_ticks: int  # since boot

    def is_alive(self) -> bool:
        _reap(self.pid)
        return _stat(self.pid) == self

    def signal(self, number: signal.Signals) -> None:
        if self.is_alive():
            with suppress(ProcessLookupError):  # it may end between the two lines
                os.kill(self.pid, number)

    def is_stopped(self) -> bool:
        """Whether all of its threads are. The signal stops one, which then has to run to stop the others."""
        try:
            return self.is_alive() and all(state == "T" for state in _thread_states(self.pid))
        except OSError:
            return False  # a thread ended meanwhile

    def resident_bytes(self) -> int:
        with suppress(OSError):
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
            return int(pages) * resource.getpagesize()
        return 0


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start one process."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    log: Path
    user: str | None = None  # only root can name one

    def spawn(self) -> ProcessId:
        """Start it in a session of its own, so that Ctrl-C in our terminal is not sent to it."""
        with self._open_log() as log:
            child = subprocess.Popen(
                self.argv,
                env=dict(self.environment),
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.user,
                group=self._group(),
                extra_groups=[] if self.user else None,
            )
        _children[child.pid] = child
        with suppress(ProcessLookupError, PermissionError):
            resource.prlimit(child.pid, resource.RLIMIT_CORE, (0, 0))  # chaos tests must not fill the disk
        started = _stat(child.pid)
        if started is None:
            raise StackError(f"{self.argv[0]} ended at once\n{tail(self.log)}")
        return started

    def run(self, timeout_s: float = 60) -> None:
        """Run it to its end. Raises StackError with the end of its output when it fails."""
        with self._open_log() as log:
            try:
                done = subprocess.run(
                    self.argv,
                    env=dict(self.environment),
                    cwd=self.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=timeout_s,
                    user=self.user,
                    group=self._group(),
                    extra_groups=[] if self.user else None,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise StackError(f"{self.argv[0]} took over {timeout_s} s\n{tail(self.log)}") from None
        if done.returncode != 0:
            raise StackError(f"{self.argv[0]} failed with status {done.returncode}\n{tail(self.log)}")

    def _open_log(self) -> IO[bytes]:
        """Private, because programs may print the secrets that they were given."""
        return os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

    def _group(self) -> int | None:
        return pwd.getpwnam(self.user).pw_gid if self.user else None


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether the condition came true before the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def tail(log: Path, lines: int = 15) -> str:
    with suppress(OSError):
        return f"{log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return f"{log}: no log"


def end(processes: Iterable[ProcessId], *, first: signal.Signals, patience_s: float) -> None:
    """End processes and all their children; returns when none is left.

    Args:
        first: the polite signal, sent to the processes alone; who is left after patience_s is killed.
    """
    roots = list(processes)
    everyone = families(roots)
    for process in roots:
        process.signal(first)
    for process in everyone:
        process.signal(signal.SIGCONT)  # a frozen process would never see the first signal
    if not wait_until(lambda: not any(process.is_alive() for process in everyone), patience_s):
        kill(everyone)


def kill(processes: Iterable[ProcessId]) -> None:
    """SIGKILL processes and all their children, and wait until they are gone."""
    everyone = families(processes)
    for process in everyone:
        process.signal(signal.SIGKILL)
    if not wait_until(lambda: not any(process.is_alive() for process in everyone), 10):
        raise StackError(f"pids {[p.pid for p in everyone if p.is_alive()]} live on 10 s after SIGKILL")


def freeze(processes: Iterable[ProcessId]) -> None:
    """SIGSTOP processes and all their children, and wait until none of their threads runs."""
    everyone = families(processes)
    for process in everyone:
        process.signal(signal.SIGSTOP)
    if not wait_until(
        lambda: all(process.is_stopped() or not process.is_alive() for process in everyone), 10
    ):
        raise StackError(f"pids {[p.pid for p in everyone if not p.is_stopped()]} run on 10 s after SIGSTOP")


def families(roots: Iterable[ProcessId]) -> list[ProcessId]:
    """The living ones of these processes and all their descendants, parents first."""
    children: dict[int, list[ProcessId]] = {}
    for pid in _all_pids():
        with suppress(OSError):
            _, parent, started_ticks = _state_and_fields(pid)
            children.setdefault(parent, []).append(ProcessId(pid=pid, started_ticks=started_ticks))
    found = [root for root in roots if root.is_alive()]
    for process in found:  # grows while it is read
        found += [child for child in children.get(process.pid, []) if child not in found]
    return found


def members(stack_dir: Path) -> list[ProcessId]:
    """Every living process that was started for this directory, by whomever."""
    mark = f"{MEMBER}={stack_dir}".encode()
    found = []
    for pid in _all_pids():
        with suppress(OSError):
            process = _stat(pid)
            if process and mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(process)
    return found


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208 - names only


def _stat(pid: int) -> ProcessId | None:
    try:
        state, _, started_ticks = _state_and_fields(pid)
    except OSError:
        return None
    # A zombie has ended. In a container whose first process reaps nobody it stays listed for ever.
    return None if state in "ZX" else ProcessId(pid=pid, started_ticks=started_ticks)


def _thread_states(pid: int) -> list[str]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [_fields((thread / "stat").read_text(errors="replace"))[0] for thread in threads]


def _state_and_fields(pid: int) -> tuple[str, int, int]:
    """State, parent's pid and start time."""
    fields = _fields(Path(f"/proc/{pid}/stat").read_text(errors="replace"))
    return fields[0], int(fields[1]), int(fields[19])


def _fields(stat: str) -> list[str]:
    """From the third on. The second, the name, may hold spaces and brackets."""
    return stat.rpartition(")")[2].split()


def _reap(pid: int) -> None:
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        _children.pop(pid, None)

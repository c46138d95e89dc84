"""The life of one service. Each service says how it is prepared, launched and asked whether it answers."""

import os
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from devstack.errors import StackError
from devstack.ports import Reservation
from devstack.process import MEMBER, Launch, ProcessId, end, families, freeze, kill, tail, wait_until
from devstack.record import Record

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"  # servers live where users do not look

_DISCARD_PATIENCE_S = 1.0


class Service(ABC):
    """One service in its own directory, with its own ports and secrets, which it keeps until it is removed.

    Objects for the same directory are interchangeable. All state is on disk, so one command can start a
    service and another stop it. Not safe to use from two threads at once.
    """

    name: ClassVar[str]
    start_timeout_s: ClassVar[float] = 90.0  # they take 2 to 8 s, on a busy machine several times that
    stop_timeout_s: ClassVar[float] = 20.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, stack_dir: Path) -> None:
        self.stack_dir = stack_dir.resolve()
        self.home = self.stack_dir / self.name
        self._record = Record.load(self._record_file)
        self._reservation = Reservation()

    # Each service has its own

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """A message if something is not installed, else None."""

    @abstractmethod
    def _prepare(self) -> None:
        """Choose ports and secrets and write configuration and empty data. Called once, in an empty home."""

    @abstractmethod
    def _launch(self) -> None:
        """Start the processes that are not alive, and wait until the service answers."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client gets a sensible answer now."""

    @abstractmethod
    def variables(self) -> dict[str, str]:
        """The environment variables through which Pictor and its tests find this service."""

    def _targets(self) -> list[ProcessId]:
        """The processes that stop, kill, freeze and thaw act on: those that a client talks to."""
        return list(self._record.processes.values())

    # Its life

    def start(self) -> None:
        """Returns when it answers. Starting a service that answers changes nothing."""
        self.reload()
        try:
            if not self._record.prepared:
                self._begin()
            self._launch()
        finally:
            self._reservation.release()

    def stop(self) -> None:
        """An orderly end, or after stop_timeout_s a SIGKILL. Data, ports and secrets stay."""
        self.reload()
        end(self._targets(), first=self.stop_signal, patience_s=self.stop_timeout_s)

    def kill(self) -> None:
        """SIGKILL, as a crash or the out-of-memory killer would. start() brings it back with its data."""
        self.reload()
        kill(self._targets())

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections are accepted and never answered, as on a hanging host."""
        self.reload()
        freeze(self._targets())

    def thaw(self) -> None:
        self.reload()
        for process in families(self._targets()):
            process.signal(signal.SIGCONT)

    def discard(self) -> None:
        """Stop it and delete its data, ports and secrets. Quick, because there is nothing to save."""
        self.reload()
        end(self._record.processes.values(), first=self.stop_signal, patience_s=_DISCARD_PATIENCE_S)
        self._remove_places()
        shutil.rmtree(self.home, ignore_errors=True)
        self._record = Record()

    def reload(self) -> None:
        """Read the record again, since another command may have changed it."""
        self._record = Record.load(self._record_file)

    @property
    def is_prepared(self) -> bool:
        return self._record.prepared

    @property
    def ports(self) -> Mapping[str, int]:
        return self._record.ports

    @property
    def processes(self) -> Mapping[str, ProcessId]:
        return self._record.processes

    # For the services

    def _begin(self) -> None:
        absent = self.missing()
        if absent:
            raise StackError(absent)
        self.discard()  # half of an earlier, interrupted preparation
        self.home.mkdir(parents=True)
        self.home.chmod(0o711)  # PostgreSQL's own user must reach its data below
        self._prepare()
        self._record.prepared = True
        self._save()

    def _take_ports(self, *names: str) -> None:
        self._record.ports = {name: self._reservation.take() for name in names}

    def _launch_of(self, argv: list[str], log: str, user: str | None = None, **environment: str) -> Launch:
        # A clean environment: a RABBITMQ_… or PG… of the caller's must not reach our server.
        own = {"PATH": _PATH, "HOME": str(self.home), "LANG": "C.UTF-8", MEMBER: str(self.stack_dir)}
        return Launch(
            argv=argv, environment=own | environment, cwd=self.home, log=self.home / f"{log}.log", user=user
        )

    def _spawn(
        self, process: str, argv: list[str], user: str | None = None, **environment: str
    ) -> ProcessId | None:
        """Start a process unless it is alive, and remember it at once. None when it was alive."""
        known = self._record.processes.get(process)
        if known and known.is_alive():
            return None
        started = self._launch_of(argv, process, user, **environment).spawn()
        self._record.processes[process] = started
        self._save()
        return started

    def _wait(self, condition: Callable[[], bool], process: str) -> None:
        """Wait for a condition that `process` must bring about; ends early when the process does."""
        running = self._record.processes[process]
        came = wait_until(lambda: condition() or not running.is_alive(), self.start_timeout_s)
        if not came or not running.is_alive():
            state = "does not answer" if running.is_alive() else "ended"
            raise StackError(f"{self.name}: {process} {state}\n{tail(self.home / f'{process}.log')}")

    def _remove_places(self) -> None:
        for place in map(Path, self._record.places.values()):
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)

    def _save(self) -> None:
        self._record.save(self._record_file)

    @property
    def _record_file(self) -> Path:
        return self.home / "service.json"

"""All services of one directory together."""

import fcntl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack import variables
from devstack.ceph import Ceph
from devstack.errors import PackagesMissingError, StackError
from devstack.flower import Flower
from devstack.milvus import Milvus
from devstack.postgres import Postgres
from devstack.process import families, kill, members
from devstack.rabbitmq import RabbitMQ
from devstack.service import Service

SERVICES: dict[str, type[Service]] = {kind.name: kind for kind in (RabbitMQ, Ceph, Milvus, Postgres)}

_MARK = "made-by-pictor-stack"  # only a directory that holds it is removed
_LOCK = "lock"


@dataclass(frozen=True, kw_only=True)
class Status:
    """One line of `status`."""

    name: str
    state: str
    pids: tuple[int, ...]
    ports: tuple[int, ...]
    resident_bytes: int


class Stack:
    """The services below one directory. Objects for the same directory are interchangeable."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()

    @property
    def environment_file(self) -> Path:
        return self.directory / variables.FILE_NAME

    def up(self, names: Iterable[str], *, flower: bool = False, tell: Callable[[str], None] = print) -> None:
        """Start services and wait until each answers. Those that answer already are left as they are.

        Raises:
            PackagesMissingError: before anything is started, when one is not installed.
            StackError: when one does not come up. Then all are stopped, and their logs are kept.
        """
        services = [SERVICES[name](self.directory) for name in names]
        _require_installed([*services, *([Flower(self.directory)] if flower else [])])
        self.make_directory()
        with self._locked():
            try:
                _in_parallel(services, lambda service: _start(service, tell))
                if flower:
                    self._start_flower(tell)
            except BaseException:  # also Ctrl-C: half a stack is of no use, and must not stay behind
                kill(members(self.directory))
                raise
            variables.write(self.environment_file, self.variables())

    def down(self) -> None:
        """Stop every process that belongs to the directory and delete its files.

        Raises:
            StackError: when a process survives SIGKILL.
        """
        if not self.directory.is_dir():
            return
        _in_parallel(self._present(), lambda service: service.discard())
        kill(members(self.directory))  # whatever lost its parent or its entry in a record
        for name in (variables.FILE_NAME, _LOCK):
            (self.directory / name).unlink(missing_ok=True)
        mark = self.directory / _MARK
        if mark.exists():
            mark.unlink()
            self.directory.rmdir()  # not rmtree: whatever else is in there is not ours

    def status(self) -> list[Status]:
        return [_status(service) for service in self._present()]

    def variables(self) -> dict[str, str]:
        """The variables of all services that were ever started here."""
        # The file names itself: whoever has read it can also stop and start the services.
        found = {"PICTOR_STACK_ENV": str(self.environment_file)}
        for service in self._present():
            if service.is_prepared:
                found |= service.variables()
        return found

    def _present(self) -> list[Service]:
        kinds: list[type[Service]] = [*SERVICES.values(), Flower]
        return [kind(self.directory) for kind in kinds if (self.directory / kind.name).is_dir()]

    def _start_flower(self, tell: Callable[[str], None]) -> None:
        service = Flower(self.directory)
        service.connect_to(self.variables())
        _start(service, tell)

    def make_directory(self) -> None:
        """Done by up() too. A directory that is there already stays when everything else goes."""
        try:
            self.directory.mkdir(parents=True)
        except FileExistsError:
            return
        self.directory.chmod(0o711)  # PostgreSQL's user must get through; secrets are in files of 0600
        (self.directory / _MARK).touch()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two commands at once would start everything twice."""
        with (self.directory / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _require_installed(services: Iterable[Service]) -> None:
    missing = [absent for service in services if (absent := service.missing())]
    if missing:
        raise PackagesMissingError("; ".join(missing))


def _start(service: Service, tell: Callable[[str], None]) -> None:
    if service.answers():
        return
    begun = time.monotonic()
    service.start()
    tell(f"{service.name} answers after {time.monotonic() - begun:.1f} s")


def _in_parallel(services: Sequence[Service], do: Callable[[Service], None]) -> None:
    """Raises one StackError with the messages of all that failed, after all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, len(services)), thread_name_prefix="stack") as pool:
        futures = [pool.submit(do, service) for service in services]
        try:
            failures = [future.exception() for future in futures]
        except BaseException:
            # Ctrl-C: the threads wait for answers of servers, and without servers they give up at once.
            for service in services:
                kill(members(service.stack_dir))
            raise
    for failure in failures:
        if failure and not isinstance(failure, StackError):
            raise failure
    if any(failures):
        raise StackError("\n".join(str(failure) for failure in failures if failure))


def _status(service: Service) -> Status:
    alive = families(service.processes.values())
    return Status(
        name=service.name,
        state=_state(service, frozen=any(process.is_stopped() for process in alive), alive=bool(alive)),
        pids=tuple(process.pid for process in service.processes.values() if process.is_alive()),
        ports=tuple(service.ports.values()),
        resident_bytes=sum(process.resident_bytes() for process in alive),
    )


def _state(service: Service, *, frozen: bool, alive: bool) -> str:
    if not alive:
        return "stopped"
    if frozen:
        return "frozen"
    return "answers" if service.answers() else "does not answer"

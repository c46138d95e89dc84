"""A whole system to disturb: real services, workers with the crash hook, and a supervisor over them."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from devstack.stack import SERVICES, Stack
from tests.fleet import Fleet, Worker, own_place
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server, Server

HOOK = {"PYTHONPATH": str(Path(__file__).resolve().parent / "crash_hook")}
CHECK_S = 0.2


class Supervisor(threading.Thread):
    """Restarts each worker whose main process ends, as an orchestrator does, until it is left."""

    def __init__(self, fleet: Fleet, roles: Mapping[str, tuple[str, int]]) -> None:
        """Args: `roles` are queues and number of children by the name of the worker."""
        super().__init__(name="supervisor", daemon=True)
        self._fleet = fleet
        self._roles = roles
        self._lock = threading.Lock()  # a worker is started by one thread at a time
        self._over = threading.Event()
        self.workers: dict[str, Worker] = {}
        self.exits: Counter[int] = Counter()  # exit codes of workers that ended

    def __enter__(self) -> Self:
        for name in self._roles:
            self._start_worker(name)
        for worker in self.workers.values():
            worker.ready()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(CHECK_S):
            for name, worker in list(self.workers.items()):
                status = worker.process.poll()
                if status is not None and not worker.pids():
                    self.exits[status] += 1
                    self._start_worker(name)

    def kill_main(self, rng: random.Random) -> str | None:
        """SIGKILL to the main process of some worker. Returns its name, None when none is up."""
        names = [name for name, worker in self.workers.items() if worker.process.poll() is None]
        if not names:
            return None
        name = rng.choice(sorted(names))
        self.workers[name].process.kill()
        return name

    def kill_child(self, rng: random.Random) -> str | None:
        """SIGKILL to a warm child of some worker."""
        found = [(name, pid) for name, worker in self.workers.items() for pid in worker.children_pids()]
        if not found:
            return None
        name, pid = rng.choice(sorted(found))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return name
        return None

    def log_lines(self, text: str) -> int:
        """How many lines of all logs hold a text."""
        return sum(
            text in line
            for worker in self._fleet.workers
            for line in worker.log_file.read_text(errors="replace").splitlines()
        )

    def _start_worker(self, name: str) -> None:
        queues, children = self._roles[name]
        with self._lock:
            self.workers[name] = self._fleet.start(
                queues=queues, children=children, name=name, extra_env=HOOK
            )


@contextmanager
def servers_of(stack: Stack) -> Iterator[dict[str, Server]]:
    """The servers of a running stack, by name. They answer again afterwards, whatever was done to them."""
    kinds: tuple[type[Server], ...] = (RabbitMQServer, S3Server, MilvusServer, PostgresServer)
    found: dict[str, Server] = {}
    for kind in kinds:
        service = SERVICES[kind.kind.name](stack.directory)
        found[kind.kind.name] = kind(env=service.variables(), service=service)
    try:
        yield found
    finally:
        for server in found.values():
            server.thaw()
            server.start()


@contextmanager
def place_on(stack: Stack, folder: Path, **more: str) -> Iterator[tuple[dict[str, str], dict[str, Server]]]:
    """The environment of a system of its own on a running stack, and the servers, to disturb.

    Args:
        folder: for its home and its workers' logs; made if need be.
        more: further variables of the environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        servers_of(stack) as servers,
        own_place(
            cast("RabbitMQServer", servers["rabbitmq"]),
            cast("S3Server", servers["s3"]),
            cast("MilvusServer", servers["milvus"]),
            cast("PostgresServer", servers["postgres"]),
            folder,
            **more,
        ) as env,
    ):
        yield env, servers

"""Pictor spread over real worker processes, which stay up between the rounds of a measurement."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.contestants.clock import Clocked
from benchmarks.contestants.embedded import check
from benchmarks.processes import Ran
from devstack.stack import Stack
from pipeline import wiring
from pipeline.settings import Settings
from pipeline.types import ModelSpec
from tests.chaos.system import place_on
from tests.fleet import JOB_S, Fleet

BATCH_ITEMS = Settings.model_fields["batch_items"].default  # the fleet's own are for tests, and smaller

Workers = Sequence[tuple[str, int]]  # queue and children of each worker

# As in compose.yaml and k8s/: one child for each embed worker, with every core. The planner needs none.
INLINE: Workers = (("plan", 1), ("embed", 1))
STAGED: Workers = (("plan", 1), ("prepare", 1), ("embed", 1))


class Distributed:
    """A planner and workers on the servers of a stack, with a virtual host, database and home of its own."""

    def __init__(
        self, stack: Stack, folder: Path, model_file: Path, workers: Workers = INLINE, **settings: str
    ) -> None:
        """Args: `settings` are further variables of the workers' environment, such as PICTOR_PRECISION."""
        self._stack = stack
        self._folder = folder
        self._planned_workers = workers
        self._more = {
            "PICTOR_MODEL": str(model_file),
            "PICTOR_PREPARATION": "staged" if any(queue == "prepare" for queue, _ in workers) else "inline",
            "PICTOR_BATCH_ITEMS": str(BATCH_ITEMS),
            "PICTOR_LOG_LEVEL": "WARNING",
            **settings,
        }
        self._opened = ExitStack()
        self._jobs = 0

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            env, _ = opened.enter_context(place_on(self._stack, self._folder, **self._more))
            self.fleet = opened.enter_context(Fleet(env, self._folder))
            self.fleet.init()
            self.workers = [
                self.fleet.start(queues=queue, children=children, name=f"{queue}-{number}")
                for number, (queue, children) in enumerate(self._planned_workers)
            ]
            for worker in self.workers:
                worker.ready()
            self._spec = load_spec(self.fleet.settings)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def ingest(self, source: str, *, timeout_s: float = JOB_S) -> Ran:
        """One job over an `s3://` source into a new collection, from its submission to its last report.

        Raises:
            RuntimeError: not every image was embedded.
        """
        collection = self._new_collection()
        submitted = time.time()
        job = self.fleet.wait_for_job(self.fleet.submit(source, collection=collection), timeout_s=timeout_s)
        check(job)
        assert job.finished_at
        seconds = job.finished_at.timestamp() - submitted  # the ledger's time: to poll is not exact
        clocked = Clocked(images=job.counts.indexed, seconds=seconds, warm_seconds=seconds)
        return Ran(clocked=clocked, process_seconds=seconds)

    def submit(self, source: str) -> str:
        """Submit a job into a new collection. Returns its id."""
        return self.fleet.submit(source, collection=self._new_collection())

    def _new_collection(self) -> str:
        self._jobs += 1
        name = f"{self.fleet.settings.collection}_{self._jobs}"
        self.fleet.index.create_collection(name, self._spec)  # takes the server a second, once for ever
        return name


def load_spec(settings: Settings) -> ModelSpec:
    return wiring.load_model_spec(settings.model, settings)

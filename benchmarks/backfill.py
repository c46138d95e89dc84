"""A backfill for others to be measured beside: `python -m benchmarks.backfill`, in a process of its own.

Drawn pictures through the embedded driver into the collection PICTOR_COLLECTION, with a model that takes its
time and no core, until the process is killed.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contestants.embedded import driver_options, ignore_progress
from benchmarks.photographs import draw_jpeg
from benchmarks.processes import clean_environment
from benchmarks.synthetic import BUCKET, EndlessStore, FreeEmbedder, SleepingEmbedder
from pipeline import wiring
from pipeline.capacity import Load
from pipeline.embedded import run_job
from pipeline.ports import Deps, VectorIndex
from pipeline.service.submit import open_job
from pipeline.settings import Settings
from pipeline.types import JobRequest, embedded_on

SECONDS_PER_IMAGE = 0.005  # 200 images/s: four times what two cores of ResNet-18 could ask the index to take
OBJECTS = 10_000_000  # it is killed long before
PICTURE_PX = (96, 72)
WAIT_S, POLL_S = 300.0, 0.1  # its ledger is new, so it first reads what is in the index
SETTLE_S = 1.0  # until the server has done what it was asked for
IN_IDLE_MOMENTS = ("chrt", "--idle", "0")  # what docs/how-to/operate.md advises where workers share a machine
BATCH_ITEMS = 64  # a batch each third of a second: writes come evenly, and not in a burst each second


class BackfillError(RuntimeError):
    """The backfill wrote nothing. The message holds what it said."""


def main() -> None:
    settings = Settings.from_env()
    bodies = [draw_jpeg(*PICTURE_PX, seed=seed) for seed in range(16)]
    embedder = SleepingEmbedder(FreeEmbedder(), SECONDS_PER_IMAGE)
    with wiring.open_index(settings) as index, wiring.open_ledger(settings) as ledger:
        deps = Deps(
            store=EndlessStore(bodies, OBJECTS, "b/"),
            index=index,
            embedder=embedder,
            ledger=ledger,
            concurrency=wiring.concurrency_of(settings, Load(batches=settings.batch_threads)),
        )
        request = JobRequest(
            location=f"s3://{BUCKET}",
            bucket=BUCKET,
            prefix="",
            collection=settings.collection,
            model_name=embedder.spec.name,
            fingerprint=embedder.spec.fingerprint,
            batch_items=BATCH_ITEMS,
        )
        job, _ = open_job(request, deps, driver=embedded_on("benchmark"))
        run_job(
            job,
            deps,
            wiring.limits_of(settings),
            driver_options(settings),
            on_progress=ignore_progress,
        )


class Backfill:
    """A process that can be stopped for a while, to measure without it at nearly the same time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @contextmanager
    def stopped(self) -> Iterator[None]:
        os.kill(self._pid, signal.SIGSTOP)
        try:
            time.sleep(SETTLE_S)
            yield
        finally:
            os.kill(self._pid, signal.SIGCONT)
            time.sleep(SETTLE_S)


@contextmanager
def running_backfill(env: Mapping[str, str], index: VectorIndex, collection: str) -> Iterator[Backfill]:
    """Begins when the first rows of the backfill are in the collection.

    Raises:
        BackfillError: that did not happen.
    """
    before = count_rows(index, collection)
    with tempfile.TemporaryDirectory(prefix="bench-backfill-") as home, tempfile.TemporaryFile() as log:
        own = {"PICTOR_HOME": home, "PICTOR_LEDGER_URL": f"sqlite:///{Path(home) / 'ledger.db'}"}
        process = subprocess.Popen(
            [*IN_IDLE_MOMENTS, "setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "benchmarks.backfill"],
            env=clean_environment(dict(env) | own | {"PICTOR_COLLECTION": collection}),
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + WAIT_S
            while count_rows(index, collection) == before:
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise BackfillError(f"no row after {WAIT_S:g} s: {log.read().decode()[-2000:]}")
                time.sleep(POLL_S)
            yield Backfill(process.pid)
        finally:
            process.kill()
            process.wait(30)


def count_rows(index: VectorIndex, collection: str) -> int:
    info = index.get_collection(collection)
    return info.rows if info else 0


if __name__ == "__main__":
    main()

"""Pictor in one process: folder, Milvus Lite and SQLite, through the code that `pictor ingest` runs.

Its settings come from the environment, as always. The model is loaded and warm before the first image is
read, as it is in a worker.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torchvision  # noqa: F401 - seconds, which the others have behind them, too, when their clock starts

from benchmarks.contestants.clock import Clock, parser_of, print_result
from pipeline import wiring
from pipeline.capacity import Load
from pipeline.embedded import DriverOptions, run_job
from pipeline.ports import Deps, ImageEmbedder, VectorIndex
from pipeline.service.submit import open_job
from pipeline.settings import Settings
from pipeline.types import Job, JobRequest, JobState, embedded_on

COLLECTION = "photos"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--index", choices=("milvus", "memory"), default="milvus")
    options = parser.parse_args()
    settings = Settings.from_env()
    loading = time.perf_counter()
    model = str(options.weights.with_suffix(".toml"))
    at_once = settings.batch_threads  # as `pictor ingest` does
    embedder = wiring.load_model(model, settings, precision=settings.precision, batches=at_once)
    warm_up(embedder)
    loaded_in_s = time.perf_counter() - loading
    with open_index(settings, options.index) as index, wiring.open_ledger(settings) as ledger:
        has_views = embedder.spec.has_views
        deps = Deps(
            store=wiring.open_store(settings),
            index=index,
            embedder=embedder,
            ledger=ledger,
            concurrency=wiring.concurrency_of(settings, Load(batches=at_once, finds_views=has_views)),
            finder=wiring.finder_of(embedder.spec, settings),
        )
        job = prepare_job(options.photos, deps, settings)
        clock = Clock()
        limits = wiring.limits_of(settings)
        finished = run_job(job, deps, limits, driver_options(settings), on_progress=ignore_progress)
        clocked = clock.stop(finished.counts.indexed)
    check(finished)
    print_result(replace(clocked, seconds=clocked.seconds + loaded_in_s))


def warm_up(embedder: ImageEmbedder) -> None:
    """As a worker does before it takes work."""
    side = embedder.spec.preprocessing.crop
    embedder.embed_images(np.zeros((1, 3, side, side), dtype=np.uint8))


def prepare_job(photos: Path, deps: Deps, settings: Settings) -> Job:
    folder = str(photos.resolve())
    spec = deps.embedder.spec
    deps.index.create_collection(COLLECTION, spec)
    request = JobRequest(
        location=photos.resolve().as_uri(),
        bucket=folder,
        prefix="",
        collection=COLLECTION,
        model_name=spec.name,
        fingerprint=spec.fingerprint,
        batch_items=settings.batch_items,
    )
    return open_job(request, deps, driver=embedded_on("benchmark"))[0]


def driver_options(settings: Settings) -> DriverOptions:
    return DriverOptions(queue_batches=settings.queue_batches, batch_threads=settings.batch_threads)


def open_index(settings: Settings, kind: str) -> AbstractContextManager[VectorIndex]:
    if kind == "milvus":
        return wiring.open_index(settings)
    from pipeline.adapters.beside.index import BesideIndex  # as `wiring.open_index` has it around the other
    from pipeline.testing.memory_index import MemoryIndex  # where no Milvus is installed

    return nullcontext(BesideIndex(MemoryIndex()))


def check(job: Job) -> None:
    """Raises RuntimeError unless every image was embedded: a fast failure is no speed."""
    counts = job.counts
    if job.state is not JobState.COMPLETED or counts.indexed != counts.scanned:
        raise RuntimeError(f"job is {job.state}, counts are {counts}")


def ignore_progress(_: Job) -> None:
    """Progress is for people."""


if __name__ == "__main__":
    main()

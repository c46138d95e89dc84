"""What each stage costs: `python -m benchmarks.stages`. Milliseconds of CPU per image, in this process.

CPU time and not wall time: it adds up over threads, and says how many cores a GPU needs beside it.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from benchmarks.figures import Figure, Measured
from benchmarks.part import parser_of, run_part, tell
from benchmarks.photographs import Photograph, read_photographs
from benchmarks.pixel_stages import pixel_stages
from benchmarks.rounds import figure, interleave, ratio
from benchmarks.row_stages import row_stages
from benchmarks.servers import VERSIONS, running_stack
from benchmarks.synthetic import FreeEmbedder
from benchmarks.whole_batch import check_all_indexed, handle_all, plan_whole_job
from pipeline import wiring
from pipeline.adapters.s3.store import S3Store
from pipeline.capacity import Load
from pipeline.ports import Deps, ObjectStore
from pipeline.settings import Settings
from tests.chaos.system import place_on
from tests.fleet import settings_of

ROUNDS, QUICK_ROUNDS = 5, 1
QUICK_PHOTOS = 8  # of each size
SIDE_PX = 512
WHOLE = "everything but the model, 512x512, S3, Milvus server"
DECODE = f"decode and resize, {SIDE_PX}x{SIDE_PX}"  # as in pixel_stages: the floor of the whole
NOTES = (
    "CPU time of the whole process, all threads; servers are other processes. Each stage does the work "
    "of one batch: 250 images where there are so many.",
    "Milvus Lite works inside the process: its figure holds the database's own work, the server's does not.",
)

Stage = Callable[[], int]  # does the work, and returns of how many images


def main() -> None:
    run_part("stages", parser_of("stages", __doc__ or "").parse_args(), measure)


def measure(options: argparse.Namespace) -> Measured:
    torch.set_num_threads(1)  # as in a worker: threads are over images, and idle ones of torch would spin
    photos = list(read_photographs())
    square = [photo for photo in photos if (photo.width, photo.height) == (SIDE_PX, SIDE_PX)]
    if options.quick:
        square = square[:QUICK_PHOTOS]
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="bench-stages-")))
        stack = opened.enter_context(running_stack(options.stack))
        env, _ = opened.enter_context(place_on(stack, folder / "place"))
        settings = settings_of(env)
        wiring.migrate_ledger(settings)
        store = wiring.open_s3(settings)
        bucket = opened.enter_context(_uploaded(square, store))
        stages = pixel_stages(photos, most=QUICK_PHOTOS if options.quick else len(square))
        stages |= {"fetch, S3, 8 at once": _fetching(store, bucket, settings)}
        stages |= row_stages(settings, folder, opened, items=len(square))
        rounds = QUICK_ROUNDS if options.quick else ROUNDS
        stages |= {
            WHOLE: opened.enter_context(_whole(settings, store, bucket, len(square), times=rounds + 1))
        }
        clocks = {name: _cpu_clock(stage) for name, stage in stages.items()}
        for clock in clocks.values():
            clock()  # opens connections, imports, plans: paid once for ever
        measured = interleave(clocks, rounds, tell, lambda ms: f"{ms:.3f} ms")
    return Measured(figures=_figures(measured), notes=NOTES, versions=VERSIONS)


def _figures(measured: dict[str, list[float]]) -> list[Figure]:
    figures = [figure(name, "ms CPU/image", rounds) for name, rounds in measured.items()]
    return [*figures, ratio(f"{WHOLE} ÷ decode and resize alone", measured[WHOLE], measured[DECODE])]


def _cpu_clock(stage: Stage) -> Callable[[], float]:
    def run() -> float:
        started = time.process_time()
        images = stage()
        return 1000 * (time.process_time() - started) / images

    return run


def _fetching(store: ObjectStore, bucket: str, settings: Settings) -> Stage:
    refs = list(store.list_objects(bucket))

    def fetch_all() -> int:
        with ThreadPoolExecutor(wiring.concurrency_of(settings, Load()).fetch_threads) as pool:
            for _ in pool.map(lambda ref: store.get(ref, max_bytes=settings.max_object_bytes), refs):
                pass
        return len(refs)

    return fetch_all


@contextmanager
def _whole(
    settings: Settings, store: ObjectStore, bucket: str, images: int, *, times: int
) -> Iterator[Stage]:
    """Every message of a job, as a worker gets them, each of so many times into a new collection."""
    with wiring.open_index(settings) as index, wiring.open_ledger(settings) as ledger:
        deps = Deps(
            store=store,
            index=index,
            embedder=FreeEmbedder(),
            ledger=ledger,
            concurrency=wiring.concurrency_of(settings, Load()),
        )
        limits = wiring.limits_of(settings)
        waiting: list[tuple[str, list[bytes]]] = []
        for number in range(times):
            collection = f"{settings.collection}_w{number}"
            waiting.append(plan_whole_job(deps, bucket=bucket, collection=collection, batch_items=256))

        def handle_next() -> int:
            job_id, bodies = waiting.pop()
            handle_all(bodies, deps, limits)
            check_all_indexed(job_id, images, deps)
            return images

        yield handle_next


@contextmanager
def _uploaded(photos: Sequence[Photograph], store: S3Store) -> Iterator[str]:
    bucket = f"bench-stages-{os.getpid()}"
    store.make_bucket(bucket)
    for photo in photos:
        store.put(bucket, photo.name, photo.body)
    yield bucket
    for photo in photos:
        store.delete(bucket, photo.name)


if __name__ == "__main__":
    main()

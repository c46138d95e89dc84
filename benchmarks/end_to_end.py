"""The whole way against its limit and against others: `python -m benchmarks.end_to_end`.

The same photographs, the same model, embeddings stored by everybody. All contestants take turns; the servers
and the waiting workers of the distributed way are there while the others run, too.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import end_to_end_figures as figures
from benchmarks.distributed import INLINE, STAGED, Distributed
from benchmarks.figures import Measured
from benchmarks.machine import has_native_bfloat16
from benchmarks.model_file import make_model_file
from benchmarks.part import parser_of, run_part, tell
from benchmarks.photographs import copy_some, photo_folder
from benchmarks.processes import COMPETITORS_PYTHON, Ran, Task, run_contestant
from benchmarks.rounds import interleave
from benchmarks.servers import VERSIONS, running_stack
from pipeline.settings import Settings
from tests.fleet import Fleet

ROUNDS = 2  # of three minutes each; the whole benchmark is to take less than a quarter of an hour
QUICK_PHOTOS = 16
FORWARD_GROUPS, QUICK_FORWARD_GROUPS = 10, 1  # of 32: 320 images take seven seconds, and more change nothing
PRECISIONS = ("float32", "bfloat16")
WAYS = {"inline": INLINE, "staged": STAGED}

Run = Callable[[], Ran]


def main() -> None:
    parser = parser_of("end_to_end", __doc__ or "")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        action="append",
        help="of Pictor's runs (repeatable); default float32, and bfloat16 where the CPU has it",
    )
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, with --quick 1")
    run_part("end_to_end", parser.parse_args(), measure)


def measure(options: argparse.Namespace) -> Measured:
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    with tempfile.TemporaryDirectory(prefix="bench-e2e-") as name, ExitStack() as opened:
        folder = Path(name)
        task = _make_task(folder, quick=options.quick)
        stack = opened.enter_context(running_stack(options.stack))
        contestants = _quick_others(task) if options.quick else _others(task)
        embedded = _embedded(task, options.precision or default_precisions(), models=folder / "models")
        for run in embedded.values():
            run()  # finds the fastest backend, as the first job of a machine does
        contestants |= embedded
        ways = {
            way: opened.enter_context(
                Distributed(stack, folder / way, task.model_file, workers, PICTOR_PRECISION="float32")
            )
            for way, workers in WAYS.items()
        }
        bucket = opened.enter_context(_uploaded(task.photos, ways["inline"].fleet))
        for way in ways.values():
            way.ingest(f"s3://{bucket}")  # opens what is opened once, as the warm-up of the others does
        contestants |= {f"distributed {way}": partial(ways[way].ingest, f"s3://{bucket}") for way in WAYS}
        runs = interleave(contestants, rounds, tell, lambda ran: f"{ran.warm_rate:.1f} images/s")
    return Measured(
        figures=figures.figures_of(runs, cores=len(os.sched_getaffinity(0))),
        notes=figures.notes_of(task.images),
        versions=VERSIONS | _versions_in(runs),
    )


def default_precisions() -> Sequence[str]:
    return PRECISIONS if has_native_bfloat16() else PRECISIONS[:1]


def _make_task(folder: Path, *, quick: bool) -> Task:
    photos = copy_some(QUICK_PHOTOS, folder / "photos") if quick else photo_folder()
    images = sum(1 for _ in photos.rglob("*.jpg"))
    return Task(photos=photos, images=images, model_file=make_model_file(folder, "resnet18"))


def _others(task: Task) -> dict[str, Run]:
    """Everything but Pictor. Ray Data and Daft are left out where they are not installed."""
    contestants: dict[str, Run] = {
        f"forward {precision}": _forward(task, precision, FORWARD_GROUPS)
        for precision in default_precisions()
    }
    contestants["decode"] = partial(run_contestant, "decode", task)
    contestants["loop"] = partial(run_contestant, "loop", task)
    for workers in figures.LOADER_WORKERS:
        contestants[f"loader {workers}"] = partial(run_contestant, "loader", task, "--workers", str(workers))
    contestants["loader fast"] = partial(
        run_contestant, "loader", task, "--workers", "1", "--decoder", "torchvision"
    )
    return contestants | _frameworks(task)


def _quick_others(task: Task) -> dict[str, Run]:
    """One of each kind: what takes the time of a smoke test is the start of each process."""
    return {
        "forward float32": _forward(task, "float32", QUICK_FORWARD_GROUPS),
        "decode": partial(run_contestant, "decode", task),
        "loader 1": partial(run_contestant, "loader", task, "--workers", "1"),
        **_frameworks(task),
    }


def _forward(task: Task, precision: str, groups: int) -> Run:
    unchecked = replace(task, images=0)  # its images are made up
    return partial(run_contestant, "forward", unchecked, "--groups", str(groups), "--precision", precision)


def _frameworks(task: Task) -> dict[str, Run]:
    if not COMPETITORS_PYTHON.exists():
        return {}
    programs = ("ray_data", "daft_udf")
    return {
        program: partial(run_contestant, program, task, python=COMPETITORS_PYTHON) for program in programs
    }


def _embedded(task: Task, precisions: Sequence[str], *, models: Path) -> dict[str, Run]:
    """Each run has an empty home, and `models` remembers which backend is the fastest.

    A precision other than float32 is only where Pictor has the setting: else it would be float32 again.
    """
    known = [name for name in precisions if name == "float32" or "precision" in Settings.model_fields]
    return {
        f"embedded {precision}": partial(
            run_contestant,
            "embedded",
            task,
            env={"PICTOR_PRECISION": precision, "PICTOR_DEVICE": "cpu", "PICTOR_MODEL_DIR": str(models)},
        )
        for precision in known
    }


@contextmanager
def _uploaded(photos: Path, fleet: Fleet) -> Iterator[str]:
    """A bucket with the photographs, emptied afterwards."""
    bucket = f"bench-{os.getpid()}"
    bodies = {str(path.relative_to(photos)): path.read_bytes() for path in photos.rglob("*.jpg")}
    fleet.put_all(bucket, bodies)
    yield bucket
    for key in bodies:
        fleet.store.delete(bucket, key)


def _versions_in(runs: Mapping[str, Sequence[Ran]]) -> dict[str, str]:
    return {name: text for series in runs.values() for name, text in series[0].clocked.versions.items()}


if __name__ == "__main__":
    main()

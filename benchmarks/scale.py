"""Whether it stays as fast and as small when there is more of it: `python -m benchmarks.scale`."""

import argparse
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.distributed import Distributed, Workers
from benchmarks.figures import Figure, Measured
from benchmarks.model_file import make_model_file
from benchmarks.part import REPOSITORY, parser_of, run_part, tell
from benchmarks.programs import run_program, start_program
from benchmarks.rounds import figure, interleave, ratio
from benchmarks.servers import VERSIONS, running_stack
from benchmarks.worker_memory import resident_at, upload_pictures, watch_job
from devstack.stack import Stack
from pipeline import wiring
from tests.chaos.system import place_on
from tests.fleet import settings_of

MIB = 2**20
SHORT, MIDDLE, LONG = 1_000, 10_000, 100_000  # objects of a job
KEYS = 1_000_000
MEMORY_FROM, MEMORY_TO = 5_000, 50_000  # images
SLEEP_S, SLEEP_IMAGES, SLEEP_ROUNDS = 0.01, 640, 1  # twenty groups: with two workers ten for each
QUICK_SHARE = 100  # a quick run does the hundredth part of the objects
ONE_WORKER: Workers = (("plan", 1), ("embed", 1))
TWO_WORKERS: Workers = (("plan", 1), ("embed", 1), ("embed", 1))
SLEEP_HOOK = Path(__file__).with_name("sleep_model")


def main() -> None:
    run_part("scale", parser_of("scale", __doc__ or "").parse_args(), measure)


def measure(options: argparse.Namespace) -> Measured:
    share = QUICK_SHARE if options.quick else 1
    figures = _job_costs(share)
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name, running_stack(options.stack) as stack:
        folder = Path(name)
        # The smallest architecture with small input: a worker's memory is not about the model.
        model_file = make_model_file(folder, "shufflenet_v2_x0_5", resize=32, crop=32)
        figures += _planning(stack, folder, KEYS // share)
        figures += _worker_memory(stack, folder, model_file, share)
        figures += _more_workers(stack, folder, model_file, SLEEP_IMAGES // (10 if options.quick else 1))
    return Measured(figures=figures, notes=_notes(share), versions=VERSIONS)


def _notes(share: int) -> list[str]:
    return [
        f"Cost by length of job: embedded driver, SQLite ledger, drawn JPEGs of 96x72, free model and index, "
        f"{SHORT // share} to {LONG // share} objects.",
        "Planner: a listing that costs nothing, batch rows into PostgreSQL; memory is the whole process.",
        "Worker memory: resident memory of an embed child of a real worker, with S3, Milvus and PostgreSQL, "
        "ShuffleNet at 32x32.",
        f"Sleeping model: {1000 * SLEEP_S:g} ms an image and no core, real workers with one child each; "
        f"the ideal is {1 / SLEEP_S:g} images/s for each.",
    ]


def _job_costs(share: int) -> list[Figure]:
    """The long job once, between rounds of the others: what disturbs the machine would show there, too."""
    runs = {objects: partial(_job_cost, objects // share) for objects in (SHORT, MIDDLE, LONG)}
    shorter = {str(objects): runs[objects] for objects in (SHORT, MIDDLE)}
    before = interleave(shorter, 1, tell, _show_ms)
    long = interleave({str(LONG): runs[LONG]}, 1, tell, _show_ms)
    after = interleave(shorter, 1, tell, _show_ms)
    costs = {name: before[name] + after[name] for name in shorter} | long
    names = {str(SHORT): "1,000", str(MIDDLE): "10,000", str(LONG): "100,000"}
    return [
        *(figure(f"cost in a job of {names[key]} objects", "ms CPU/image", costs[key]) for key in names),
        *(
            figure(
                f"cost, 100,000 ÷ {names[key]} objects",
                "ratio",
                [median(costs[str(LONG)]) / median(costs[key])],
            )
            for key in shorter
        ),
    ]


def _job_cost(objects: int) -> float:
    spent = run_program("job_cost", "--objects", str(max(objects, 10)))
    return 1000 * float(spent["cpu_s"]) / int(spent["objects"])


def _show_ms(ms: float) -> str:
    return f"{ms:.3f} ms of CPU an image"


def _planning(stack: Stack, folder: Path, keys: int) -> list[Figure]:
    with place_on(stack, folder / "planner") as (env, _):
        wiring.migrate_ledger(settings_of(env))
        rate, peak_bytes = _plan(env, {"a/": keys})
        rate_of_two, _ = _plan(env, {"b/": keys // 2, "c/": keys // 2})
    tell(f"  planner: {rate:.0f} keys/s, two at once {rate_of_two:.0f} keys/s")
    return [
        figure("planner, 1 M keys", "keys/s", [rate]),
        figure("planner, 1 M keys, peak memory", "MB", [peak_bytes / 1e6]),
        figure("two planners on two prefixes", "keys/s", [rate_of_two]),
        ratio("two planners ÷ one", [rate_of_two], [rate]),
    ]


def _plan(env: Mapping[str, str], keys: Mapping[str, int]) -> tuple[float, int]:
    """Plan every prefix in a process of its own, all at once. Returns keys/s in all, and the largest peak."""
    programs = [
        start_program("plan_cost", "--keys", str(count), "--prefix", prefix, env=env)
        for prefix, count in keys.items()
    ]
    answers = [program.result() for program in programs]
    slowest_s = max(float(answer["seconds"]) for answer in answers)
    return sum(keys.values()) / slowest_s, max(int(answer["peak_bytes"]) for answer in answers)


def _worker_memory(stack: Stack, folder: Path, model_file: Path, share: int) -> list[Figure]:
    begin, end = MEMORY_FROM // share, MEMORY_TO // share
    bucket = f"bench-memory-{os.getpid()}"
    with Distributed(stack, folder / "memory", model_file, ONE_WORKER, PICTOR_BATCH_ITEMS="256") as way:
        upload_pictures(way.fleet, bucket, end)
        tell(f"  worker memory: {end} objects are uploaded")
        samples = watch_job(way, f"s3://{bucket}")
    at_begin, at_end = resident_at(samples, begin), resident_at(samples, end)
    tell(f"  worker memory: {at_begin / MIB:.0f} MiB, then {at_end / MIB:.0f} MiB")
    return [
        figure("embed worker at image 5,000", "MiB", [at_begin / MIB]),
        figure("embed worker at image 50,000", "MiB", [at_end / MIB]),
        figure("growth of the embed worker, image 5,000 to 50,000", "share", [at_end / at_begin - 1]),
    ]


def _more_workers(stack: Stack, folder: Path, model_file: Path, images: int) -> list[Figure]:
    more = {
        "PICTOR_BENCH_SLEEP_S": str(SLEEP_S),
        "PYTHONPATH": f"{SLEEP_HOOK}{os.pathsep}{REPOSITORY}",
    }
    bucket = f"bench-sleep-{os.getpid()}"
    with ExitStack() as opened:
        ways = {
            name: opened.enter_context(Distributed(stack, folder / name, model_file, workers, **more))
            for name, workers in {"one": ONE_WORKER, "two": TWO_WORKERS}.items()
        }
        upload_pictures(ways["one"].fleet, bucket, images)
        runs = interleave(
            {name: partial(way.ingest, f"s3://{bucket}") for name, way in ways.items()},
            SLEEP_ROUNDS,
            tell,
            lambda ran: f"{ran.rate:.1f} images/s",
        )
    rates = {name: [ran.rate for ran in series] for name, series in runs.items()}
    ideal = 1 / SLEEP_S
    return [
        figure("sleeping model, one worker", "images/s", rates["one"]),
        figure("sleeping model, two workers", "images/s", rates["two"]),
        ratio("sleeping model, two workers ÷ one", rates["two"], rates["one"]),
        figure("scheduling overhead, one worker", "share", [1 - rate / ideal for rate in rates["one"]]),
        figure(
            "scheduling overhead, two workers", "share", [1 - rate / (2 * ideal) for rate in rates["two"]]
        ),
    ]


if __name__ == "__main__":
    main()

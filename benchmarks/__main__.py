"""Runs the parts one after the other: python -m benchmarks [PART …] [--quick]

Each part is a process of its own, so that none inherits the threads and the memory of another. One that fails
costs its own figures: the table says so, the others are run, and the exit code is 1.
"""

import argparse
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from benchmarks.figures import Result, ResultError, read_result, read_results, write_result
from benchmarks.machine import describe_machine
from benchmarks.part import REPOSITORY, RESULTS, now_text, results_folder, tell
from benchmarks.parts import PARTS
from benchmarks.render import PAGE, render

TAIL_LINES = 15


def main() -> int:
    options = _parse()
    failed = [part for part in options.parts or PARTS if not run(part, options)]
    text = render(read_results(options.results))
    if options.results == RESULTS:
        PAGE.write_text(text, encoding="utf-8")
        tell(f"wrote {PAGE}")
    else:
        tell(text)
    if failed:
        tell(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def run(part: str, options: argparse.Namespace) -> bool:
    """Run one part to its end and pass on what it says. False when it failed; its result then says so."""
    if part == "gpu" and _is_measured_on_gpu(options.results) and not _has_gpu():
        tell("gpu: keeping the result of a machine with a GPU")
        return True
    if part == "embedded_index" and _is_measured(part, options.results):
        tell("embedded_index: keeping the result of a run beside an earlier build")
        return True
    tell(f"{part}: begins")
    started = time.perf_counter()
    code, tail = _run_part(part, options)
    seconds = time.perf_counter() - started
    tell(f"{part}: {'done' if code == 0 else f'FAILED with exit code {code}'} after {seconds:.0f} s")
    if code != 0:
        write_result(_failure(part, tail, seconds, quick=options.quick), options.results)
    return code == 0


def _run_part(part: str, options: argparse.Namespace) -> tuple[int, str]:
    """Returns its exit code, and the last line that it said."""
    command = [sys.executable, "-m", f"benchmarks.{part}", "--results", str(options.results)]
    command += ["--quick"] if options.quick else []
    command += ["--stack", str(options.stack)] if options.stack else []
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    for line in process.stdout:
        tail.append(line.rstrip())
        tell(line.rstrip())
    return process.wait(), next((line for line in reversed(tail) if line.strip()), "it said nothing")


def _failure(part: str, why: str, seconds: float, *, quick: bool) -> Result:
    return Result(
        part=part,
        made_at=now_text(),
        seconds=round(seconds, 1),
        quick=quick,
        machine=describe_machine(),
        failure=why,
    )


def _is_measured_on_gpu(results: Path) -> bool:
    try:
        result = read_result(results / "gpu.json")
    except ResultError:
        return False
    return bool(result.machine.gpu) and not result.quick and not result.failure


def _is_measured(part: str, results: Path) -> bool:
    try:
        result = read_result(results / f"{part}.json")
    except ResultError:
        return False
    return not result.quick and not result.failure


def _has_gpu() -> bool:
    return bool(describe_machine().gpu)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a smoke test of every script")
    parser.add_argument(
        "--results", type=Path, help="folder for the JSON files; default: results/ or results/quick/"
    )
    parser.add_argument(
        "--stack", type=Path, help="use the servers that run here; default: start and stop some"
    )
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {unknown[0]}; known are {', '.join(PARTS)}")
    options.results = results_folder(options)
    return options


if __name__ == "__main__":
    sys.exit(main())

"""What every script of the benchmark has around its measurements: options, a clock, a file of results."""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Measured, Result, write_result
from benchmarks.machine import describe_machine

RESULTS = Path(__file__).with_name("results")
QUICK_RESULTS = RESULTS / "quick"  # not committed: a smoke test must not take the place of a measurement
REPOSITORY = Path(__file__).resolve().parent.parent


def parser_of(part: str, about: str) -> argparse.ArgumentParser:
    """The options that all parts share."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{part}", description=about)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke test in seconds; its figures mean nothing"
    )
    parser.add_argument(
        "--results", type=Path, help="folder for the JSON file; default: results/ or results/quick/"
    )
    parser.add_argument(
        "--stack", type=Path, help="use the servers that run here; default: start and stop some"
    )
    return parser


def run_part(
    part: str, options: argparse.Namespace, measure: Callable[[argparse.Namespace], Measured]
) -> None:
    """Measure, and write the result. Whatever goes wrong is raised, and nothing is written then."""
    started = time.perf_counter()
    measured = measure(options)
    result = Result(
        part=part,
        made_at=now_text(),
        seconds=round(time.perf_counter() - started, 1),
        quick=options.quick,
        machine=describe_machine(measured.versions),
        figures=tuple(measured.figures),
        notes=tuple(measured.notes),
    )
    tell(f"wrote {write_result(result, results_folder(options))}")


def results_folder(options: argparse.Namespace) -> Path:
    folder: Path = options.results or (QUICK_RESULTS if options.quick else RESULTS)
    return folder


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def tell(line: str) -> None:
    print(line, flush=True)  # whoever reads through a pipe wants to see progress, too

"""The index in a folder against an earlier build's: `python -m benchmarks.embedded_index --earlier CHECKOUT`.

100,000 vectors of 512. Each build is asked in its own processes, from its own environment, in turns: load,
search, and `pictor search` for a stored id in a new process. Then this build loads 300,000.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Figure, Measured
from benchmarks.folder_program import BUCKET, COLLECTION, PARTS
from benchmarks.part import REPOSITORY, parser_of, run_part, tell
from benchmarks.processes import ContestantError, clean_environment
from benchmarks.rounds import absent, figure, interleave, ratio
from pipeline.types import image_id_of

ROWS, QUICK_ROWS = 100_000, 2_000
MANY_ROWS, QUICK_MANY_ROWS = 300_000, 3_000
DIM = 512
ROUNDS, QUICK_ROUNDS = 3, 1
STARTS = 3  # of `pictor search` in a round; the quickest counts: the others met something else
TIMEOUT_S = 900
THIS, EARLIER = "this build", "earlier build"
NO_EARLIER = "not measured: --earlier names no checkout"


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    load: dict[str, float]
    search: dict[str, Any]
    start_s: float


def main() -> None:
    parser = parser_of("embedded_index", __doc__ or "")
    parser.add_argument("--earlier", type=Path, help="another checkout, with its environment in .venv")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each build")
    run_part("embedded_index", parser.parse_args(), measure)


def measure(options: argparse.Namespace) -> Measured:
    rows, many_rows = (QUICK_ROWS, QUICK_MANY_ROWS) if options.quick else (ROWS, MANY_ROWS)
    rounds = QUICK_ROUNDS if options.quick else options.rounds
    with tempfile.TemporaryDirectory(prefix="bench-folder-") as made:
        folder = Path(made)
        vectors, many_vectors = _draw(folder / "rows.npy", rows), _draw(folder / "many.npy", many_rows)
        builds = {THIS: partial(_turn, REPOSITORY, Path(sys.executable), vectors)}
        if options.earlier:
            python = options.earlier / ".venv" / "bin" / "python"
            builds[EARLIER] = partial(_turn, options.earlier.resolve(), python.absolute(), vectors)
        turns = interleave(builds, rounds, tell, _show)
        many = _load(REPOSITORY, Path(sys.executable), many_vectors)
        tell(f"  {many_rows} rows: {many['wall_s']:.0f} s, longest pause {many['longest_s']:.1f} s")
    return Measured(
        figures=[*_own_figures(turns[THIS], rows), *_many_figures(many, many_rows), *_ratios(turns)],
        notes=[
            f"{rows:,} vectors of {DIM} numbers in a folder, in upserts of 64 rows as of `pictor ingest`.",
            "First answer: `pictor search ID`, from the start of the process to its first line.",
            "Resident memory of a process that searched with and without filters, its mapped files included.",
        ],
    )


def _turn(checkout: Path, python: Path, vectors: Path) -> Turn:
    with tempfile.TemporaryDirectory(prefix="bench-home-") as home:
        environment = _environment(checkout, home)
        load = _run(checkout, python, environment, "load", vectors)
        search = _run(checkout, python, environment, "search", vectors)
        start_s = min(_first_answer_s(checkout, python, environment) for _ in range(STARTS))
    return Turn(load=load, search=search, start_s=start_s)


def _load(checkout: Path, python: Path, vectors: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-home-") as home:
        measured: dict[str, float] = _run(checkout, python, _environment(checkout, home), "load", vectors)
        return measured


def _environment(checkout: Path, home: str) -> dict[str, str]:
    return clean_environment({"PICTOR_HOME": home, "PYTHONPATH": str(checkout)})


def _run(checkout: Path, python: Path, environment: dict[str, str], action: str, vectors: Path) -> Any:
    program = Path(__file__).with_name("folder_program.py")
    done = subprocess.run(
        [python, program, action, vectors],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise ContestantError(
            f"{action} in {checkout.name} ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def _first_answer_s(checkout: Path, python: Path, environment: dict[str, str]) -> float:
    stored = image_id_of(BUCKET, "2026/photo-000000777.jpg")
    started = time.perf_counter()
    with subprocess.Popen(
        [python.with_name("pictor"), "search", stored, "--collection", COLLECTION, "--json"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        spent_s = time.perf_counter() - started
        process.stdout.read()
    if len(json.loads(line)["hits"]) == 0:
        raise ContestantError(f"pictor search in {checkout.name} found nothing")
    return spent_s


def _draw(file: Path, rows: int) -> Path:
    """A file of unit vectors, of which no two are alike."""
    vectors = np.random.default_rng(1).standard_normal((rows, DIM), dtype=np.float32)
    np.save(file, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return file


def _own_figures(turns: Sequence[Turn], rows: int) -> list[Figure]:
    recalls = [(part, [turn.search["recall"][part] for turn in turns]) for part in ("all", *PARTS)]
    return [
        figure(f"load {rows:,} rows", "s", [turn.load["wall_s"] for turn in turns]),
        figure("load, longest pause", "s", [turn.load["longest_s"] for turn in turns]),
        figure("load, peak memory", "MB", [turn.load["peak_mb"] for turn in turns]),
        figure("one search", "ms", [1000 * turn.search["search_s"] for turn in turns]),
        *(
            figure(
                f"one search, filter passes {part}",
                "ms",
                [1000 * t.search["filtered_s"][part] for t in turns],
            )
            for part in PARTS
        ),
        figure("first answer for a stored id", "s", [turn.start_s for turn in turns]),
        figure("resident memory of a process that searches", "MB", [t.search["memory_mb"] for t in turns]),
        *(figure(f"recall@10, filter passes {part}", "share", recall) for part, recall in recalls),
        ratio(
            "one search ÷ numpy's exact search",
            [turn.search["search_s"] for turn in turns],
            [turn.search["numpy_s"] for turn in turns],
        ),
    ]


def _many_figures(many: dict[str, float], rows: int) -> list[Figure]:
    return [
        figure(f"load {rows:,} rows", "s", [many["wall_s"]]),
        figure(f"load {rows:,} rows, longest pause", "s", [many["longest_s"]]),
    ]


def _ratios(turns: dict[str, list[Turn]]) -> list[Figure]:
    quantities = {
        "one search": lambda turn: turn.search["search_s"],
        "load": lambda turn: turn.load["wall_s"],
        "first answer for a stored id": lambda turn: turn.start_s,
        "resident memory": lambda turn: turn.search["memory_mb"],
    }
    if EARLIER not in turns:
        return [absent(f"{name} ÷ earlier build", "ratio", NO_EARLIER) for name in quantities]
    figures = []
    for name, of in quantities.items():
        ours, theirs = map(of, turns[THIS]), list(map(of, turns[EARLIER]))
        figures += [ratio(f"{name} ÷ earlier build", list(ours), theirs)]
        figures += [figure(f"{name}, earlier build", "MB" if "memory" in name else "s", theirs)]
    theirs_longest = [turn.load["longest_s"] for turn in turns[EARLIER]]
    return [*figures, figure("load, longest pause, earlier build", "s", theirs_longest)]


def _show(turn: Turn) -> str:
    return (
        f"load {turn.load['wall_s']:.1f} s (longest {turn.load['longest_s']:.1f}), search "
        f"{1000 * turn.search['search_s']:.1f} ms, first answer {turn.start_s:.2f} s, "
        f"{turn.search['memory_mb']:.0f} MB"
    )


if __name__ == "__main__":
    main()

"""How decoding time grows with a file: `python -m benchmarks.decode_time`. Ratios of one run.

Each file is made twice, one eight times as long as the other. Time that grows no faster than the file is a
ratio of 1 or less. Files that point at the same bytes again and again are compared with a photograph.
"""

import argparse
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from benchmarks.figures import Figure, Measured
from benchmarks.part import parser_of, run_part, tell
from benchmarks.photographs import draw_jpeg
from benchmarks.rounds import figure, interleave, ratio
from pipeline.errors import ImageError
from pipeline.image.decode import decode_image
from pipeline.ports import ImageLimits
from tests.long_files import FOLDED, STEADY

SHORT, LONG = 500, 4000  # repetitions: the parsers take thousands of most things
QUICK_SHORT, QUICK_LONG = 20, 160
FOLDS = 2000  # 10 to 100 kB; twice as much is refused for the number of items alone
ROUNDS, QUICK_ROUNDS = 5, 1
TRIES = 3  # of a round; the quickest counts: the others met something else
PHOTOGRAPH_PX = 4000, 3000
NOTES = (
    f"{LONG // SHORT} times as much of something, and the time divided by the growth of the file. "
    "A floor of 1 ms stands in for shorter times.",
    f"Files of {FOLDS} references to the same bytes, against a drawn JPEG of 12 Mpx.",
)
FLOOR_MS = 1.0  # what a file costs whatever it holds


def main() -> None:
    run_part("decode_time", parser_of("decode_time", __doc__ or "").parse_args(), measure)


def measure(options: argparse.Namespace) -> Measured:
    short, long = (QUICK_SHORT, QUICK_LONG) if options.quick else (SHORT, LONG)
    folds = QUICK_LONG if options.quick else FOLDS
    bodies = {f"{name}: {n}": make(n) for name, make in STEADY.items() for n in (short, long)}
    bodies |= {name: make(folds) for name, make in FOLDED.items()}
    bodies |= {"photograph": draw_jpeg(*PHOTOGRAPH_PX, seed=1)}
    clocks = {name: partial(_time_ms, body) for name, body in bodies.items()}
    for clock in clocks.values():
        clock()  # imports, and tables that are made once
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    times = interleave(clocks, rounds, tell, lambda ms: f"{ms:.2f} ms")
    growth = {name: len(bodies[f"{name}: {long}"]) / len(bodies[f"{name}: {short}"]) for name in STEADY}
    return Measured(figures=_figures(times, growth, short, long), notes=NOTES)


def _time_ms(body: bytes) -> float:
    return min(_once_ms(body) for _ in range(TRIES))


def _once_ms(body: bytes) -> float:
    started = time.thread_time()
    with suppress(ImageError):  # being refused takes its time, too
        decode_image(body, limits=ImageLimits(), target_px=256)
    return 1000 * (time.thread_time() - started)


def _figures(
    times: Mapping[str, list[float]], growth: Mapping[str, float], short: int, long: int
) -> list[Figure]:
    grown = {
        name: [
            max(after, FLOOR_MS) / max(before, FLOOR_MS) / max(growth[name], 1)
            for before, after in zip(times[f"{name}: {short}"], times[f"{name}: {long}"], strict=True)
        ]
        for name in STEADY
    }
    figures = [figure(f"growth, {name}", "ratio", rounds) for name, rounds in grown.items()]
    figures += [ratio(f"{name} ÷ photograph", times[name], times["photograph"]) for name in FOLDED]
    worst_growth = [max(each) for each in zip(*grown.values(), strict=True)]
    worst_fold = [max(each) for each in zip(*(times[name] for name in FOLDED), strict=True)]
    return [
        *figures,
        figure("worst growth", "ratio", worst_growth),
        ratio("worst of the folded ÷ photograph", worst_fold, times["photograph"]),
    ]


if __name__ == "__main__":
    main()

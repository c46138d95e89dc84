"""What a second model costs beside the first: `python -m benchmarks.two_models`. No servers.

Whole batches of photographs from a folder into an index in a folder, with the first model alone and with
both. The difference is compared with the forward pass of the second model alone, over pixels that lie ready.
What is counted is the CPU time of the process. The weights are random: they change no time.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch

from benchmarks.figures import Figure, Measured
from benchmarks.model_file import make_model_file
from benchmarks.part import parser_of, run_part, tell
from benchmarks.photographs import copy_some
from benchmarks.rounds import figure, interleave, ratio
from benchmarks.whole_batch import check_all_indexed, handle_all, plan_whole_job
from pipeline import wiring
from pipeline.ports import Deps, ImageEmbedder
from pipeline.ports.deps import warm_models
from pipeline.settings import Settings

PHOTOS, QUICK_PHOTOS = 128, 8
ROUNDS, QUICK_ROUNDS = 5, 1
SECOND = "mobilenet_v2"
SECOND_SIDE_PX = 288  # of a copy model such as SSCD. It is more than the first takes, so the decode is larger
FIRSTS = ("resnet18", "builtin")
NOTES = (
    f"{PHOTOS} photographs of all sizes from a folder, forward passes on one thread. The first model takes "
    f"224 px (the builtin one 128), the second, {SECOND}, {SECOND_SIDE_PX} px.",
    "“Second model, in a job” is what CPU time a job with both models takes beyond one with the first. "
    "It holds the larger decode, a resize, the forward pass, and the writing of its vectors.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Does the same work each time, into a collection of its own."""

    deps: Deps
    folder: Path
    images: int
    name: str
    numbers: Iterator[int]

    def run(self) -> float:
        """Milliseconds of CPU per image."""
        collection = f"{self.name}_{next(self.numbers)}"
        planned, bodies = plan_whole_job(
            self.deps, bucket=str(self.folder), collection=collection, batch_items=64
        )
        started = time.process_time()
        handle_all(bodies, self.deps, wiring.limits_of(Settings()))
        spent = time.process_time() - started
        check_all_indexed(planned, self.images, self.deps)
        return 1000 * spent / self.images


def main() -> None:
    run_part("two_models", parser_of("two_models", __doc__ or "").parse_args(), measure)


def measure(options: argparse.Namespace) -> Measured:
    torch.set_num_threads(1)
    images = QUICK_PHOTOS if options.quick else PHOTOS
    with tempfile.TemporaryDirectory(prefix="bench-two-models-") as name:
        folder = Path(name)
        photos = copy_some(images, folder / "photos", of_all_kinds=True)
        found = [
            one for first in FIRSTS for one in _measure(first, folder, photos, images, quick=options.quick)
        ]
    return Measured(figures=found, notes=NOTES)


def _measure(first: str, folder: Path, photos: Path, images: int, *, quick: bool) -> list[Figure]:
    home = folder / f"{first}-home"
    home.mkdir(mode=0o700)
    settings = Settings(home=home, device="cpu", precision="float32", backend="torch", device_threads=1)
    alone, both = _addresses(first, home)
    with ExitStack() as opened:
        index = opened.enter_context(wiring.open_index(settings))
        ledger = opened.enter_context(wiring.open_ledger(settings))

        def job(address: str, name: str) -> Job:
            embedder = wiring.lazy_model(address, settings, existing=None, batches=1)
            deps = wiring.embedded_deps(
                settings, store=wiring.open_store(settings), index=index, embedder=embedder, ledger=ledger
            )
            warm_models(deps)
            return Job(deps=deps, folder=photos, images=images, name=name, numbers=count())

        with_both = job(both, "both")
        ways: Mapping[str, Callable[[], float]] = {
            "alone": job(alone, "alone").run,
            "both": with_both.run,
            "pass": partial(_forward_pass_ms, with_both.deps.beside["copies"], images, settings.group_items),
        }
        for run in ways.values():
            run()  # the first passes plan the others
        ms = interleave(ways, QUICK_ROUNDS if quick else ROUNDS, tell, lambda ms: f"{first}: {ms:.2f} ms")
    more = [both - alone for both, alone in zip(ms["both"], ms["alone"], strict=True)]
    title = f"{first} and {SECOND}"
    return [
        figure(f"{title}: job with the first alone", "ms CPU/image", ms["alone"]),
        figure(f"{title}: job with both", "ms CPU/image", ms["both"]),
        figure(f"{title}: second model's forward pass alone", "ms CPU/image", ms["pass"]),
        ratio(f"{title}: second model, in a job ÷ its forward pass alone", more, ms["pass"]),
    ]


def _addresses(first: str, home: Path) -> tuple[str, str]:
    """Of the first model alone, and of both."""
    second = make_model_file(home, SECOND, resize=SECOND_SIDE_PX, crop=SECOND_SIDE_PX)
    alone = first if first == "builtin" else str(make_model_file(home, first))
    file = home / "both.toml"
    file.write_text(f'name = "both"\nmodel = "{alone}"\n[beside.copies]\nmodel = "{second.name}"\n')
    return alone, str(file)


def _forward_pass_ms(embedder: ImageEmbedder, images: int, group_items: int) -> float:
    side_px = embedder.spec.preprocessing.crop
    pixels = np.random.default_rng(0).integers(0, 256, (group_items, 3, side_px, side_px), np.uint8)
    started = time.process_time()
    for start in range(0, images, group_items):
        embedder.embed_images(pixels[: images - start])
    return 1000 * (time.process_time() - started) / images


if __name__ == "__main__":
    main()

"""What a core embeds in a second by each backend: `python -m benchmarks.backends`. No servers.

The whole path from decoded pixels to rows, in one pass on one thread. What is counted is the CPU time of the
process, so that others who use the machine change little. The weights are random: they change no time.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import nn

from benchmarks.contestants.features import HEADS, MEAN, STD
from benchmarks.figures import Figure, Measured
from benchmarks.part import parser_of, run_part, tell
from benchmarks.rounds import absent, figure, interleave, ratio
from pipeline.adapters.models.backends.backend import AUTO, Backend, backend_versions
from pipeline.adapters.models.backends.choose import make_ready
from pipeline.adapters.models.backends.networks import CPU, Network, Work
from pipeline.adapters.models.inference import has_native_bfloat16
from pipeline.adapters.models.torch_embedder import CPU_PASS_ITEMS, TorchEmbedder
from pipeline.errors import PictorError
from pipeline.types import ModelSpec, Preprocessing

DIMS = {"resnet18": 512, "vit_b_16": 768}
MODELS, QUICK_MODELS = tuple(DIMS), ("resnet18",)
ROUNDS, QUICK_ROUNDS = 9, 1
SIDE_PX, QUICK_SIDE_PX = 224, 64
NOTES = (
    "Images per second of CPU time, one pass on one thread, groups of 8: ratios within one run.",
    "“Chosen” is what `PICTOR_BACKEND=auto` took in a trial of its own, “torch” is the build without it.",
)


def main() -> None:
    run_part("backends", parser_of("backends", __doc__ or "").parse_args(), measure)


def measure(options: argparse.Namespace) -> Measured:
    models = QUICK_MODELS if options.quick else MODELS
    precisions = ("float32", "bfloat16") if has_native_bfloat16(CPU) else ("float32",)
    torch.set_num_threads(1)
    figures = [
        found for model in models for precision in precisions for found in _measure(model, precision, options)
    ]
    if options.quick:
        left_out = [model for model in MODELS if model not in models]
        figures += [
            absent(f"{model}, float32: chosen ÷ torch", "ratio", "a smoke test") for model in left_out
        ]
    versions = {name: version for name, version in backend_versions().items() if version}
    return Measured(figures=figures, notes=NOTES, versions=versions)


def _measure(model: str, precision: str, options: argparse.Namespace) -> Iterator[Figure]:
    side_px = QUICK_SIDE_PX if options.quick else SIDE_PX
    spec, module = _random(model, side_px)
    work = Work(precision=precision)
    with tempfile.TemporaryDirectory() as folder:
        ways, refused = _ways(module, spec, work, Path(folder))
    pixels = np.random.default_rng(0).integers(0, 256, (CPU_PASS_ITEMS, 3, side_px, side_px), np.uint8)
    runs = {name: partial(_images_per_s, embedder, pixels) for name, embedder in ways.items()}
    for run in runs.values():
        run()  # the first passes plan the others
    title = f"{model}, {precision}"
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    speeds = interleave(runs, rounds, tell, lambda speed: f"{title}: {speed:.1f} images/s")
    for name in ways:
        yield figure(f"{title}: {name}", "images/s", speeds[name])
    for name, why in refused.items():
        yield absent(f"{title}: {name}", "images/s", why)
    for name in ways:
        if name != Backend.TORCH:
            yield ratio(f"{title}: {name} ÷ torch", speeds[name], speeds[Backend.TORCH])


def _ways(
    module: nn.Module, spec: ModelSpec, work: Work, folder: Path
) -> tuple[Mapping[str, TorchEmbedder], Mapping[str, str]]:
    """Those that were opened, and why others were not."""
    ways: dict[str, TorchEmbedder] = {}
    refused: dict[str, str] = {}
    for name, backend in {**{each.value: each.value for each in Backend}, "chosen": AUTO}.items():
        try:
            network = make_ready(copy.deepcopy(module), spec, work, backend=backend, folder=folder)
        except PictorError as err:
            refused[name] = str(err)
            continue
        ways[name] = _embedder(network, spec)
        tell(f"  {spec.name}: {name} is {network.backend} in {network.precision}")
    return ways, refused


def _embedder(network: Network, spec: ModelSpec) -> TorchEmbedder:
    return TorchEmbedder(
        network.features,
        spec,
        device=CPU,
        group_items=CPU_PASS_ITEMS,
        dtype=network.dtype,
        memory_format=network.memory_format,
        pass_threads=1,
    )


def _images_per_s(embedder: TorchEmbedder, pixels: NDArray[np.uint8]) -> float:
    started = time.process_time()
    embedder.embed_images(pixels)
    return len(pixels) / (time.process_time() - started)


def _random(model: str, side_px: int) -> tuple[ModelSpec, nn.Module]:
    torch.manual_seed(0)
    module = torchvision.models.get_model(model, weights=None)
    setattr(module, HEADS[model], nn.Identity())
    spec = ModelSpec(
        name=model,
        address=model,
        architecture=model,
        fingerprint="0" * 64,
        dim=DIMS[model],
        preprocessing=Preprocessing(resize=side_px, crop=side_px, mean=MEAN, std=STD),
    )
    return spec, module.eval()


if __name__ == "__main__":
    main()

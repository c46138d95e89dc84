"""From a sample of images to a network in int8, if its neighbours are those of float32."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.adapters.models.backends.backend import OTHERS, Backend, is_installed
from pipeline.adapters.models.backends.exported import exported
from pipeline.adapters.models.backends.int8 import INT8, MIN_IMAGES, check_recall, keep, recall_against
from pipeline.adapters.models.backends.networks import CPU, Network, Work, in_torch, open_network
from pipeline.adapters.models.backends.quantise import quantise
from pipeline.adapters.models.backends.trial import Clock, time_in_turns
from pipeline.adapters.models.torch_embedder import TorchEmbedder
from pipeline.errors import ArgumentError
from pipeline.image.preprocess import normalise
from pipeline.types import ModelSpec, Pixels, Preprocessing

RANGE_IMAGES = 128  # more of them widen the ranges of activations, and leave fewer steps within

Sample = Callable[[Preprocessing], Pixels]  # [N, 3, S, S] of the images that a calibration is for


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """`gain` is how many times as fast it is as torch in float32, by one pass on one thread."""

    spec: ModelSpec  # of the model in int8
    backend: Backend
    images: int
    recall: float
    gain: float


def calibrate(
    module: nn.Module, spec: ModelSpec, pixels: Pixels, *, folder: Path, clock: Clock = time.process_time
) -> Calibration:
    """Calibrate, check, measure and keep.

    Args:
        pixels: [N, 3, S, S], a sample of the images that it is for.

    Raises:
        ArgumentError: they are too few.
        ConfigError: what it needs is not installed.
        ModelError: the network has no form in int8, or its neighbours are not those of float32.
    """
    if len(pixels) < MIN_IMAGES:
        raise ArgumentError(f"{len(pixels)} images are too few for int8; at least {MIN_IMAGES} are needed")
    work = Work(precision="float32")
    own = in_torch(module, spec, work)
    wanted = _rows(own, spec, pixels)
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / "int8.onnx"
        with exported(module, spec, folder) as network:
            quantise(network, normalise(pixels[:RANGE_IMAGES], spec.preprocessing), fresh, model=spec.name)
        ways = [
            open_network(backend, fresh, spec.name, work, INT8) for backend in OTHERS if is_installed(backend)
        ]
        images = torch.from_numpy(normalise(pixels[: work.pass_items], spec.preprocessing))
        speeds = time_in_turns(
            {way.backend: (way.features, way.to_input(images)) for way in (own, *ways)}, clock
        )
        best = max(ways, key=lambda way: speeds[way.backend])
        recall = recall_against(wanted, _rows(best, spec, pixels))
        check_recall(spec, recall, len(pixels))
        kept = keep(fresh, spec, best.backend, images=len(pixels), recall=recall, folder=folder)
    gain = speeds[best.backend] / speeds[own.backend]
    return Calibration(spec=kept, backend=best.backend, images=len(pixels), recall=recall, gain=gain)


def _rows(network: Network, spec: ModelSpec, pixels: Pixels) -> NDArray[np.float32]:
    embedder = TorchEmbedder(
        network.features,
        spec,
        device=CPU,
        group_items=len(pixels),
        dtype=network.dtype,
        memory_format=network.memory_format,
    )
    return embedder.embed_images(pixels)

"""From a sample of images to a network in int8, if its neighbours are those of float32."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.adapters.models.backends.backend import OTHERS, Backend, is_installed
from pipeline.adapters.models.backends.exported import exported
from pipeline.adapters.models.backends.int8 import (
    INT8,
    MIN_IMAGES,
    keep,
    keeps_neighbours,
    recall_against,
    refusal,
)
from pipeline.adapters.models.backends.networks import CPU, Network, Work, in_torch, open_network
from pipeline.adapters.models.backends.quantise import Quantiser
from pipeline.adapters.models.backends.trial import MIN_GAIN, Clock, time_in_turns
from pipeline.adapters.models.torch_embedder import CPU_PASS_ITEMS, TorchEmbedder
from pipeline.errors import ArgumentError, ModelError
from pipeline.image.preprocess import normalise
from pipeline.types import ModelSpec, Pixels, Preprocessing

RANGE_IMAGES = 128  # more of them widen the ranges of activations, and leave fewer steps within
FLOAT32 = "float32"
LOSS_IMAGES = 16  # that tell which layers lose most
IN_FLOAT = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7)  # shares of layers that are tried

Sample = Callable[[Preprocessing], Pixels]  # [N, 3, S, S] of the images that a calibration is for


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """`gain` is how many times as fast it is as torch in float32, by one pass on one thread, and
    `gain_over_float` as the fastest backend in float32.

    `in_float` of its `layers` are in float32: those that lose most.
    """

    spec: ModelSpec  # of the model in int8
    backend: Backend
    images: int
    recall: float
    gain: float
    gain_over_float: float
    layers: int
    in_float: int


def calibrate(
    module: nn.Module,
    spec: ModelSpec,
    pixels: Pixels,
    *,
    folder: Path,
    min_gain: float = MIN_GAIN,
    clock: Clock = time.process_time,
) -> Calibration:
    """Calibrate, check, measure and keep.

    Args:
        pixels: [N, 3, S, S], a sample of the images that it is for.
        min_gain: over the fastest backend in float32. Less than that is not worth what is lost.

    Raises:
        ArgumentError: they are too few.
        ConfigError: what it needs is not installed.
        ModelError: the network has no form in int8, or its neighbours are not those of float32.
    """
    if len(pixels) < MIN_IMAGES:
        raise ArgumentError(f"{len(pixels)} images are too few for int8; at least {MIN_IMAGES} are needed")
    own = in_torch(module, spec, Work(precision=FLOAT32))
    ranges = normalise(pixels[:RANGE_IMAGES], spec.preprocessing)
    with (
        tempfile.TemporaryDirectory() as temporary,
        exported(module, spec, folder) as network,
        Quantiser(network, ranges, model=spec.name) as quantiser,
    ):
        fresh = Path(temporary) / "int8.onnx"
        judge = _Judge(network, spec, own, pixels, clock)
        found = _first_that_keeps(quantiser, judge, fresh, min_gain)
        kept = keep(fresh, spec, found.backend, images=len(pixels), recall=found.recall, folder=folder)
    return Calibration(spec=kept, images=len(pixels), **asdict(found))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Attempt:
    """See `Calibration`. `gain_over_float` is over the fastest backend in float32."""

    backend: Backend
    recall: float
    gain: float
    gain_over_float: float
    layers: int
    in_float: int


def _first_that_keeps(quantiser: Quantiser, judge: "_Judge", fresh: Path, min_gain: float) -> _Attempt:
    """The network with as many layers in 8 bits as keep the neighbours.

    Raises:
        ModelError: no attempt keeps them, or those that are left in 8 bits make it no faster.
    """
    layers = quantiser.layers
    by_loss: Sequence[str] = ()
    best_recall = 0.0
    for share in IN_FLOAT:
        if share and not by_loss:
            losses = quantiser.losses(judge.few)
            by_loss = sorted(layers, key=losses.__getitem__, reverse=True)
        in_float = by_loss[: round(share * len(layers))]
        quantiser.write(fresh, in_float=in_float)
        found = judge.attempt(fresh, layers=len(layers), in_float=len(in_float))
        if found.gain_over_float < min_gain:
            break  # with fewer layers in 8 bits it is slower still
        if keeps_neighbours(found.recall):
            return found
        best_recall = max(best_recall, found.recall)
    raise judge.refuse(best_recall)


class _Judge:
    """Knows what the network makes of the sample in float32, and how long that takes."""

    def __init__(self, network: Path, spec: ModelSpec, own: Network, pixels: Pixels, clock: Clock) -> None:
        """Args: `own` is torch's form of the network."""
        self._spec = spec
        self._own = own
        self._others = [self._open(backend, network, FLOAT32) for backend in _installed()]
        self._pixels = pixels
        self._wanted = _rows(own, spec, pixels)
        self._images = torch.from_numpy(normalise(pixels[:CPU_PASS_ITEMS], spec.preprocessing))
        self._clock = clock

    @property
    def few(self) -> NDArray[np.float32]:
        """Images that no range was found with, where there are so many."""
        return normalise(self._pixels[-LOSS_IMAGES:], self._spec.preprocessing)

    def attempt(self, path: Path, *, layers: int, in_float: int) -> _Attempt:
        """With the fastest of the backends that are installed."""
        ways = [self._open(backend, path, INT8) for backend in _installed()]
        every = (self._own, *self._others, *ways)
        speeds = time_in_turns(
            {(way.backend, way.precision): (way.features, way.to_input(self._images)) for way in every},
            self._clock,
        )
        best = max(ways, key=lambda way: speeds[way.backend, way.precision])
        speed = speeds[best.backend, best.precision]
        return _Attempt(
            backend=best.backend,
            recall=recall_against(self._wanted, _rows(best, self._spec, self._pixels)),
            gain=speed / speeds[self._own.backend, FLOAT32],
            gain_over_float=speed / max(speeds[way.backend, FLOAT32] for way in (self._own, *self._others)),
            layers=layers,
            in_float=in_float,
        )

    def refuse(self, recall: float) -> ModelError:
        return refusal(self._spec, recall, len(self._pixels))

    def _open(self, backend: Backend, path: Path, precision: str) -> Network:
        return open_network(backend, path, self._spec.name, Work(precision=FLOAT32), precision)


def _installed() -> list[Backend]:
    return [backend for backend in OTHERS if is_installed(backend)]


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

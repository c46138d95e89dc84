"""Which backend is the fastest of those that give the same embeddings."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.adapters.models.backends.backend import Backend
from pipeline.adapters.models.backends.networks import Features, Network
from pipeline.adapters.models.inference import MIN_COSINE
from pipeline.adapters.models.passes import PASSES

Clock = Callable[[], float]  # seconds
Way = TypeVar("Way")

MIN_GAIN = 1.05  # over torch: below that, noise decides, and a second runtime is not worth its memory
MOST_ROUNDS = 7
MOST_S = 6.0  # after which no further round begins: large networks are told apart in fewer


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One line of `pictor models bench`."""

    backend: Backend
    precision: str = ""  # that it computes in, float32 or bfloat16
    images_per_s: float = 0.0  # of one pass
    cosine: float = 0.0  # the least, to torch in float32
    refused: str = ""  # why it cannot be used; empty if it can


def judge(network: Network, images_per_s: float, cosine: float) -> Trial:
    return Trial(
        backend=network.backend,
        precision=network.precision,
        images_per_s=images_per_s,
        cosine=cosine,
        refused="" if cosine >= MIN_COSINE else f"cosine under {MIN_COSINE}",
    )


def pick(trials: Sequence[Trial]) -> Trial:
    """The fastest that may be used. The first, which is torch, unless another one is faster by `MIN_GAIN`."""
    own = trials[0]
    fastest = max((trial for trial in trials if not trial.refused), key=_speed, default=own)
    return fastest if fastest.images_per_s >= MIN_GAIN * own.images_per_s else own


def time_in_turns(
    ways: Mapping[Way, tuple[Features, Tensor]], clock: Clock = time.process_time
) -> dict[Way, float]:
    """Images per second of each way, given with its own input.

    They take turns, and the best turn of each counts. The default clock is the CPU time of this process: a
    job keeps all cores busy, and what other processes do meanwhile must not choose.
    """
    best_s = dict.fromkeys(ways, float("inf"))
    for features, images in ways.values():
        _run(features, images)  # the first pass plans the others
    started = clock()
    for _ in range(MOST_ROUNDS):
        for backend, (features, images) in ways.items():
            before = clock()
            _run(features, images)
            best_s[backend] = min(best_s[backend], clock() - before)
        if clock() - started > MOST_S:
            break
    return {backend: len(images) / best_s[backend] for backend, (_, images) in ways.items()}


def _run(features: Features, images: Tensor) -> None:
    with PASSES.one(), torch.inference_mode():
        features(images)


def _speed(trial: Trial) -> float:
    return trial.images_per_s

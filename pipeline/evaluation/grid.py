"""Cosines on a grid. Counts at a threshold of the grid are exact, and memory does not grow with pairs."""

import numpy as np
from numpy.typing import NDArray

RESOLUTION = 1e-4  # finer than the noise of one model on two machines
STEPS = 20_000  # from -1 to 1


def steps_of(scores: NDArray[np.floating]) -> NDArray[np.int32]:
    """The step that each cosine reaches, 0 to STEPS. A cosine is at or above threshold `t` if its step is."""
    # The half of a millionth of a step: 0.3 as a float lies a hair below its step, and is meant to reach it.
    reached = np.floor((scores.astype(np.float64) + 1) / RESOLUTION + 5e-4)
    return np.clip(reached, 0, STEPS).astype(np.int32)


def step_above(threshold: float) -> int:
    """The first step that is not below a threshold."""
    return int(np.clip(np.ceil((threshold + 1) / RESOLUTION - 5e-4), 0, STEPS))


def threshold_of(step: int) -> float:
    return round(step * RESOLUTION - 1, 4)


def counts_from(histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """[STEPS + 1], how many are at or above each step."""
    return np.cumsum(histogram[::-1])[::-1]

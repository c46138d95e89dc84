"""Resamples of persons. Comparisons share images and persons, so comparisons cannot be resampled."""

import numpy as np
from numpy.typing import NDArray

MOST_REPLICATES = 1000
_FEWEST_REPLICATES = 200  # the 2.5 % end of fewer rests on four of them
_WEIGHTS = 20_000_000  # of all replicates together: 80 MB
_PAIRS = 4 * 10**10  # of persons in all replicates together: some minutes of two cores


def replicates_for(persons: int) -> int:
    """As many as memory and time allow."""
    most = min(_WEIGHTS // max(persons, 1), _PAIRS // max(persons, 1) ** 2)
    return int(np.clip(most, _FEWEST_REPLICATES, MOST_REPLICATES))


def draw_weights(persons: int, seed: int) -> NDArray[np.float32]:
    """[B, P], how often each person is in each resample. Each row adds up to P."""
    chance = np.full(persons, 1 / persons) if persons else np.zeros(0)
    generator = np.random.default_rng(seed)
    return generator.multinomial(persons, chance, size=replicates_for(persons)).astype(np.float32)

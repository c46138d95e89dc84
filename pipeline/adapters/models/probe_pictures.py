"""Pictures that differ everywhere from what a wrong size, cut, filter or scale would make of them."""

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Pixels, Preprocessing

_SIZES = ((300, 437), (391, 260))  # height and width: both shapes, and sides that no cut divides evenly


def probe_pictures() -> list[NDArray[np.uint8]]:
    """[H, W, 3]. The same everywhere: smooth waves of all lengths, as in photographs."""
    return [_draw(height, width) for height, width in _SIZES]


def odd_picture(spec: Preprocessing) -> Pixels:
    """Three pixels over a multiple of four are cut of it: libraries round the half of them differently."""
    longer = spec.resize + 4 + (3 - spec.resize + spec.crop) % 4
    return _draw(2 * spec.resize, 2 * longer)


def _draw(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = [
        np.sin((x * across + y * down) / length + phase)
        for length, across, down, phase in ((97, 1, 0.3, 0), (41, -0.4, 1, 2), (13, 1, 1, 4), (5, 0.2, -1, 1))
    ]
    mixed = [sum(wave * (1 + (index + shift) % 3) for index, wave in enumerate(waves)) for shift in range(3)]
    return np.clip(np.stack(mixed, axis=2) * 18 + (90, 120, 150), 0, 255).astype(np.uint8)

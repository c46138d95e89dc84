"""How good a picture is, in numbers that need no model. docs/reference/faces.md has the sources."""

import numpy as np

from pipeline.types import Pixels

HALF_SHARP = 100.0  # variance of the Laplacian, in squared levels of 255, that counts as 50
LUMA = np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709


def sharpness(pixels: Pixels) -> float:
    """0..100. Args: `pixels` [3, H, W], of 0..255."""
    grey = np.tensordot(LUMA, pixels.astype(np.float64), axes=1)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    variance = float(laplacian.var())
    return 100 * variance / (variance + HALF_SHARP)


def brightness(pixels: Pixels) -> float:
    """0..100. Args: `pixels` [3, H, W], of 0..255."""
    return float(LUMA @ pixels.mean(axis=(1, 2))) * 100 / 255

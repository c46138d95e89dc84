"""How good a picture is, in numbers that need no model. docs/reference/faces.md has the sources."""

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Pixels

HALF_SHARP = 100.0  # variance of the Laplacian, in squared levels of 255, that counts as 50
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709

Grey = NDArray[np.float32]  # [H, W], levels of 255


def grey_of(pixels: Pixels) -> Grey:
    """Args: `pixels` [3, H, W], of 0..255."""
    grey: Grey = LUMA @ pixels.reshape(3, -1).astype(np.float32)
    return grey.reshape(pixels.shape[1:])


def sharpness(grey: Grey) -> float:
    """0..100."""
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    variance = float(laplacian.var())
    return 100 * variance / (variance + HALF_SHARP)


def brightness(grey: Grey) -> float:
    """0..100."""
    return float(grey.mean()) * 100 / 255

"""A model on a device."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.types import (
    ModelSpec,
)


class Embedder(Protocol):
    """A model on a device. Safe to share between threads. Calls wait when the device is busy."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def device(self) -> str:
        """Where it computes: "cpu" or "cuda:0"; empty while its weights are not loaded."""
        ...

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed one group.

        Args:
            pixels: [N, 3, S, S], 0..255, S = `spec.preprocessing.crop`; any N >= 1.

        Returns:
            [N, D], rows of unit length; a row the model could not answer is NaN.
        """
        ...

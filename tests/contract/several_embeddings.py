"""A model with two others beside it, and rows of its collections."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Capability, IndexRow, ModelBeside
from tests.contract.indexes import axis, model, row

COLOURS = model("hues", "c0" * 32, dim=3)
COPIES = replace(model("sscd", "5c" * 32, dim=4), capabilities=(Capability.IMAGES, Capability.TEXT))
SEVERAL = replace(
    model("first", "ab" * 32),
    beside=(ModelBeside(name="colours", spec=COLOURS), ModelBeside(name="copies", spec=COPIES)),
)


def direction(dim: int, place: int) -> NDArray[np.float32]:
    vector = np.zeros(dim, dtype=np.float32)
    vector[place] = 1
    return vector


def whole_row(
    key: str,
    *,
    etag: str = "e1",
    first: int = 0,
    colours: int = 0,
    copies: int = 0,
    metadata: dict[str, str] | None = None,
) -> IndexRow:
    """Args: the axis along which each embedding lies."""
    beside = {"colours": direction(3, colours), "copies": direction(4, copies)}
    return replace(row(key, axis(first), etag=etag, metadata=metadata), beside=beside)

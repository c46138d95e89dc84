"""Whether two models say the same of the same images."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ArgumentError
from pipeline.evaluation.labelled import LabelledVectors

SAME = 0.999  # the least cosine of what Pictor takes for one model in two forms


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Cosines between the two vectors of each image. `worst` is the image of the least one."""

    images: int
    least: float
    mean: float
    worst: str

    @property
    def is_same(self) -> bool:
        return self.least >= SAME


def agreement_of(first: LabelledVectors, second: LabelledVectors) -> Agreement:
    """Of the images that both have a vector of.

    Raises:
        ArgumentError: the vectors have different lengths, or there is no such image.
    """
    dims = first.vectors.shape[1], second.vectors.shape[1]
    if dims[0] != dims[1]:
        raise ArgumentError(f"vectors of {dims[0]} and of {dims[1]} numbers have no cosine")
    ours = dict(zip(first.keys, first.vectors, strict=True))
    theirs = dict(zip(second.keys, second.vectors, strict=True))
    keys = sorted(ours.keys() & theirs.keys())
    if not keys:
        raise ArgumentError("no image gave a vector with both models")
    cosines = np.array([float(ours[key] @ theirs[key]) for key in keys])
    return Agreement(
        images=len(keys),
        least=float(cosines.min()),
        mean=float(cosines.mean()),
        worst=keys[int(cosines.argmin())],
    )

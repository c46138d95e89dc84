"""A model as the pipeline sees it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Vector = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """How an upright RGB image becomes a model's input. Part of the model's fingerprint.

    `fit="crop"`: the shorter side becomes `resize`, then the centre `crop` x `crop` is taken.
    `fit="stretch"`: the whole image becomes `crop` x `crop`; the aspect ratio is lost, no pixel is.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]  # in 0..1 units
    std: tuple[float, float, float]
    interpolation: str = "bilinear"  # or "bicubic"; always antialiased
    fit: str = "crop"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A model as the pipeline sees it.

    `address` is where the model comes from: "builtin", "torchvision/resnet50" or the path of a model file.
    `fingerprint` is 64 hex digits of SHA-256 over weights, architecture and preprocessing.
    """

    name: str
    address: str
    architecture: str
    fingerprint: str
    dim: int
    preprocessing: Preprocessing

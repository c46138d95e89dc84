"""A model as the pipeline sees it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Vector = NDArray[np.float32]
else:
    # Whoever has no pixels, as a client of the service, does not pay for numpy: half of its start.
    Pixels = Vector = object


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """How an upright RGB image becomes a model's input. Part of the model's fingerprint.

    `fit="crop"`: the shorter side becomes `resize`, then the centre `crop` x `crop` is taken.
    `fit="stretch"`: the whole image becomes `crop` x `crop`. The aspect ratio is lost, no pixel is.
    `fit="squash"`: the whole image becomes `resize` x `resize`, then the centre `crop` x `crop` is taken.
    `fit="pad"`: the longer side becomes `resize`, then the centre `crop` x `crop` is taken.
    Where a side is shorter than `crop`, it is filled up with the colour `fill`.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]  # in 0..1 units
    std: tuple[float, float, float]
    interpolation: str = "bilinear"  # or "bicubic" or "lanczos"; always antialiased
    fit: str = "crop"
    fill: tuple[int, int, int] = (0, 0, 0)  # RGB, 0..255
    centre: str = "nearest"  # or "down": where the cut begins when half a pixel is left over


class Capability(StrEnum):
    """What a model can be asked for. Each has a protocol in `ports.embedder`."""

    IMAGES = "images"
    TEXT = "text"
    VIEWS = "views"  # it looks at parts of an image, 0 to MAX_VIEWS of them, and not at the whole


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Recall:
    """How near a model in int8 is to the same one in float32, as its calibration found.

    `recall_at_10`, 0..1, is the share of the ten nearest images that are the same, on a sample of `images`.
    """

    recall_at_10: float
    images: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A model as the pipeline sees it.

    `address` is where the model comes from: "builtin", "torchvision/resnet50" or the path of a model file.
    `fingerprint` is 64 hex digits of SHA-256 over weights, architecture and preprocessing, and over the names
    and fingerprints of the models beside it.
    """

    name: str
    address: str
    architecture: str
    fingerprint: str
    dim: int
    preprocessing: Preprocessing
    capabilities: tuple[Capability, ...] = (Capability.IMAGES,)
    beside: tuple["ModelBeside", ...] = ()  # they embed each image, too; ordered by name
    int8: Int8Recall | None = None  # of a model in int8. No part of the fingerprint

    @property
    def has_views(self) -> bool:
        return Capability.VIEWS in self.capabilities

    @property
    def reads_text(self) -> bool:
        return Capability.TEXT in self.capabilities


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelBeside:
    """A model that gives each image of a collection one more embedding.

    `name` is what a search calls that embedding, for example "copies". The model has no other beside it.
    """

    name: str
    spec: ModelSpec

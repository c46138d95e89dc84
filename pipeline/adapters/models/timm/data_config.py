"""timm's data configuration as `Preprocessing`, checked on pictures against its own transform."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from pipeline.adapters.models.own_pipeline import check_against_own
from pipeline.adapters.models.timm.library import timm
from pipeline.errors import ModelError
from pipeline.types import Pixels, Preprocessing

_FITS = {"center": "crop", "squash": "squash", "border": "pad"}
_INTERPOLATIONS = ("bilinear", "bicubic", "lanczos")


def read_data_config(module: nn.Module, name: str) -> Preprocessing:
    """Raises ModelError: it asks for what Pictor does not do, which is named."""
    config = timm().data.resolve_model_data_config(module)
    found = _translate(config, f"{name}: its data configuration")
    transform = timm().data.create_transform(**config, is_training=False)

    def own(rgb: Pixels) -> NDArray[np.float32]:
        return np.asarray(transform(Image.fromarray(rgb)), np.float32)

    check_against_own(found, own, where=f"{name}: its transform")
    return found


def _translate(config: dict[str, Any], where: str) -> Preprocessing:
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise ModelError(f"{where}: input_size = {config['input_size']}, 3 x S x S is supported")
    if config["interpolation"] not in _INTERPOLATIONS:
        allowed = ", ".join(_INTERPOLATIONS)
        raise ModelError(
            f"{where}: interpolation = {config['interpolation']!r}, one of {allowed} is supported"
        )
    resize, fit = math.floor(height / config["crop_pct"]), _FITS[config["crop_mode"]]
    return Preprocessing(
        resize=resize,
        crop=height,
        mean=_triple(config["mean"]),
        std=_triple(config["std"]),
        interpolation=config["interpolation"],
        fit="stretch" if fit == "squash" and resize == height else fit,
        fill=_border(config["mean"]) if fit == "pad" else (0, 0, 0),
    )


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _border(mean: Sequence[float]) -> tuple[int, int, int]:
    """The colour that becomes zero, as timm has it."""
    red, green, blue = (round(255 * value) for value in mean)
    return red, green, blue

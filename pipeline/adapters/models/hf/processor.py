"""A model's own image processor as `Preprocessing`, checked on pictures against the processor itself."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.models.hf.folder import PROCESSOR, ModelFolder, read_json
from pipeline.adapters.models.hf.library import transformers
from pipeline.adapters.models.own_pipeline import check_against_own
from pipeline.errors import ModelError
from pipeline.types import Pixels, Preprocessing

_RESAMPLING = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def read_preprocessing(folder: ModelFolder) -> Preprocessing:
    """Raises ModelError: there is no processor, or it does what Pictor does not, which is named."""
    settings = read_json(folder.path / PROCESSOR, folder.name)
    processor = _load(folder, settings)
    found = _translate(processor, folder.name)
    _check(processor, found, folder.name)
    return found


def _load(folder: ModelFolder, settings: dict[str, Any]) -> Any:
    try:
        return transformers().AutoImageProcessor.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as err:
        kind = settings.get("image_processor_type") or settings.get("feature_extractor_type") or "unnamed"
        raise ModelError(
            f"{folder.name}: {PROCESSOR}: transformers cannot make its processor {kind!r}"
        ) from err


def _translate(processor: Any, name: str) -> Preprocessing:
    where = f"{name}: {PROCESSOR}"
    resize, fit = _resize(processor, where)
    crop = _crop(processor, where) or resize
    mean, std = _normalisation(processor)
    return Preprocessing(
        resize=resize,
        crop=crop,
        mean=mean,
        std=std,
        interpolation=_interpolation(processor, where),
        fit=fit,
        centre="down" if fit == "crop" else "nearest",  # transformers rounds so where it cuts
    )


def _resize(processor: Any, where: str) -> tuple[int, str]:
    """The side and the fit."""
    if not _says(processor, "do_resize"):
        raise ModelError(f"{where}: do_resize is false, and images have sizes of all kinds")
    if _says(processor, "do_pad"):
        raise ModelError(f"{where}: do_pad is not supported")
    if getattr(processor, "max_num_patches", None):
        raise ModelError(f"{where}: max_num_patches: inputs without a fixed size (NaFlex) are not supported")
    if _says(processor, "do_flip_channel_order"):
        raise ModelError(f"{where}: do_flip_channel_order is not supported")
    size = {key: value for key, value in dict(getattr(processor, "size", None) or {}).items() if value}
    match size:
        case {"shortest_edge": side, **rest} if not rest:
            share = getattr(processor, "crop_pct", None)
            return _scaled(side, share) if share else (side, "crop")
        case {"height": height, "width": width, **rest} if not rest and height == width:
            return height, "stretch"
    raise ModelError(
        f"{where}: size = {size}; one shortest_edge, or height and width of a square are supported"
    )


def _scaled(side: int, share: float) -> tuple[int, str]:
    """ConvNeXT's rule: small inputs are the middle of a larger picture, large ones the whole of it."""
    return (int(side / share), "crop") if side < 384 else (side, "stretch")


def _crop(processor: Any, where: str) -> int:
    """0: the processor does not say."""
    if not _says(processor, "do_center_crop"):
        share, size = getattr(processor, "crop_pct", None), dict(getattr(processor, "size", None) or {})
        return int(size.get("shortest_edge") or 0) if share else 0
    size = {key: value for key, value in dict(processor.crop_size).items() if value}
    if size.keys() != {"height", "width"} or size["height"] != size["width"]:
        raise ModelError(f"{where}: crop_size = {size}; height and width of a square are supported")
    return int(size["height"])


def _interpolation(processor: Any, where: str) -> str:
    number = int(getattr(processor, "resample", 2))
    if number not in _RESAMPLING:
        raise ModelError(f"{where}: resample = {number}; {_RESAMPLING} are supported")
    return _RESAMPLING[number]


def _normalisation(processor: Any) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and std in 0..1 units, with the processor's own scale in them."""
    factor = float(processor.rescale_factor) if _says(processor, "do_rescale") else 1.0
    unit = 255 * factor
    if not _says(processor, "do_normalize"):
        return _over((0, 0, 0), unit), _over((1, 1, 1), unit)
    return _over(processor.image_mean, unit), _over(processor.image_std, unit)


def _over(values: Sequence[float], unit: float) -> tuple[float, float, float]:
    if math.isclose(unit, 1, rel_tol=1e-6):
        unit = 1.0  # 1/255 is written with as many digits as somebody liked
    red, green, blue = (value / unit for value in values)
    return red, green, blue


def _says(processor: Any, key: str) -> bool:
    return bool(getattr(processor, key, False))


def _check(processor: Any, found: Preprocessing, name: str) -> None:
    def own(rgb: Pixels) -> NDArray[np.float32]:
        return np.asarray(processor(images=rgb, return_tensors="np")["pixel_values"][0], np.float32)

    check_against_own(found, own, where=f"{name}: its processor {type(processor).__name__}")

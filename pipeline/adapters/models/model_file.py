"""Reads a model file: TOML that names an architecture, its weights and its preprocessing."""

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.models.torchvision_models import check_architecture, published_model
from pipeline.adapters.models.weights import WeightsRef
from pipeline.errors import ModelError
from pipeline.types import Preprocessing

ARCHITECTURE_PREFIX = "torchvision/"
MAX_SIDE_PX = 2048  # the largest published input is 600; a typing error must not ask for gigabytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFile:
    name: str
    architecture: str  # without the prefix
    weights: WeightsRef
    preprocessing: Preprocessing


def read_model_file(path: Path) -> ModelFile:
    """Preprocessing that is not given is that of the architecture's published weights.

    Raises:
        ModelError: no such file, not TOML, or a key that is missing, unknown or of an unusable value.
    """
    table = _read_table(path)
    _check_keys(table, path)
    architecture = str(table["architecture"]).removeprefix(ARCHITECTURE_PREFIX)
    check_architecture(architecture)
    return ModelFile(
        name=str(table["name"]),
        architecture=architecture,
        weights=WeightsRef(
            location=_resolve(str(table["weights"]), path), sha256=str(table.get("sha256", "")).lower()
        ),
        preprocessing=_read_preprocessing(table, published_model(architecture).preprocessing, path),
    )


def _read_table(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ModelError(f"model file {path} cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ModelError(f"model file {path} is not UTF-8 text") from err
    except tomllib.TOMLDecodeError as err:
        place = re.search(r"line (\d+), column (\d+)", str(err))
        at = f" at line {place[1]}, column {place[2]}" if place else ""
        raise ModelError(f"model file {path} is not TOML{at}") from err


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SIDE_PX


def _is_triple(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_number(part) for part in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 1000 and value.isprintable()


# by key, the allowed values in words and as a test
_KEYS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "name": ("printable text", _is_text),
    "architecture": (
        f"{ARCHITECTURE_PREFIX}NAME",
        lambda value: isinstance(value, str) and value.startswith(ARCHITECTURE_PREFIX),
    ),
    "weights": ("a path or s3:// URL", lambda value: _is_text(value) and not str(value).startswith("http")),
    "sha256": (
        "64 hexadecimal digits",
        lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-fA-F]{64}", value) is not None,
    ),
    "resize": (f"a whole number of 1 to {MAX_SIDE_PX}", _is_side),
    "crop": (f"a whole number of 1 to {MAX_SIDE_PX}", _is_side),
    "mean": ("three numbers", _is_triple),
    "std": (
        "three numbers above zero",
        lambda value: _is_triple(value) and isinstance(value, list) and min(value) > 0,
    ),
    "interpolation": ('"bilinear" or "bicubic"', lambda value: value in ("bilinear", "bicubic")),
    "fit": ('"crop" or "stretch"', lambda value: value in ("crop", "stretch")),
}
_REQUIRED = ("name", "architecture", "weights")


def _check_keys(table: Mapping[str, object], path: Path) -> None:
    unknown = sorted(table.keys() - _KEYS.keys())
    if unknown:
        raise ModelError(f"model file {path}: unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    for key in _REQUIRED:
        if key not in table:
            raise ModelError(
                f"model file {path}: key {key!r} is missing; required are {', '.join(_REQUIRED)}"
            )
    for key, value in table.items():
        allowed, is_allowed = _KEYS[key]
        if not is_allowed(value):
            raise ModelError(f"model file {path}: {key} = {_show(value)}, it must be {allowed}")


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _resolve(weights: str, path: Path) -> str:
    return weights if weights.startswith("s3://") else str((path.parent / weights).resolve())


def _read_preprocessing(table: Mapping[str, object], preset: Preprocessing, path: Path) -> Preprocessing:
    crop = _side(table.get("crop"), preset.crop)
    fit = str(table.get("fit", preset.fit))
    # A stretched image is never resized to anything but the crop; one value keeps one fingerprint.
    resize = _side(table.get("resize"), preset.resize) if fit == "crop" else crop
    if resize < crop:
        raise ModelError(f"model file {path}: resize = {resize} is under crop = {crop}")
    return Preprocessing(
        resize=resize,
        crop=crop,
        mean=_triple(table.get("mean"), preset.mean),
        std=_triple(table.get("std"), preset.std),
        interpolation=str(table.get("interpolation", preset.interpolation)),
        fit=fit,
    )


def _side(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def _triple(value: object, otherwise: tuple[float, float, float]) -> tuple[float, float, float]:
    if not isinstance(value, list):
        return otherwise
    red, green, blue = value
    return float(red), float(green), float(blue)

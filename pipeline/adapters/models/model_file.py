"""Reads a model file: TOML that names an architecture, its weights and its preprocessing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.adapters.models.embedding import EMBEDDING, SECTION, EmbeddingSettings, read_embedding
from pipeline.adapters.models.model_keys import (
    COLOUR,
    DIGEST,
    MEAN,
    NAME,
    STD,
    WEIGHTS,
    Rules,
    check_keys,
    one_of,
    whole_number,
)
from pipeline.adapters.models.model_table import read_table
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
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)


def read_model_file(path: Path) -> ModelFile:
    """Raises ModelError: no such file, not TOML, or as `read_model_table` does."""
    return read_model_table(read_table(path), path)


def read_model_table(table: Mapping[str, object], path: Path) -> ModelFile:
    """Preprocessing that is not given is that of the architecture's published weights.

    Raises:
        ModelError: a key is missing, unknown or of an unusable value.
    """
    check_keys(table, _KEYS, REQUIRED, where=f"model file {path}")
    architecture = str(table["architecture"]).removeprefix(ARCHITECTURE_PREFIX)
    check_architecture(architecture)
    return ModelFile(
        name=str(table["name"]),
        architecture=architecture,
        weights=read_weights(table, path),
        preprocessing=read_preprocessing(table, published_model(architecture).preprocessing, path),
        embedding=read_embedding(table, path),
    )


PREPROCESSING: Rules = {
    "resize": whole_number(1, MAX_SIDE_PX),
    "crop": whole_number(1, MAX_SIDE_PX),
    "mean": MEAN,
    "std": STD,
    "interpolation": one_of("bilinear", "bicubic", "lanczos"),
    "fit": one_of("crop", "stretch", "squash", "pad"),
    "fill": COLOUR,
    "centre": one_of("nearest", "down"),
}
REQUIRED = ("name", "architecture", "weights")


def keys_of_library(prefix: str) -> Rules:
    """Of the model file of a network that a library makes. Its architecture is the prefix and a name."""
    return {
        "name": NAME,
        "architecture": (
            f"{prefix}NAME",
            lambda value: isinstance(value, str) and value.startswith(prefix),
        ),
        "weights": WEIGHTS,
        "sha256": DIGEST,
        **PREPROCESSING,
        SECTION: EMBEDDING,
    }


_KEYS = keys_of_library(ARCHITECTURE_PREFIX)


def read_weights(
    table: Mapping[str, object], path: Path, *, key: str = "weights", digest: str = "sha256"
) -> WeightsRef:
    """Args: `table` was checked, `key` and `digest` are those of its keys that name the file."""
    location = resolve_weights(str(table[key]), path)
    return WeightsRef(location=location, sha256=str(table.get(digest, "")).lower())


def resolve_weights(weights: str, path: Path) -> str:
    """Where they are, for a process that works in another folder."""
    return weights if weights.startswith("s3://") else str((path.parent / weights).resolve())


def read_preprocessing(table: Mapping[str, object], preset: Preprocessing, path: Path) -> Preprocessing:
    """Args: `table` was checked, `preset` has what is not given. Raises ModelError: sizes do not fit."""
    crop = _side(table.get("crop"), preset.crop)
    fit = str(table.get("fit", preset.fit))
    # A stretched image is never resized to anything but the crop; one value keeps one fingerprint.
    resize = crop if fit == "stretch" else _side(table.get("resize"), preset.resize)
    if resize < crop and fit != "pad":
        raise ModelError(f"model file {path}: resize = {resize} is under crop = {crop}")
    return Preprocessing(
        resize=resize,
        crop=crop,
        mean=_triple(table.get("mean"), preset.mean),
        std=_triple(table.get("std"), preset.std),
        interpolation=str(table.get("interpolation", preset.interpolation)),
        fit=fit,
        fill=_colour(table.get("fill"), preset.fill),
        centre=str(table.get("centre", preset.centre)),
    )


def _side(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def _colour(value: object, otherwise: tuple[int, int, int]) -> tuple[int, int, int]:
    if not isinstance(value, list):
        return otherwise
    red, green, blue = value
    return red, green, blue


def _triple(value: object, otherwise: tuple[float, float, float]) -> tuple[float, float, float]:
    if not isinstance(value, list):
        return otherwise
    red, green, blue = value
    return float(red), float(green), float(blue)

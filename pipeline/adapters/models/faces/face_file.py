"""Reads the model file of a face model: TOML with the sections finder, aligner and embedder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.adapters.models.model_file import MAX_SIDE_PX, read_table, read_weights
from pipeline.adapters.models.model_keys import (
    DIGEST,
    MEAN,
    NAME,
    STD,
    WEIGHTS,
    Rules,
    check_keys,
    one_of,
    share,
    whole_number,
)
from pipeline.adapters.models.onnx.network import SUFFIX
from pipeline.adapters.models.weights import WeightsRef
from pipeline.errors import ModelError
from pipeline.ports.image_rows import MAX_VIEWS
from pipeline.types import Preprocessing

MAX_DIM = 4096  # face embeddings have 128 to 512 numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class FinderSettings:
    """How faces are found. All of it is part of the fingerprint."""

    detector: str  # what the network's answer means; "yunet"
    side_px: int  # the longer side of what the network sees at once
    min_score: float  # 0..1
    max_overlap: float  # of two boxes, as intersection over union: the lower score is left out above it
    max_faces: int
    min_face_px: int  # the width of the smallest face that is looked for, in the picture


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignerSettings:
    template: str  # where the five points come to lie; "arcface"
    side_px: int  # of the crop


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedderSettings:
    """What the network takes and gives. `mean` and `std` are in 0..1 units, in the order of `channels`."""

    layout: str  # "nchw" or "nhwc"
    channels: str  # "rgb" or "bgr"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dim: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceFile:
    name: str
    detector: WeightsRef
    finder: FinderSettings
    aligner: AlignerSettings
    network: WeightsRef  # of the embedder
    embedder: EmbedderSettings

    @property
    def preprocessing(self) -> Preprocessing:
        """Of a crop, which has its final size already."""
        side_px, given = self.aligner.side_px, self.embedder
        return Preprocessing(resize=side_px, crop=side_px, mean=given.mean, std=given.std, fit="stretch")


def read_face_file(address: str) -> FaceFile | None:
    """None for a model that looks at whole images. Raises ModelError: the file is not as it should be."""
    if not address.endswith(".toml"):
        return None
    table = read_table(Path(address))
    return read_face_table(table, Path(address)) if is_face_table(table) else None


def is_face_table(table: Mapping[str, object]) -> bool:
    """Whether a model file speaks of faces."""
    return bool(table.keys() & _SECTIONS.keys())


def read_face_table(table: Mapping[str, object], path: Path) -> FaceFile:
    """Args: `table` as `read_table` gives it. Raises ModelError: a key is missing, unknown or unusable."""
    check_keys(table, _TOP, tuple(_TOP), where=f"model file {path}")
    finder, aligner, embedder = (_section(table, name, path) for name in _SECTIONS)
    return FaceFile(
        name=str(table["name"]),
        detector=_weights(finder, path),
        finder=FinderSettings(
            detector=finder["detector"],
            side_px=finder["side_px"],
            min_score=float(finder["min_score"]),
            max_overlap=float(finder["max_overlap"]),
            max_faces=finder["max_faces"],
            min_face_px=finder["min_face_px"],
        ),
        aligner=AlignerSettings(template=aligner["template"], side_px=aligner["side_px"]),
        network=_weights(embedder, path),
        embedder=EmbedderSettings(
            layout=embedder["layout"],
            channels=embedder["channels"],
            mean=_triple(embedder["mean"]),
            std=_triple(embedder["std"]),
            dim=embedder["dim"],
        ),
    )


_TABLE = ("a section", lambda value: isinstance(value, dict))
_TOP: Rules = {"name": NAME, "finder": _TABLE, "aligner": _TABLE, "embedder": _TABLE}
_FILE: Rules = {"weights": WEIGHTS, "sha256": DIGEST}
_SIDE = whole_number(32, MAX_SIDE_PX)
_SECTIONS: Mapping[str, Rules] = {
    "finder": {
        "detector": one_of("yunet"),
        **_FILE,
        "side_px": _SIDE,
        "min_score": share(),
        "max_overlap": share(),
        "max_faces": whole_number(1, MAX_VIEWS),
        "min_face_px": whole_number(8, MAX_SIDE_PX),
    },
    "aligner": {"template": one_of("arcface"), "side_px": _SIDE},
    "embedder": {
        **_FILE,
        "layout": one_of("nchw", "nhwc"),
        "channels": one_of("rgb", "bgr"),
        "mean": MEAN,
        "std": STD,
        "dim": whole_number(2, MAX_DIM),
    },
}
# What most networks want, so that a file names only what is particular about its own.
_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "finder": {
        "side_px": 640,
        "min_score": 0.6,
        "max_overlap": 0.3,
        "max_faces": MAX_VIEWS,
        "min_face_px": 40,
    },
    "aligner": {"template": "arcface", "side_px": 112},
    "embedder": {"layout": "nchw", "channels": "rgb", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}
_REQUIRED = {"finder": ("detector", "weights", "sha256"), "embedder": ("weights", "sha256", "dim")}


def _section(table: Mapping[str, object], name: str, path: Path) -> dict[str, Any]:
    given = table[name]
    assert isinstance(given, dict), "it was checked"
    check_keys(given, _SECTIONS[name], _REQUIRED.get(name, ()), where=f"model file {path}: [{name}]")
    return {**_DEFAULTS[name], **given}


def _weights(section: Mapping[str, Any], path: Path) -> WeightsRef:
    weights = read_weights(section, path)
    if not weights.location.endswith(SUFFIX):
        raise ModelError(f"model file {path}: weights {section['weights']}: an {SUFFIX} file is expected")
    return weights


def _triple(values: list[float]) -> tuple[float, float, float]:
    first, second, third = values
    return float(first), float(second), float(third)

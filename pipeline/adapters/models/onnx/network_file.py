"""Reads the model file of a network in an ONNX file.

Such a file says nothing of pictures. So the model file says how one becomes its input, and what of its answer
is the embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.models.embedding import EMBEDDING, SECTION, EmbeddingSettings, read_embedding
from pipeline.adapters.models.model_file import (
    MAX_SIDE_PX,
    PREPROCESSING,
    read_preprocessing,
    read_weights,
)
from pipeline.adapters.models.model_keys import (
    DIGEST,
    NAME,
    WEIGHTS,
    Rules,
    check_keys,
    one_of,
    whole_number,
)
from pipeline.adapters.models.onnx.network import SUFFIX
from pipeline.adapters.models.onnx.text_file import SECTION as TEXT_SECTION
from pipeline.adapters.models.onnx.text_file import TEXT, TextFile, read_text_section
from pipeline.adapters.models.weights import WeightsRef
from pipeline.errors import ModelError
from pipeline.types import Preprocessing


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkFile:
    name: str
    architecture: str
    weights: WeightsRef
    input: str  # empty: the only one
    output: str  # empty: the first one
    layout: str  # "nchw" or "nhwc"
    channels: str  # "rgb" or "bgr"
    values: str  # "float", or "bytes" for a network that normalises by itself
    pooling: str  # "none", "cls" or "mean"
    preprocessing: Preprocessing
    embedding: EmbeddingSettings
    texts: TextFile | None = None  # of a model of two towers

    @property
    def answer(self) -> str:
        """What the fingerprint covers beside weights and preprocessing."""
        parts = (
            self.architecture,
            self.input,
            self.output,
            self.layout,
            self.channels,
            self.values,
            self.pooling,
        )
        own = " ".join(part or "-" for part in parts)
        return f"{own} {self.texts.answer}" if self.texts else own


def read_network_table(table: Mapping[str, object], path: Path) -> NetworkFile:
    """Raises ModelError: a key is missing, unknown or of an unusable value."""
    where = f"model file {path}"
    check_keys(table, _KEYS, _REQUIRED, where=where)
    _check_normalisation(table, where)
    weights = read_weights(table, path)
    if not weights.location.endswith(SUFFIX):
        raise ModelError(f"{where}: weights {table['weights']}: the name of a {SUFFIX} file is expected")
    return NetworkFile(
        name=str(table["name"]),
        architecture=str(table["architecture"]),
        weights=weights,
        input=str(table.get("input", "")),
        output=str(table.get("output", "")),
        layout=str(table.get("layout", "nchw")),
        channels=str(table.get("channels", "rgb")),
        values=str(table.get("values", "float")),
        pooling=str(table.get("pooling", "none")),
        preprocessing=_preprocessing(table, path),
        embedding=read_embedding(table, path),
        texts=read_text_section(table, path),
    )


_KEYS: Rules = {
    "name": NAME,
    "architecture": NAME,
    "weights": WEIGHTS,
    "sha256": DIGEST,
    "input": NAME,
    "output": NAME,
    "layout": one_of("nchw", "nhwc"),
    "channels": one_of("rgb", "bgr"),
    "values": one_of("float", "bytes"),
    "pooling": one_of("none", "cls", "mean"),
    **PREPROCESSING,
    "crop": whole_number(1, MAX_SIDE_PX),
    SECTION: EMBEDDING,
    TEXT_SECTION: TEXT,
}
_REQUIRED = ("name", "architecture", "weights", "crop")
_NORMALISATION = ("mean", "std")
BYTES_STD = 1 / 255  # normalised by it, values are 0..255 again


def _preprocessing(table: Mapping[str, object], path: Path) -> Preprocessing:
    side_px = table["crop"]
    assert isinstance(side_px, int), "it was checked"
    preset = Preprocessing(resize=side_px, crop=side_px, mean=(0, 0, 0), std=(BYTES_STD,) * 3)
    return read_preprocessing(table, preset, path)


def _check_normalisation(table: Mapping[str, object], where: str) -> None:
    takes_bytes = table.get("values") == "bytes"
    for key in _NORMALISATION:
        if takes_bytes and key in table:
            raise ModelError(f'{where}: {key} has no meaning with values = "bytes"')
        if not takes_bytes and key not in table:
            raise ModelError(f'{where}: key {key!r} is missing; without it, say values = "bytes"')

"""From an address to a folder in Hugging Face's layout, and what a model file adds to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.adapters.models.embedding import EMBEDDING, SECTION, EmbeddingSettings, read_embedding
from pipeline.adapters.models.family import Places
from pipeline.adapters.models.hf.bucket import fetch_folder
from pipeline.adapters.models.hf.digests import open_checked
from pipeline.adapters.models.hf.folder import PREFIX, ModelFolder, hub_folder
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.model_file import REQUIRED, resolve_weights
from pipeline.adapters.models.model_keys import NAME, WEIGHTS, Rules, check_keys, one_of
from pipeline.adapters.models.weights import WeightsRef
from pipeline.errors import ModelError

ARCHITECTURE = "hf"
POOLINGS = PROJECTION, POOLER, CLS, MEAN = ("projection", "pooler", "cls", "mean")


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderSettings:
    """`pooling` is one of `POOLINGS`, or empty for the first of them that the network has."""

    pooling: str = ""
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)


def find_folder(address: ModelAddress, places: Places) -> tuple[ModelFolder, FolderSettings]:
    """Raises ModelError: the model file is faulty, or its folder is not there or cannot be trusted."""
    if address.table is None:
        return _open(address.text, places), FolderSettings()
    weights = _read_weights(address.table, address.path)
    location = weights if weights.startswith(PREFIX) else resolve_weights(weights, address.path)
    settings = FolderSettings(
        pooling=str(address.table.get("pooling", "")),
        embedding=read_embedding(address.table, address.path),
    )
    return _open(location, places), settings


def hub_name(address: ModelAddress) -> str:
    """Of what a model takes from the hub. Raises ModelError: it takes nothing from there."""
    name = address.text if address.table is None else str(address.table.get("weights"))
    if not name.startswith(PREFIX):
        raise ModelError(f"model {address.text!r} has nothing to download: its weights are {name}")
    return name


_KEYS: Rules = {
    "name": NAME,
    "architecture": (f'"{ARCHITECTURE}"', lambda value: value == ARCHITECTURE),
    "weights": WEIGHTS,
    "pooling": one_of(*POOLINGS),
    SECTION: EMBEDDING,
}


def in_bucket(address: ModelAddress) -> WeightsRef | None:
    """The folder of S3 that a model file names. Raises ModelError: the model file is faulty."""
    if address.table is None:
        return None
    weights = _read_weights(address.table, address.path)
    return WeightsRef(location=f"{weights.rstrip('/')}/") if weights.startswith("s3://") else None


def _read_weights(table: Mapping[str, object], path: Path) -> str:
    check_keys(table, _KEYS, REQUIRED, where=f"model file {path}")
    return str(table["weights"])


def _open(location: str, places: Places) -> ModelFolder:
    return open_checked(_find(location, places), location)


def _find(location: str, places: Places) -> Path:
    if location.startswith(PREFIX):
        return find_hub_folder(location, places, name=location)
    if location.startswith("s3://"):
        return fetch_folder(location, weights_dir=places.weights_dir, fetch_s3=places.fetch_s3, name=location)
    return Path(location)


def find_hub_folder(hub_name: str, places: Places, *, name: str) -> Path:
    """Where a model of the hub lies on this machine, also after it came from the bucket of models.

    Args:
        name: of the model, for messages.

    Raises:
        ModelError: it is not here, and the bucket of models does not have it.
    """
    folder = hub_folder(hub_name, places.weights_dir)
    if folder.is_dir() or not places.model_store:
        return folder
    url = f"{places.model_store.rstrip('/')}/{hub_name.removeprefix(PREFIX)}"
    return fetch_folder(url, weights_dir=places.weights_dir, fetch_s3=places.fetch_s3, name=name)

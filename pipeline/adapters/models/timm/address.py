"""From an address to a network of timm and its weights, and what a model file adds to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.adapters.models.embedding import EmbeddingSettings, read_embedding
from pipeline.adapters.models.family import Places
from pipeline.adapters.models.hf.address import find_hub_folder
from pipeline.adapters.models.hf.digests import open_checked
from pipeline.adapters.models.hf.folder import CONFIG, read_json
from pipeline.adapters.models.hf.folder import PREFIX as HF_PREFIX
from pipeline.adapters.models.hf.folder import WEIGHTS as FOLDER_WEIGHTS
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.model_file import PREPROCESSING, REQUIRED, keys_of_library, read_weights
from pipeline.adapters.models.model_keys import check_keys
from pipeline.adapters.models.timm.library import timm
from pipeline.adapters.models.timm.network import check_name
from pipeline.adapters.models.weights import WeightsRef
from pipeline.errors import ModelError

PREFIX = "timm/"


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedNetwork:
    """`name` is timm's. `config` and `arguments` are a folder's; None where the library's own hold.

    `keys` are those of a model file, which go before what the library says of preprocessing.
    """

    label: str
    name: str
    weights: WeightsRef
    config: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] | None = None
    keys: Mapping[str, object] = field(default_factory=dict)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)


def is_timm_folder(path: Path) -> bool:
    """Whether its configuration is one that timm wrote."""
    try:
        config = read_json(path / CONFIG, "")
    except ModelError:
        return False
    return "architecture" in config and "pretrained_cfg" in config


def find_network(address: ModelAddress, places: Places) -> NamedNetwork:
    """Raises ModelError: the model file is faulty, timm has no such network, or its weights are not here."""
    if address.table is not None:
        return _of_file(address.table, address.path)
    if not address.text.startswith(PREFIX):
        return _of_folder(address.path, address.text)
    check_name(address.text.removeprefix(PREFIX))
    return _of_folder(find_hub_folder(hub_name(address.text), places, name=address.text), address.text)


def hub_name(address: str) -> str:
    """timm/resnet50 is timm/resnet50.a1_in1k on the hub. Raises ModelError: nobody publishes its weights."""
    config = timm().get_pretrained_cfg(address.removeprefix(PREFIX))
    if config is None or not config.hf_hub_id:
        raise ModelError(f"{address}: timm knows no published weights; name yours in a model file (.toml)")
    found = str(config.hf_hub_id)
    return HF_PREFIX + (found + address.removeprefix(PREFIX) if found.endswith("/") else found)


def _of_folder(path: Path, label: str) -> NamedNetwork:
    folder = open_checked(path, label)
    arguments = folder.config.get("model_args", {})
    kept = {key: folder.config[key] for key in ("global_pool",) if folder.config.get(key)}
    return NamedNetwork(
        label=label,
        name=str(folder.config.get("architecture")),
        weights=WeightsRef(location=str(path / FOLDER_WEIGHTS)),
        config=folder.config.get("pretrained_cfg"),
        arguments={**kept, **arguments},
    )


_KEYS = keys_of_library(PREFIX)


def file_weights(table: Mapping[str, object], path: Path) -> WeightsRef:
    """Raises ModelError: the model file is faulty."""
    check_keys(table, _KEYS, REQUIRED, where=f"model file {path}")
    return read_weights(table, path)


def _of_file(table: Mapping[str, object], path: Path) -> NamedNetwork:
    weights = file_weights(table, path)
    return NamedNetwork(
        label=str(table["name"]),
        name=str(table["architecture"]).removeprefix(PREFIX),
        weights=weights,
        keys={key: table[key] for key in PREPROCESSING if key in table},
        embedding=read_embedding(table, path),
    )

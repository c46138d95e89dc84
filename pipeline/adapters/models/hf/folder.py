"""A model as a folder in Hugging Face's layout: what must be in it, and what must not.

config.json                 which network it is
preprocessor_config.json    how an image becomes its input
model.safetensors           its weights, or several files and model.safetensors.index.json
tokenizer.json              how a text becomes tokens, or another of `TOKENIZERS`; to search with words
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.adapters.models.room import check_room
from pipeline.errors import ModelError

PREFIX = "hf/"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?")
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PIECES = ("spiece.model", "tokenizer.model")  # of sentencepiece
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", *PIECES)
SETTINGS_SUFFIXES = (".json", ".txt", ".model")  # also of tokenizers
KEPT_SUFFIXES = (".safetensors", *SETTINGS_SUFFIXES)  # no code, no pictures, no pickles
PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFolder:
    """A checked folder. `name` begins each message about it."""

    name: str
    path: Path
    config: dict[str, Any]

    @property
    def weights(self) -> list[Path]:
        """Its files of weights, in a fixed order."""
        if (self.path / WEIGHTS).is_file():
            return [self.path / WEIGHTS]
        index = read_json(self.path / INDEX, self.name)
        names = index.get("weight_map")
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise ModelError(f"{self.name}: {INDEX} has no weight_map of tensors and files")
        return [self.path / _plain(name, self.name) for name in sorted(set(names.values()))]


def hub_folder(name: str, weights_dir: Path) -> Path:
    """Where a model of the hub lies once it was fetched. Args: `name` as hf/ORG/NAME.

    Raises:
        ModelError: the name is none of a hub's.
    """
    plain = name.removeprefix(PREFIX)
    if not HUB_NAME.fullmatch(plain) or ".." in plain:
        raise ModelError(f"model {name!r}: a name of the hub looks like hf/ORG/NAME")
    return weights_dir / "hf" / plain


def open_folder(path: Path, name: str) -> ModelFolder:
    """Raises ModelError: a file is missing or damaged, weights are pickles, or code of its own is wanted."""
    if not path.is_dir():
        raise ModelError(f"{name} is not on this machine: {path} is no folder. {_hint(name)}")
    folder = ModelFolder(name=name, path=path, config=read_json(path / CONFIG, name))
    _check_weights(folder)
    return folder


def _hint(name: str) -> str:
    if not name.startswith((PREFIX, "timm/")):
        return "Copy the folder there"
    return (
        f"Nothing is downloaded by itself: run `pictor models pull {name}` where there is internet, or copy "
        "the folder there"
    )


def has_tokenizer(folder: ModelFolder) -> bool:
    """Without one, the tower of texts cannot be asked."""
    return any((folder.path / file).is_file() for file in TOKENIZERS)


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Raises ModelError: no such file, or not a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise ModelError(f"{name}: folder {path.parent} holds no {path.name}") from err
    except (OSError, ValueError) as err:
        raise ModelError(f"{name}: {path} cannot be read as JSON") from err
    if not isinstance(value, dict):
        raise ModelError(f"{name}: {path} holds a {type(value).__name__}, an object was expected")
    return value


def _check_weights(folder: ModelFolder) -> None:
    if not any((folder.path / file).is_file() for file in (WEIGHTS, INDEX)):
        pickles = sorted(file.name for file in folder.path.iterdir() if file.suffix in PICKLES)
        found = f"{pickles[0]}, a pickle that could run code; save it as safetensors" if pickles else "none"
        raise ModelError(f"{folder.name}: weights in {WEIGHTS} are expected in {folder.path}, found {found}")
    for file in folder.weights:
        if not file.is_file():
            raise ModelError(f"{folder.name}: weights {file}: there is no such file")
    check_room(folder.weights, model=folder.name)


def _plain(name: str, model: str) -> str:
    """The file's name, which must not lead out of the folder."""
    if Path(name).name != name or not name.endswith(".safetensors"):
        raise ModelError(f"{model}: {INDEX} names {name!r}, the name of a .safetensors file was expected")
    return name

"""The section [beside] of a model file: further models, each of which gives an image one more embedding.

[beside.copies]
model = "sscd.toml"
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.models.model_address import ModelAddress, read_address
from pipeline.adapters.models.model_keys import NAME, Rule, Rules, check_keys
from pipeline.errors import ModelError
from pipeline.ports import ImageEmbedder
from pipeline.ports.embedder import TextEmbedder
from pipeline.types import ModelBeside, ModelSpec

SECTION = "beside"
MAX_BESIDE = 3  # each is a forward pass more for each image, and its vectors are in memory to be searched
RESERVED = ("first", "image", "main")  # "main" is what a search may call the first one
_NAME = re.compile(r"(?=.{1,16}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*")  # a part of a collection's name in Milvus


@dataclass(frozen=True, kw_only=True, slots=True)
class Composition:
    """What an address names: a model, and those beside it by their names. `name` is empty without them."""

    first: ModelAddress
    beside: Mapping[str, ModelAddress] = field(default_factory=dict)
    name: str = ""
    path: Path = Path()  # of the model file with the section

    @property
    def where(self) -> str:
        """To begin a message with."""
        return f"model file {self.path}"


def read_composition(text: str, is_name: Callable[[str], bool]) -> Composition:
    """The models behind an address. Nothing but model files is read.

    Args:
        is_name: whether an address is a name. Any other in a model file is a path, from its folder.

    Raises:
        ModelError: a model file cannot be read, or its section is faulty.
    """
    address = read_address(text)
    if address.table is None or not address.table.keys() & {SECTION, "model"}:
        return Composition(first=address)
    path, table = address.path, dict(address.table)
    addresses = {
        name: _resolve(model, path, is_name) for name, model in _read_section(table.pop(SECTION, {}), path)
    }
    first = replace(address, table=table)
    if "model" in table:
        check_keys(table, _BY_ADDRESS, ("name",), where=f"model file {path}")
        first = _read_plain(_resolve(str(table["model"]), path, is_name), path, "model")
    return Composition(
        first=first,
        beside={name: _read_plain(model, path, name) for name, model in sorted(addresses.items())},
        name=str(table.get("name", "")),
        path=path.resolve(),
    )


ADDRESS: Rule = ('the address of a model, for example "timm/resnet50"', NAME[1])
_KEYS: Rules = {"model": ADDRESS}
_BY_ADDRESS: Rules = {"name": NAME, "model": ADDRESS}


def _read_section(section: object, path: Path) -> list[tuple[str, str]]:
    where = f"model file {path}"
    if not isinstance(section, dict) or not section:
        raise ModelError(f"{where}: a section [{SECTION}.NAME] is missing for each model beside the first")
    if len(section) > MAX_BESIDE:
        raise ModelError(f"{where}: {len(section)} models in [{SECTION}], at most {MAX_BESIDE} are possible")
    for name, keys in section.items():
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise ModelError(
                f"{where}: [{SECTION}.{name[:80]}] cannot be the name of an embedding; allowed are 1 to 16 "
                f"of a-z, 0-9 and single _ between them, a letter first, and not {', '.join(RESERVED)}"
            )
        if not isinstance(keys, dict):
            raise ModelError(f'{where}: [{SECTION}] {name} must be a section with model = "ADDRESS"')
        check_keys(keys, _KEYS, ("model",), where=f"{where}: [{SECTION}.{name}]")
    return [(name, str(keys["model"])) for name, keys in section.items()]


def _resolve(model: str, path: Path, is_name: Callable[[str], bool]) -> str:
    return model if is_name(model) else str((path.parent / model).resolve())


def _read_plain(model: str, path: Path, name: str) -> ModelAddress:
    """A model that has none beside it."""
    if Path(model) == path.resolve():
        raise ModelError(f"model file {path}: {name} is this file itself")
    address = read_address(model)
    if address.table is not None and address.table.keys() & {SECTION, "model"}:
        raise ModelError(f"model file {path}: {name} is {model}, which has a section [{SECTION}] of its own")
    return address


def put_beside(first: ModelSpec, specs: Mapping[str, ModelSpec], composition: Composition) -> ModelSpec:
    """The spec of a model with others beside it. One model to the ledger, the queues and the version book.

    Args:
        specs: of the models beside it, by their names.

    Raises:
        ModelError: one of them looks at parts of an image, or two are the same model.
    """
    where, names = composition.where, {first.fingerprint: "the first model"}
    for name, spec in {"the first model": first, **specs}.items():
        if spec.has_views:
            raise ModelError(
                f"{where}: {name} is {spec.name!r}, which looks at parts of an image; where there are "
                "several models, each must look at the whole of it"
            )
    for name, spec in specs.items():
        if spec.fingerprint in names:
            raise ModelError(f"{where}: {name} is the same model as {names[spec.fingerprint]}")
        names[spec.fingerprint] = name
    beside = tuple(ModelBeside(name=name, spec=spec) for name, spec in sorted(specs.items()))
    return replace(
        first,
        name=composition.name,
        address=str(composition.path),
        fingerprint=fingerprint_with(first.fingerprint, beside),
        beside=beside,
    )


def fingerprint_with(first: str, beside: Sequence[ModelBeside]) -> str:
    """Of a model with others beside it. Vectors of the first alone are never mixed with it."""
    content = {"first": first, "beside": {model.name: model.spec.fingerprint for model in beside}}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class FirstImages:
    """The first model of several, which has the spec of all. It gives its own vectors alone."""

    def __init__(self, embedder: ImageEmbedder, spec: ModelSpec) -> None:
        self.spec = spec
        self._embedder = embedder

    @property
    def device(self) -> str:
        return self._embedder.device

    def embed_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._embedder.embed_images(pixels)


class FirstTexts:
    """The same for its tower of texts."""

    def __init__(self, texts: TextEmbedder, spec: ModelSpec) -> None:
        self.spec = spec
        self._texts = texts

    @property
    def max_tokens(self) -> int:
        return self._texts.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        return self._texts.count_tokens(texts)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._texts.embed_texts(texts)

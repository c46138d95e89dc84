"""From a model's address to its spec or its embedder, by the first family that recognises it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipeline.adapters.models.backends.calibrate import Calibration, Sample
from pipeline.adapters.models.backends.int8 import INT8
from pipeline.adapters.models.backends.networks import Work
from pipeline.adapters.models.backends.trial import Trial
from pipeline.adapters.models.beside import (
    Composition,
    FirstImages,
    FirstTexts,
    put_beside,
    read_composition,
)
from pipeline.adapters.models.builtin_spec import BUILTIN, BUILTIN_DIM, BUILTIN_PREPROCESSING
from pipeline.adapters.models.families.builtin import BuiltinFamily
from pipeline.adapters.models.families.faces import FaceFamily
from pipeline.adapters.models.families.hf import HfFamily
from pipeline.adapters.models.families.onnx import OnnxFamily
from pipeline.adapters.models.families.timm import TimmFamily
from pipeline.adapters.models.families.torchvision import TorchvisionFamily
from pipeline.adapters.models.family import ModelFamily, Places, PulledModel, Use
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.model_file import ARCHITECTURE_PREFIX
from pipeline.adapters.models.opened import CLOSED, Handover
from pipeline.adapters.models.torch_embedder import do_nothing
from pipeline.adapters.models.torchvision_models import feature_dim, list_architectures, published_model
from pipeline.adapters.models.weights import FetchS3, OpenUrl, WeightsRef, cached_path, open_url
from pipeline.errors import ConfigError, ModelError
from pipeline.ports import ImageEmbedder, ViewFinder
from pipeline.ports.embedder import TextEmbedder
from pipeline.types import ModelBeside, ModelSpec

FAMILIES: Sequence[ModelFamily] = (
    BuiltinFamily(),
    FaceFamily(),
    TorchvisionFamily(),
    TimmFamily(),  # before the next one: folders of both look alike
    HfFamily(),
    OnnxFamily(),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueEntry:
    """One line of `pictor models list`."""

    name: str  # as --model takes it
    dim: int
    input_px: int
    cached: bool  # no download is needed
    about: str


def load_spec(
    address: str,
    *,
    weights_dir: Path,
    precision: str = "float32",
    fetch_s3: FetchS3 | None = None,
    open_url: OpenUrl = open_url,
    model_store: str = "",
    handover: Handover = CLOSED,
) -> ModelSpec:
    """Reads the weights, as the fingerprint covers them. Published ones of torchvision are downloaded once.

    Args:
        handover: keeps what was read for `load_embedder`. Of several models, that of the first.
        precision: a model in int8 is another one, with a fingerprint of its own. One with others beside it
            has no form in int8.

    Raises:
        ModelError: the address is unknown, or its file or weights cannot be found, read or trusted.
        ConfigError: a library that it needs is not installed.
    """
    places = Places(weights_dir=weights_dir, fetch_s3=fetch_s3, open_url=open_url, model_store=model_store)
    models = _models_of(address)
    _check_precision(models, precision)
    first = _read_spec(models.first, replace(places, handover=handover), precision)
    return _with_beside(first, models, places, precision, known=())


def load_embedder(
    address: str,
    *,
    weights_dir: Path,
    device: str,
    precision: str = "float32",
    backend: str = "torch",
    group_items: int,
    batches: int = 0,
    threads: int | None = None,
    before_pass: Callable[[], None] = do_nothing,
    fetch_s3: FetchS3 | None = None,
    open_url: OpenUrl = open_url,
    model_store: str = "",
    beside: Sequence[ModelBeside] = (),
    handover: Handover = CLOSED,
) -> ImageEmbedder:
    """Load a model and make it ready for its device. Of several, this is the first. It has the spec of all.

    Args:
        beside: the models beside it whose specs are known. Those of others are read.
        precision: auto, float32, bfloat16 or int8. Models that can only be computed in one way take that.
        backend: auto, torch, onnxruntime or openvino, for a network of torch on a CPU. See `make_ready`.
        batches: at once in this process; 0 for single queries. See `share_cores`.
        threads: for forward passes on a CPU. By default as many as torch takes.
        before_pass: see `TorchEmbedder`.
        handover: may have what `load_spec` has read.

    Raises:
        ModelError: as `load_spec` does.
        ConfigError: as `load_spec` does, or the device is not there.
    """
    models = _models_of(address)
    places = Places(weights_dir=weights_dir, fetch_s3=fetch_s3, open_url=open_url, model_store=model_store)
    _check_precision(models, precision)
    embedder = _family_of(models.first).load_images(
        models.first,
        replace(places, handover=handover),
        Use(
            device=device,
            precision=precision,
            backend=backend,
            group_items=group_items,
            batches=batches,
            threads=threads or torch.get_num_threads(),
            before_pass=before_pass,
        ),
    )
    if not models.beside:
        return embedder
    return FirstImages(embedder, _with_beside(embedder.spec, models, places, precision, known=beside))


def fixed_backend(address: str) -> str:
    """What runs a model, whatever is asked for. Empty: there is a choice. No weights are read.

    Raises:
        ModelError: the address is unknown, or its model file cannot be read.
    """
    return _family_of(_models_of(address).first).backend


def bench_backends(
    address: str, work: Work, *, weights_dir: Path, fetch_s3: FetchS3 | None = None, model_store: str = ""
) -> Sequence[Trial]:
    """Try all backends with a model and remember what was found. The first is torch.

    Raises:
        ModelError: as `load_spec` does, or the model has no choice of backends.
        ConfigError: as `load_spec` does.
    """
    found = _only_model(address, "try the backends of")
    return _family_of(found).try_backends(
        found, Places(weights_dir=weights_dir, fetch_s3=fetch_s3, model_store=model_store), work
    )


def calibrate_model(
    address: str,
    sample: Sample,
    *,
    weights_dir: Path,
    fetch_s3: FetchS3 | None = None,
    model_store: str = "",
) -> Calibration:
    """Calibrate a model for int8, and keep it if its neighbours are those of float32. See `calibrate`."""
    found = _only_model(address, "calibrate")
    return _family_of(found).calibrate(
        found, Places(weights_dir=weights_dir, fetch_s3=fetch_s3, model_store=model_store), sample
    )


def load_text_embedder(
    address: str,
    *,
    weights_dir: Path,
    fetch_s3: FetchS3 | None = None,
    model_store: str = "",
    beside: Sequence[ModelBeside] = (),
) -> TextEmbedder:
    """The tower of texts of a model that has one. Of several, this is the first. It has the spec of all.

    Raises:
        ModelError: the model has none, or its files cannot be found, read or trusted.
        ConfigError: what it needs is not installed.
    """
    models = _models_of(address)
    places = Places(weights_dir=weights_dir, fetch_s3=fetch_s3, model_store=model_store)
    texts = _family_of(models.first).load_texts(models.first, places)
    if not models.beside:
        return texts
    return FirstTexts(texts, _with_beside(texts.spec, models, places, "", known=beside))


def load_finder(spec: ModelSpec, *, weights_dir: Path, fetch_s3: FetchS3 | None = None) -> ViewFinder:
    """The finder of a model that looks at views, from its model file.

    Raises:
        ModelError: as `load_spec` does, or the file is that of another model now.
        ConfigError: what it needs is not installed.
    """
    family = _family_of(_only_model(spec.address, "look for faces with"))
    return family.load_finder(spec, Places(weights_dir=weights_dir, fetch_s3=fetch_s3))


def pull_model(address: str, *, weights_dir: Path, revision: str = "main") -> PulledModel:
    """Download a model's files, and note what they are. Nothing else here reaches a hub.

    Raises:
        ModelError: it has nothing to download, is not to be had, or is not what was promised.
        ConfigError: a library that it needs is not installed.
    """
    found = _only_model(address, "download")
    return _family_of(found).pull(found, Places(weights_dir=weights_dir), revision=revision)


def list_files(address: str) -> Sequence[WeightsRef]:
    """The files that a model file names, and those of the models beside it. Raises ModelError."""
    models = _models_of(address)
    return tuple(
        file for one in (models.first, *models.beside.values()) for file in _family_of(one).files(one)
    )


def list_models(*, weights_dir: Path) -> list[CatalogueEntry]:
    """The builtin model, then every torchvision architecture by name. Nothing is built or fetched."""
    builtin = CatalogueEntry(
        name=BUILTIN,
        dim=BUILTIN_DIM,
        input_px=BUILTIN_PREPROCESSING.crop,
        cached=True,
        about="colour and layout, training-free: finds edited copies, not kinds of things",
    )
    return [builtin, *(_describe(architecture, weights_dir) for architecture in list_architectures())]


def _describe(architecture: str, weights_dir: Path) -> CatalogueEntry:
    published = published_model(architecture)
    side = published.preprocessing.crop
    return CatalogueEntry(
        name=f"{ARCHITECTURE_PREFIX}{architecture}",
        dim=feature_dim(architecture, side=side),
        input_px=side,
        cached=cached_path(published.weights, weights_dir).is_file(),
        about=f"{published.parameters / 1e6:.1f} M parameters, ImageNet top-1 {published.top1_percent:.1f} %",
    )


def _models_of(text: str) -> Composition:
    return read_composition(text, _is_name)


def _is_name(text: str) -> bool:
    """Whether a family of names has it. Any other address is a path."""
    forms = [family.form.partition("/") for family in FAMILIES if family.form]
    return any(text.startswith(f"{first}/") if rest else text == first for first, _, rest in forms)


def _only_model(text: str, what: str) -> ModelAddress:
    """Args: `what` is done with it, for the message. Raises ModelError: it has others beside it."""
    models = _models_of(text)
    if not models.beside:
        return models.first
    alone = [one.text for one in (models.first, *models.beside.values()) if one.text != text]
    first = " and the first in a model file of its own" if models.first.text == text else ""
    raise ModelError(f"{models.where} has several models; {what} each alone: {', '.join(alone)}{first}")


def _check_precision(models: Composition, precision: str) -> None:
    if models.beside and precision == INT8:
        raise ConfigError(
            f"PICTOR_PRECISION is int8, and {models.where} has several models, which have no form in int8; "
            "set it to auto or float32"
        )


def _read_spec(address: ModelAddress, places: Places, precision: str) -> ModelSpec:
    family = _family_of(address)
    spec = family.read_spec(address, places)
    return family.in_int8(spec, places) if precision == INT8 else spec


def _with_beside(
    first: ModelSpec, models: Composition, places: Places, precision: str, *, known: Sequence[ModelBeside]
) -> ModelSpec:
    if not models.beside:
        return first
    specs = {one.name: one.spec for one in known}
    beside = {
        name: specs[name] if name in specs else _read_spec(address, places, precision)
        for name, address in models.beside.items()
    }
    return put_beside(first, beside, models)


def _family_of(address: ModelAddress) -> ModelFamily:
    text = address.text
    for family in FAMILIES:
        if family.recognises(address):
            return family
    if address.table is None:
        forms = ", ".join(family.form for family in FAMILIES if family.form)
        raise ModelError(
            f"model {text!r} is none of {forms}, a folder in Hugging Face's layout, "
            "or the path of a model file (.toml)"
        )
    if address.architecture == "torch.export":
        raise ModelError(
            f"model file {text}: files of torch.export are refused, as torch can run code of theirs when it "
            "reads them; export the network to ONNX"
        )
    known = ", ".join(name for family in FAMILIES for name in family.architectures)
    found = f"architecture = {address.architecture!r}" if address.architecture else "no architecture"
    raise ModelError(f"model file {text}: {found}, it must be one of {known}")

"""From a model's address to its spec or its embedder: "builtin", "torchvision/resnet50" or a model file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pipeline.adapters.models.builtin_descriptor import BuiltinDescriptor
from pipeline.adapters.models.builtin_spec import (
    BUILTIN,
    BUILTIN_DIM,
    BUILTIN_PREPROCESSING,
    builtin_spec,
    fingerprint_of,
)
from pipeline.adapters.models.faces.face_file import read_face_file
from pipeline.adapters.models.faces.face_model import (
    face_spec,
    find_networks,
    load_face_embedder,
    load_face_finder,
)
from pipeline.adapters.models.inference import has_native_bfloat16, pick_dtype, quicken
from pipeline.adapters.models.model_file import ARCHITECTURE_PREFIX, ModelFile, read_model_file
from pipeline.adapters.models.torch_embedder import (
    TorchEmbedder,
    do_nothing,
    pick_device,
    share_cores,
)
from pipeline.adapters.models.torchvision_models import (
    check_architecture,
    feature_dim,
    fill,
    lay_out,
    list_architectures,
    published_model,
)
from pipeline.adapters.models.weights import (
    FetchS3,
    OpenUrl,
    cached_path,
    digest_tensors,
    find_weights,
    open_url,
    read_tensors,
)
from pipeline.errors import ModelError
from pipeline.ports import ImageEmbedder, TextEmbedder, ViewFinder
from pipeline.ports.embedder import require_capability
from pipeline.types import Capability, ModelSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueEntry:
    """One line of `pictor models list`."""

    name: str  # as --model takes it
    dim: int
    input_px: int
    cached: bool  # no download is needed
    about: str


def load_spec(
    address: str, *, weights_dir: Path, fetch_s3: FetchS3 | None = None, open_url: OpenUrl = open_url
) -> ModelSpec:
    """Reads the weights, or downloads them once, as the fingerprint covers them. No forward pass.

    Raises:
        ModelError: the address is unknown, or its file or weights cannot be found, read or trusted.
    """
    if (faces := read_face_file(address)) is not None:
        find_networks(faces, weights_dir=weights_dir, fetch_s3=fetch_s3)
        return face_spec(faces, address)
    return _open_model(address, weights_dir, fetch_s3, open_url)[0]


def load_finder(spec: ModelSpec, *, weights_dir: Path, fetch_s3: FetchS3 | None = None) -> ViewFinder:
    """The finder of a model that looks at views, from its model file.

    Raises:
        ModelError: as `load_spec` does, or the file is that of another model now.
        ConfigError: what it needs is not installed.
    """
    faces = read_face_file(spec.address)
    if faces is None or face_spec(faces, spec.address).fingerprint != spec.fingerprint:
        raise ModelError(
            f"model file {spec.address} has changed since its model {spec.fingerprint[:8]} was read; "
            "start this again"
        )
    return load_face_finder(faces, weights_dir=weights_dir, fetch_s3=fetch_s3)


def load_embedder(
    address: str,
    *,
    weights_dir: Path,
    device: str,
    precision: str = "float32",
    group_items: int,
    batches: int = 0,
    threads: int | None = None,
    before_pass: Callable[[], None] = do_nothing,
    fetch_s3: FetchS3 | None = None,
    open_url: OpenUrl = open_url,
) -> ImageEmbedder:
    """Load a model and make it ready for its device.

    Args:
        precision: auto, float32 or bfloat16. The builtin model has no weights to be fast with: its histograms
            are float32 always, and so is a face model.
        batches: at once in this process; 0 for single queries. See `share_cores`.
        threads: for forward passes on a CPU. By default as many as torch takes.
        before_pass: see `TorchEmbedder`.

    Raises:
        ModelError: as `load_spec` does.
        ConfigError: the device is not there.
    """
    if (faces := read_face_file(address)) is not None:
        return load_face_embedder(
            faces,
            address,
            weights_dir=weights_dir,
            device=device,
            group_items=group_items,
            batches=batches,
            threads=threads or torch.get_num_threads(),
            before_pass=before_pass,
            fetch_s3=fetch_s3,
        )
    chosen = pick_device(device)  # before the weights are read: it is the cheaper mistake
    spec, module = _open_model(address, weights_dir, fetch_s3, open_url)
    wanted = "float32" if address == BUILTIN else precision
    dtype = pick_dtype(wanted, native=has_native_bfloat16(chosen))
    quick, dtype = quicken(module, spec, device=chosen, dtype=dtype, required=wanted == "bfloat16")
    passes, pass_threads = share_cores(
        chosen, threads=threads or torch.get_num_threads(), batches=batches, group_items=group_items
    )
    return TorchEmbedder(
        quick,
        spec,
        device=chosen,
        group_items=group_items,
        dtype=dtype,
        passes=passes,
        pass_threads=pass_threads,
        before_pass=before_pass,
    )


def load_text_embedder(
    spec: ModelSpec, *, weights_dir: Path, fetch_s3: FetchS3 | None = None
) -> TextEmbedder:
    require_capability(spec, Capability.TEXT)
    raise ModelError(f"model {spec.name!r} cannot be asked for {Capability.TEXT}")


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


def _open_model(
    address: str, weights_dir: Path, fetch_s3: FetchS3 | None, open_url: OpenUrl
) -> tuple[ModelSpec, nn.Module]:
    if address == BUILTIN:
        return builtin_spec(), BuiltinDescriptor()
    model = _resolve(address)
    file = find_weights(
        model.weights, model=model.name, weights_dir=weights_dir, fetch_s3=fetch_s3, open_url=open_url
    )
    features = lay_out(model.architecture, side=model.preprocessing.crop)
    tensors = read_tensors(file, model=model.name)
    where = f"{model.name}: weights {file} for {ARCHITECTURE_PREFIX}{model.architecture}"
    module = fill(features, tensors, where=where)
    spec = ModelSpec(
        name=model.name,
        # Absolute: a collection remembers it and is opened from other folders.
        address=address if address.startswith(ARCHITECTURE_PREFIX) else str(Path(address).resolve()),
        architecture=f"{ARCHITECTURE_PREFIX}{model.architecture}",
        fingerprint=fingerprint_of(digest_tensors(module), model.architecture, model.preprocessing),
        dim=features.dim,
        preprocessing=model.preprocessing,
    )
    return spec, module


def _resolve(address: str) -> ModelFile:
    if address.endswith(".toml"):
        return read_model_file(Path(address))
    if not address.startswith(ARCHITECTURE_PREFIX):
        raise ModelError(
            f"model {address!r} is none of {BUILTIN}, {ARCHITECTURE_PREFIX}NAME, "
            "or the path of a model file (.toml)"
        )
    architecture = address.removeprefix(ARCHITECTURE_PREFIX)
    check_architecture(architecture)
    published = published_model(architecture)
    return ModelFile(
        name=address,
        architecture=architecture,
        weights=published.weights,
        preprocessing=published.preprocessing,
    )

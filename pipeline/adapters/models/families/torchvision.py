"""torchvision's classifiers by name, with their published weights or those that a model file names."""

from collections.abc import Sequence

from pipeline.adapters.models.builtin_spec import fingerprint_of
from pipeline.adapters.models.embedding import cut, name_cut
from pipeline.adapters.models.family import Places, PulledModel
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.model_file import ARCHITECTURE_PREFIX, ModelFile, read_model_table
from pipeline.adapters.models.opened import OpenedModel
from pipeline.adapters.models.tensors import digest_tensors, read_tensors
from pipeline.adapters.models.torch_family import TorchFamily
from pipeline.adapters.models.torchvision_models import check_architecture, fill, lay_out, published_model
from pipeline.adapters.models.weights import (
    WeightsRef,
    digest_file,
    find_weights,
)
from pipeline.errors import ModelError
from pipeline.types import ModelSpec


class TorchvisionFamily(TorchFamily):
    form = f"{ARCHITECTURE_PREFIX}NAME"
    architectures = (form,)

    def recognises(self, address: ModelAddress) -> bool:
        return address.text.startswith(ARCHITECTURE_PREFIX) or address.architecture.startswith(
            ARCHITECTURE_PREFIX
        )

    def files(self, address: ModelAddress) -> Sequence[WeightsRef]:
        return (_resolve(address).weights,) if address.table is not None else ()

    def open(self, address: ModelAddress, places: Places) -> OpenedModel:
        model = _resolve(address)
        file = find_weights(
            model.weights,
            model=model.name,
            weights_dir=places.weights_dir,
            fetch_s3=places.fetch_s3,
            open_url=places.open_url,
        )
        features = lay_out(model.architecture, side=model.preprocessing.crop)
        tensors = read_tensors(file, model=model.name)
        where = f"{model.name}: weights {file} for {ARCHITECTURE_PREFIX}{model.architecture}"
        module = fill(features, tensors, where=where)
        digest = digest_tensors(module)
        module, dim = cut(module, features.dim, model.embedding, name=model.name)
        spec = ModelSpec(
            name=model.name,
            address=address.kept,
            architecture=f"{ARCHITECTURE_PREFIX}{model.architecture}",
            fingerprint=fingerprint_of(
                digest, name_cut(model.architecture, dim, of=features.dim), model.preprocessing
            ),
            dim=dim,
            preprocessing=model.preprocessing,
        )
        return OpenedModel(spec=spec, module=module, precision=model.embedding.dtype)

    def pull(self, address: ModelAddress, places: Places, /, *, revision: str) -> PulledModel:  # noqa: ARG002
        weights = _resolve(address).weights
        if not weights.location.startswith("https://"):
            raise ModelError(f"model {address.text!r} has nothing to download")
        file = find_weights(
            weights, model=address.text, weights_dir=places.weights_dir, open_url=places.open_url
        )
        return PulledModel(
            folder=file.parent, files={file.name: digest_file(file)}, size_bytes=file.stat().st_size
        )


def _resolve(address: ModelAddress) -> ModelFile:
    if address.table is not None:
        return read_model_table(address.table, address.path)
    architecture = address.text.removeprefix(ARCHITECTURE_PREFIX)
    check_architecture(architecture)
    published = published_model(architecture)
    return ModelFile(
        name=address.text,
        architecture=architecture,
        weights=published.weights,
        preprocessing=published.preprocessing,
    )

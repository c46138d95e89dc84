"""timm's networks: timm/NAME, a folder that timm wrote, or a model file with a network and weights."""

from collections.abc import Mapping, Sequence

from pipeline.adapters.models.builtin_spec import fingerprint_of
from pipeline.adapters.models.embedding import cut, name_cut
from pipeline.adapters.models.family import Places, PulledModel
from pipeline.adapters.models.hf.hub import HuggingFaceHub
from pipeline.adapters.models.hf.pull import pull
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.model_file import read_preprocessing
from pipeline.adapters.models.opened import OpenedModel
from pipeline.adapters.models.tensors import digest_tensors, read_tensors
from pipeline.adapters.models.timm.address import (
    PREFIX,
    file_weights,
    find_network,
    hub_name,
    is_timm_folder,
)
from pipeline.adapters.models.torch_family import TorchFamily
from pipeline.adapters.models.weights import WeightsRef, find_weights
from pipeline.types import ModelSpec


class TimmFamily(TorchFamily):
    form = f"{PREFIX}NAME"
    architectures = (form,)

    def recognises(self, address: ModelAddress) -> bool:
        named = address.text if address.table is None else address.architecture
        return named.startswith(PREFIX) or (address.is_folder and is_timm_folder(address.path))

    def files(self, address: ModelAddress, /) -> Sequence[WeightsRef]:
        return () if address.table is None else (file_weights(address.table, address.path),)

    def open(self, address: ModelAddress, places: Places, /) -> OpenedModel:
        from pipeline.adapters.models.timm.data_config import read_data_config
        from pipeline.adapters.models.timm.network import create, fill_network

        found = find_network(address, places)
        file = find_weights(
            found.weights, model=found.label, weights_dir=places.weights_dir, fetch_s3=places.fetch_s3
        )
        network = create(found.name, found.config, found.arguments)
        how = read_preprocessing(found.keys, read_data_config(network, found.label), address.path)
        where = f"{found.label}: weights {file} for {PREFIX}{found.name}"
        features = fill_network(network, read_tensors(file, model=found.label), side_px=how.crop, where=where)
        digest = digest_tensors(network)
        module, dim = cut(network, features.dim, found.embedding, name=found.label)
        architecture = " ".join([f"{PREFIX}{found.name}", *_say(found.arguments)])
        spec = ModelSpec(
            name=address.name,
            address=address.kept,
            architecture=architecture,
            fingerprint=fingerprint_of(digest, name_cut(architecture, dim, of=features.dim), how),
            dim=dim,
            preprocessing=how,
        )
        return OpenedModel(spec=spec, module=module, precision=found.embedding.dtype)

    def pull(self, address: ModelAddress, places: Places, /, *, revision: str) -> PulledModel:
        if address.table is not None or address.is_folder:
            return super().pull(address, places, revision=revision)
        return pull(
            hub_name(address.text), weights_dir=places.weights_dir, revision=revision, hub=HuggingFaceHub()
        )


def _say(arguments: Mapping[str, object] | None) -> list[str]:
    """What makes the network another one than its name alone: part of the fingerprint."""
    return [f"{key}={value}" for key, value in sorted((arguments or {}).items())]

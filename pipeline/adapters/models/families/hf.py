"""Networks in Hugging Face's layout: hf/ORG/NAME, a folder, or a model file that names one of them."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.adapters.models.builtin_spec import fingerprint_of
from pipeline.adapters.models.embedding import cut, name_cut
from pipeline.adapters.models.family import Places, PulledModel
from pipeline.adapters.models.hf.address import ARCHITECTURE, PROJECTION, find_folder, hub_name, in_bucket
from pipeline.adapters.models.hf.folder import PREFIX, ModelFolder, has_tokenizer
from pipeline.adapters.models.hf.hub import HuggingFaceHub
from pipeline.adapters.models.hf.pull import pull
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.opened import OpenedModel
from pipeline.adapters.models.tensors import digest_tensors
from pipeline.adapters.models.torch_family import TorchFamily
from pipeline.adapters.models.weights import WeightsRef
from pipeline.ports import TextEmbedder
from pipeline.ports.embedder import require_capability
from pipeline.types import Capability, ModelSpec

if TYPE_CHECKING:
    from pipeline.adapters.models.hf.network import Network

# Keys of a configuration that change nothing that a network computes.
_ASIDE = (
    "_name_or_path", "architectures", "auto_map", "dtype", "id2label", "label2id", "torch_dtype",
    "transformers_version",
)  # fmt: skip


class HfFamily(TorchFamily):
    form = f"{PREFIX}ORG/NAME"
    architectures = (ARCHITECTURE,)

    def recognises(self, address: ModelAddress) -> bool:
        if address.table is not None:
            return address.architecture == ARCHITECTURE
        return address.text.startswith(PREFIX) or address.is_folder

    def files(self, address: ModelAddress, /) -> Sequence[WeightsRef]:
        folder = in_bucket(address)
        return (folder,) if folder else ()

    def open(self, address: ModelAddress, places: Places) -> OpenedModel:
        from pipeline.adapters.models.hf.tower import let_go_of_texts

        opened, network, _ = self._open(address, places)
        let_go_of_texts(network)
        return opened

    def load_texts(self, address: ModelAddress, places: Places) -> TextEmbedder:
        from pipeline.adapters.models.hf.texts import HfTexts

        opened, network, folder = self._open(address, places)
        require_capability(opened.spec, Capability.TEXT)
        return HfTexts(network.module, folder, opened.spec)

    def _open(self, address: ModelAddress, places: Places) -> "tuple[OpenedModel, Network, ModelFolder]":
        # Both import torch's and torchvision's larger parts, which other families do without.
        from pipeline.adapters.models.hf.network import load_network
        from pipeline.adapters.models.hf.processor import read_preprocessing
        from pipeline.adapters.models.hf.tower import image_tower

        folder, settings = find_folder(address, places)
        preprocessing = read_preprocessing(folder)
        network = load_network(folder)
        tower = image_tower(network, side_px=preprocessing.crop, pooling=settings.pooling, name=folder.name)
        module, dim = cut(tower.module, tower.dim, settings.embedding, name=folder.name)
        architecture = f"{ARCHITECTURE}/{folder.config['model_type']} {tower.pooling}"
        content = digest_tensors(network.module, only=tower.used) + _digest_config(folder.config)
        spec = ModelSpec(
            name=address.name,
            address=address.kept,
            architecture=architecture,
            fingerprint=fingerprint_of(content, name_cut(architecture, dim, of=tower.dim), preprocessing),
            dim=dim,
            preprocessing=preprocessing,
            capabilities=_capabilities(tower.pooling, folder),
        )
        opened = OpenedModel(spec=spec, module=module, precision=settings.embedding.dtype)
        return opened, network, folder

    def pull(self, address: ModelAddress, places: Places, /, *, revision: str) -> PulledModel:
        return pull(
            hub_name(address), weights_dir=places.weights_dir, revision=revision, hub=HuggingFaceHub()
        )


def _capabilities(pooling: str, folder: ModelFolder) -> tuple[Capability, ...]:
    """Texts share the space of projected images alone, and need a tokenizer."""
    reads_text = pooling == PROJECTION and has_tokenizer(folder)
    return (Capability.IMAGES, Capability.TEXT) if reads_text else (Capability.IMAGES,)


def _digest_config(config: dict[str, Any]) -> str:
    """The same tensors are another network with, for example, another number of heads."""
    kept = {key: _without_names(value) for key, value in config.items() if key not in _ASIDE}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _without_names(value: Any) -> Any:
    """Of a part, as of one tower, too."""
    if not isinstance(value, dict):
        return value
    return {key: _without_names(part) for key, part in value.items() if key not in _ASIDE}

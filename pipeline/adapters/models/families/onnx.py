"""Networks in ONNX files, described by a model file and run by ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipeline.adapters.models.backends.backend import Backend
from pipeline.adapters.models.builtin_spec import fingerprint_of
from pipeline.adapters.models.embedding import name_cut
from pipeline.adapters.models.family import ModelFamily, Places, Use
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.onnx.described_network import DescribedNetwork
from pipeline.adapters.models.onnx.network import SUFFIX, OnnxNetwork, choose_output, has_cuda
from pipeline.adapters.models.onnx.network_file import NetworkFile, read_network_table
from pipeline.adapters.models.onnx.text_file import TOKENIZER_SUFFIX
from pipeline.adapters.models.onnx.texts import OnnxTexts
from pipeline.adapters.models.torch_embedder import TorchEmbedder, pick_device, share_cores
from pipeline.adapters.models.weights import WeightsRef, digest_file, find_weights
from pipeline.errors import ModelError
from pipeline.ports import ImageEmbedder, TextEmbedder
from pipeline.ports.embedder import require_capability
from pipeline.types import Capability, ModelSpec

ARCHITECTURE = "onnx"
_TAKES = {"float": "float", "bytes": "uint8"}


class OnnxFamily(ModelFamily):
    form = ""
    architectures = (ARCHITECTURE,)
    backend = Backend.ONNXRUNTIME

    def recognises(self, address: ModelAddress) -> bool:
        return address.architecture == ARCHITECTURE

    def files(self, address: ModelAddress, /) -> Sequence[WeightsRef]:
        return _files(_read(address))

    def read_spec(self, address: ModelAddress, places: Places, /) -> ModelSpec:
        file = _read(address)
        return _read_spec(file, address, _find(file, places))

    def load_texts(self, address: ModelAddress, places: Places, /) -> TextEmbedder:
        file = _read(address)
        paths = _find(file, places)
        spec = _read_spec(file, address, paths)
        require_capability(spec, Capability.TEXT)
        assert file.texts is not None, "it has the capability"
        _, network, tokenizer = paths
        return OnnxTexts(file.texts, network, tokenizer, spec)

    def load_images(self, address: ModelAddress, places: Places, use: Use, /) -> ImageEmbedder:
        file = _read(address)
        device = pick_device("cpu" if use.device == "auto" and not has_cuda() else use.device)
        paths = _find(file, places)
        passes, pass_threads = share_cores(
            device, threads=use.threads, batches=use.batches, group_items=use.group_items
        )
        session = OnnxNetwork(
            paths[0], model=file.name, device=str(device), threads=pass_threads, takes=_TAKES[file.values]
        )
        network = _describe(file, session)
        return TorchEmbedder(
            network,
            _spec(file, address, paths, network),
            device=device,
            backend=self.backend,
            group_items=use.group_items,
            memory_format=torch.contiguous_format,
            passes=passes,
            pass_threads=1,  # the network has its own; what torch does beside it takes one
            before_pass=use.before_pass,
        )


def _read(address: ModelAddress) -> NetworkFile:
    assert address.table is not None, "it was recognised"
    return read_network_table(address.table, address.path)


def _find(file: NetworkFile, places: Places) -> Sequence[Path]:
    """The network of images and, of a model of two towers, that of texts and its tokenizer."""
    return [
        find_weights(
            ref,
            model=file.name,
            weights_dir=places.weights_dir,
            fetch_s3=places.fetch_s3,
            suffixes=(SUFFIX, TOKENIZER_SUFFIX),
        )
        for ref in _files(file)
    ]


def _files(file: NetworkFile) -> Sequence[WeightsRef]:
    return (file.weights, *((file.texts.weights, file.texts.tokenizer) if file.texts else ()))


def _read_spec(file: NetworkFile, address: ModelAddress, paths: Sequence[Path]) -> ModelSpec:
    """By a run of the network, as its file may leave open how many numbers it gives."""
    network = OnnxNetwork(paths[0], model=file.name, takes=_TAKES[file.values])
    return _spec(file, address, paths, _describe(file, network))


def _spec(
    file: NetworkFile, address: ModelAddress, paths: Sequence[Path], network: DescribedNetwork
) -> ModelSpec:
    content = "".join(digest_file(path) for path in paths)
    return ModelSpec(
        name=file.name,
        address=address.kept,
        architecture=file.architecture,
        fingerprint=fingerprint_of(
            content, name_cut(file.answer, network.dim, of=network.full_dim), file.preprocessing
        ),
        dim=network.dim,
        preprocessing=file.preprocessing,
        capabilities=(Capability.IMAGES, *((Capability.TEXT,) if file.texts else ())),
    )


def _describe(file: NetworkFile, network: OnnxNetwork) -> DescribedNetwork:
    if file.input not in ("", network.input):
        raise ModelError(f"{network.name}: it has the input {network.input!r}, and no {file.input!r}")
    output = choose_output(network.outputs, file.output, network.name)

    def run(images: Tensor) -> Tensor:
        (answer,) = network.run(images.cpu().numpy(), [output])
        return torch.from_numpy(answer).to(images.device)

    return DescribedNetwork(
        run, file, fixed_items=network.fixed_items, where=f"{network.name}: output {output!r}"
    )

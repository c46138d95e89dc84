"""A network behind the call that a torch module has: a tensor of images in, a tensor of features out."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.adapters.models.backends.backend import Backend
from pipeline.adapters.models.backends.exported import OUTPUT
from pipeline.adapters.models.inference import (
    MIN_COSINE,
    has_native_bfloat16,
    least_cosine,
    pick_dtype,
    quicken,
)
from pipeline.adapters.models.onnx.network import OnnxNetwork
from pipeline.adapters.models.torch_embedder import CPU_PASS_ITEMS
from pipeline.errors import ConfigError, ModelError
from pipeline.types import ModelSpec

Features = Callable[[Tensor], Tensor]  # [N, 3, S, S] of normalised images to [N, D]

CPU = torch.device("cpu")
PRECISIONS = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
# That a backend computes in on a CPU, with OpenVINO's names for them. int8 stands in the network itself.
_COMPUTES = {
    Backend.ONNXRUNTIME: {"float32": "", "int8": ""},
    Backend.OPENVINO: {"float32": "f32", "bfloat16": "bf16", "int8": "f32"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """Takes images of this type and layout."""

    features: Features
    backend: Backend
    precision: str  # that it computes in
    dtype: torch.dtype = torch.float32
    memory_format: torch.memory_format = torch.contiguous_format

    def to_input(self, images: Tensor) -> Tensor:
        """Args: `images` are normalised float32."""
        return images.contiguous(memory_format=self.memory_format).to(self.dtype)


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a network is made ready for."""

    device: torch.device = CPU
    precision: str = "float32"  # auto, float32 or bfloat16
    passes: int = 1  # side by side
    pass_threads: int = 1
    pass_items: int = CPU_PASS_ITEMS
    is_search: bool = False  # for single queries, each of which somebody waits for

    @property
    def dtype(self) -> torch.dtype:
        """That is wished for. A network that loses too much by it is computed in float32."""
        return pick_dtype(self.precision, native=has_native_bfloat16(self.device))

    @property
    def is_required(self) -> bool:
        return self.precision == "bfloat16"

    @property
    def precisions(self) -> Sequence[str]:
        """The better one first."""
        wished = PRECISIONS[self.dtype]
        return (wished,) if self.is_required else tuple(dict.fromkeys((wished, "float32")))


def in_torch(module: nn.Module, spec: ModelSpec, work: Work) -> Network:
    quick, dtype = quicken(module, spec, device=work.device, dtype=work.dtype, required=work.is_required)
    return Network(
        features=quick,
        backend=Backend.TORCH,
        precision=PRECISIONS[dtype],
        dtype=dtype,
        memory_format=torch.channels_last,
    )


def open_checked(
    backend: Backend, path: Path, spec: ModelSpec, work: Work, probes: Tensor, wanted: Tensor
) -> tuple[Network, float]:
    """The network in the first precision that keeps the embeddings, and the least cosine to the wanted ones.

    Raises:
        ModelError: it cannot run the network, or no precision keeps them.
    """
    cosine = -1.0
    for precision in work.precisions:
        if precision not in _COMPUTES[backend]:
            continue
        network = open_network(backend, path, spec.name, work, precision)
        # One image, too: an export may have taken the number of its example for a constant.
        cosine = min(least_cosine(network.features, probes[:n], wanted[:n]) for n in (1, len(probes)))
        if cosine >= MIN_COSINE:
            return network, cosine
    if work.is_required and backend is Backend.ONNXRUNTIME:
        raise ModelError(f"{spec.name}: {backend} does not compute in bfloat16 on a CPU")
    raise ModelError(
        f"{spec.name}: an embedding by {backend} has cosine {cosine:.4f} to one by torch, under {MIN_COSINE}"
    )


def open_network(backend: Backend, path: Path, model: str, work: Work, precision: str) -> Network:
    """Open an exported network, in the process that will use it: a backend's threads do not outlive a fork.

    Raises:
        ModelError: this backend cannot run it.
    """
    features: Features
    if backend is Backend.OPENVINO:
        features = OpenVinoFeatures(path, model=model, work=work, precision=precision)
    else:
        features = OnnxRuntimeFeatures(OnnxNetwork(path, model=model, threads=work.pass_threads))
    return Network(features=features, backend=backend, precision=precision)


class OnnxRuntimeFeatures:
    """Safe to share between threads. A pass on one thread is computed by the thread that calls."""

    def __init__(self, network: OnnxNetwork) -> None:
        self._network = network

    def __call__(self, images: Tensor) -> Tensor:
        (features,) = self._network.run(images.numpy(), [OUTPUT])
        return torch.from_numpy(features)


class OpenVinoFeatures:
    """Safe to share between threads, each of which has a request of its own."""

    def __init__(self, path: Path, *, model: str, work: Work, precision: str) -> None:
        self._compiled = _compile(path, model, _options(work, precision))
        self._own = threading.local()

    def property(self, name: str) -> object:
        """An option as OpenVINO has taken it."""
        return self._compiled.get_property(name)

    def __call__(self, images: Tensor) -> Tensor:
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        answers = self._own.request.infer({0: images.numpy()}, share_inputs=True)
        return torch.from_numpy(answers[0].copy())  # the next run of this request writes over its answers


def _options(work: Work, precision: str) -> dict[str, object]:
    return {
        "INFERENCE_PRECISION_HINT": _COMPUTES[Backend.OPENVINO][precision],  # else it picks by the CPU
        "NUM_STREAMS": str(work.passes),
        "INFERENCE_NUM_THREADS": work.passes * work.pass_threads,  # of all streams together
        "ENABLE_CPU_PINNING": False,  # each process of a machine would pin itself to the same first cores
    }


@cache
def _core_of(process: int) -> Any:  # noqa: ARG001 - a child has one of its own
    """One for the life of a process.

    OpenVINO 2026.4 gives the thread that first compiles a network a stack for signals. It is freed with the
    last object of OpenVINO. If another thread drops that object, the next signal kills the process.
    """
    from pipeline.adapters.models.backends.silent_openvino import Core

    return Core()


def _compile(path: Path, model: str, options: dict[str, object]) -> Any:
    try:
        core = _core_of(os.getpid())
    except ImportError as err:
        raise ConfigError("OpenVINO is not installed; `pip install 'pictor[openvino]'`") from err
    try:
        return core.compile_model(core.read_model(path), "CPU", options)
    except RuntimeError as err:
        raise ModelError(f"{model}: OpenVINO cannot run the exported network") from err

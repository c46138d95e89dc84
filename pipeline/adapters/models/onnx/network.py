"""A network in an ONNX file, run by ONNX Runtime."""

import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, FatalError, ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Values = NDArray[np.float32]

logger = logging.getLogger(__name__)

SUFFIX = ".onnx"
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_ONLY_FATAL = 4  # what fails here is raised, and its own lines name paths and addresses
# Of its arena, of cudaMalloc and of cuDNN. Its class says no more than that a run has failed.
_NO_ROOM = re.compile(r"failed to allocate memory|out of memory|ALLOC_FAILED", re.IGNORECASE)
_MISSING = "models in ONNX files need ONNX Runtime; `pip install 'pictor[faces]'` installs it"


class OnnxNetwork:
    """Safe to share between threads, which may run it side by side.

    Args:
        path: of a file that was checked.
        device: "cpu" or "cuda:N".
        threads: of each run on a CPU. With 1 the thread that calls does all the work.
        takes: the type of its input, float or uint8.

    Raises:
        ConfigError: ONNX Runtime is not installed, or was not made for this device.
        ModelError: the file is no network that it can run.
    """

    def __init__(
        self, path: Path, *, model: str, device: str = "cpu", threads: int = 1, takes: str = "float"
    ) -> None:
        self.name = f"{model}: {path.name}"
        self.device = device
        self._session = open_session(path, self.name, device, threads)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != f"tensor({takes})":
            kinds = ", ".join(f"{one.name} {one.type}" for one in inputs)
            raise ModelError(f"{self.name}: one input of tensor({takes}) is expected, found {kinds}")
        self.input = str(inputs[0].name)
        self.fixed_items = _fixed_items(inputs[0].shape)
        self.outputs = names_of(self._session.get_outputs())

    def run(self, blob: Values | NDArray[np.uint8], outputs: Sequence[str]) -> list[Values]:
        """Run it once.

        Raises:
            torch.OutOfMemoryError: the GPU has no room for this input. A smaller one may fit.
            FatalError: the device failed.
            ModelError: the network does not take this input.
        """
        try:
            answers: list[Values] = self._session.run(list(outputs), {self.input: blob})
        except Exception as err:
            _raise_failed(err, self.name, self.device, blob)
            raise
        return answers


def _fixed_items(shape: Sequence[int | str | None]) -> int:
    """How many images each run takes; 0 for any number."""
    items = shape[0] if shape else None
    return items if isinstance(items, int) else 0


def names_of(values: Iterable[Any]) -> tuple[str, ...]:
    """Of the inputs or outputs of a session."""
    return tuple(str(value.name) for value in values)


def choose_output(outputs: Sequence[str], wanted: str, name: str) -> str:
    """Args: `wanted` is empty for the first of them. Raises ModelError: there is no such output."""
    if wanted and wanted not in outputs:
        raise ModelError(f"{name}: it has the outputs {', '.join(outputs)}, and no {wanted!r}")
    return wanted or outputs[0]


def has_cuda() -> bool:
    """Whether the installed ONNX Runtime computes on GPUs."""
    return CUDA in _onnxruntime().get_available_providers()


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as err:
        raise ConfigError(_MISSING) from err
    return onnxruntime


def open_session(path: Path, name: str, device: str, threads: int) -> "InferenceSession":
    """Raises ConfigError, ModelError, as `OnnxNetwork` does."""
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _ONLY_FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait by spinning take the core of a pass beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Sides differ from picture to picture, and an arena keeps the most that any of them ever took.
    options.enable_cpu_mem_arena = False
    # Tensors in other files would be outside of the digest, so they are looked for where nothing is.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    providers = providers_of(device, name, ort.get_available_providers())
    try:
        session = ort.InferenceSession(path.read_bytes(), options, providers=providers)
    except OSError as err:
        raise ModelError(f"{name}: {path} cannot be read: {err.strerror}") from err
    except Exception as err:  # its own classes have no common ancestor but this
        raise ModelError(f"{name}: damaged, not an ONNX file, or with tensors in other files") from err
    check_provider(device, name, session.get_providers())
    return session


def providers_of(device: str, name: str, available: Sequence[str]) -> list[Any]:
    """What a session is opened with. Raises ConfigError: a GPU is wanted, and none of them computes on it."""
    if not device.startswith("cuda"):
        return [CPU]
    if CUDA not in available:
        raise ConfigError(
            f"{name}: device {device}: the installed ONNX Runtime computes on CPUs alone; "
            "`pip install onnxruntime-gpu` in the place of onnxruntime, or use cpu"
        )
    options = {
        "device_id": int(device.partition(":")[2] or 0),
        # Memory grows by what is asked for. By default it doubles, and a GPU is shared with other processes.
        "arena_extend_strategy": "kSameAsRequested",
        # The last group of a batch is smaller, and an exhaustive search would begin anew for its size.
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    return [(CUDA, options), CPU]


def check_provider(device: str, name: str, used: Sequence[str]) -> None:
    """Without a library of CUDA, ONNX Runtime goes on with the CPU and only warns. Raises ConfigError."""
    if device.startswith("cuda") and CUDA not in used:
        raise ConfigError(
            f"{name}: ONNX Runtime could not load its part for {device}; install the CUDA and cuDNN that it "
            "was made for, or use cpu"
        )


def _raise_failed(err: Exception, name: str, device: str, blob: Values | NDArray[np.uint8]) -> None:
    if device != "cpu" and _NO_ROOM.search(str(err)):
        import torch  # whoever uses a GPU has it

        raise torch.OutOfMemoryError(
            f"{name}: {device} has no room for an input of {list(blob.shape)}"
        ) from err
    if device != "cpu":
        raise FatalError(f"{name} failed on {device} with an input of {list(blob.shape)}") from err
    raise ModelError(f"{name} does not take an input of {list(blob.shape)}") from err
